"""Scratch space under a disk budget that all processes of a machine share.

A lease is a folder and beside it a file, locked with `flock` for as long as its owner lives, that says
how many bytes it may take. The kernel drops the lock of a killed owner, so its bytes and its folder are
recovered by whoever looks next: no clock, no process ids, nothing to clean up after a crash. The folder
must be on a local disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from typing import TYPE_CHECKING, Self

from segtools.errors import FetchError
from segtools.files import write_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Event

_POLL_S = 0.02
_WIDTH = 20


class Canceled(BaseException):
    """The run was given up while waiting; never caught as an error of a series."""


class Scratch:
    """A folder of leases.

    Parameters
    ----------
    folder : Path
        On a local disk; made where it does not exist.
    limit_bytes : int, bytes
        All leases together never take more.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(error, folder) from error

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """An empty folder that vanishes with the block, at first with no bytes granted."""
        try:
            with self._locked("lock"):
                self._used_bytes()
                lease = Lease(self)
        except OSError as error:
            raise write_error(error, self.folder) from error
        with lease:
            yield lease

    def used_bytes(self) -> int:
        """Bytes granted to living leases; the folders of dead ones are removed."""
        with self._locked("lock"):
            return self._used_bytes()

    def _used_bytes(self) -> int:
        total = 0
        for path in self.folder.glob("*.lease"):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    total += int(file.read() or 0)
                else:
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    with contextlib.suppress(OSError):
                        path.unlink()
        return total

    @contextlib.contextmanager
    def _locked(self, name: str, cancel: Event | None = None) -> Iterator[None]:
        with (self.folder / f".{name}").open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    _pause(cancel)
            yield


@contextlib.contextmanager
def leased(folder: Path) -> Iterator[Path]:
    """An empty folder below `folder` that vanishes with the block, for small things: no budget is asked."""
    with Scratch(folder, 0).lease() as lease:
        yield lease.folder


class Lease:
    """Bytes granted to one owner; see `Scratch.lease`.

    Attributes
    ----------
    folder : Path
    granted_bytes : int, bytes
    """

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.folder = scratch.folder / uuid.uuid4().hex
        self.granted_bytes = 0
        self._path = self.folder.with_suffix(".lease")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._write()
        self.folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # recovered like a killed owner's
            self._path.unlink()
        os.close(self._fd)

    def grow(self, size_bytes: int, cancel: Event | None = None) -> None:
        """Wait until `size_bytes` more fit into the budget, and take them.

        Who waits is served before who comes later, so that a large series is not starved by small
        ones; and whoever holds bytes frees them without needing more, so that all get their turn.

        Raises
        ------
        FetchError
            ``exceeds-disk-budget``: they would not fit into an empty scratch space.
        Canceled
        """
        if size_bytes > self.scratch.limit_bytes:
            raise FetchError(
                "exceeds-disk-budget",
                f"{size_bytes} bytes are needed at once, the disk budget is {self.scratch.limit_bytes}.",
            )
        with self.scratch._locked("queue", cancel):
            while True:
                with self.scratch._locked("lock", cancel):
                    if self.scratch._used_bytes() + size_bytes <= self.scratch.limit_bytes:
                        self.granted_bytes += size_bytes
                        self._write()
                        return
                _pause(cancel)

    def shrink(self, size_bytes: int) -> None:
        """Give bytes back, after their files are gone."""
        with self.scratch._locked("lock"):
            self.granted_bytes -= size_bytes
            self._write()

    def _write(self) -> None:
        try:
            os.pwrite(self._fd, b"%*d" % (_WIDTH, self.granted_bytes), 0)
        except OSError as error:
            raise write_error(error, self._path) from error


def _pause(cancel: Event | None) -> None:
    if cancel is None:
        time.sleep(_POLL_S)
    elif cancel.wait(_POLL_S):
        raise Canceled
