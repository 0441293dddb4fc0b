"""One writer per dataset: a lock file that names its holder.

The kernel's `flock` decides, so a dead holder on this machine never blocks; the file's text says who
holds it, and is what counts between machines that share a disk without sharing locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from segtools.bounded_json import load_json
from segtools.errors import DatasetError
from segtools.files import write_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segtools.dataset.layout import Layout

_GLANCE_S = 0.05


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the dataset while the block runs.

    Raises
    ------
    DatasetError
        ``dataset-locked``: a living run of this machine, or any run of another one, holds it.
    WriteError, EnvironmentProblem
        The lock file cannot be written.
    """
    path = layout.lock
    descriptor = _acquire(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever comes next sees that nobody holds it
            path.unlink()
        os.close(descriptor)


def holder(layout: Layout) -> dict[str, Any] | None:
    """Who holds the dataset now: host, pid, started. None if nobody does, whatever a dead run left."""
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        text = _holder(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return text
        return text if text and text.get("host") != socket.gethostname() else None
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(error, path) from error
        try:
            if _claim(descriptor, path):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise write_error(error, path) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _claim(descriptor: int, path: Path) -> bool:
    """Write our name into the lock file; False if it was removed meanwhile."""
    for is_last in (False, False, True):  # who only asks for the holder locks it for an instant
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if is_last:
                raise refusal(str(path.parent), path.name, _holder(descriptor)) from None
            time.sleep(_GLANCE_S)
    try:
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            return False
    except FileNotFoundError:
        return False
    holder = _holder(descriptor)
    if holder and holder.get("host") != socket.gethostname():  # here the kernel says: dead
        raise refusal(str(path.parent), path.name, holder)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(myself()).encode(), 0)
    os.fsync(descriptor)
    return True


def _holder(descriptor: int) -> dict[str, Any]:
    return read_holder(os.pread(descriptor, 4096, 0))


def myself() -> dict[str, Any]:
    """What a lock says of its holder."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": datetime.now(UTC).isoformat()}


def read_holder(text: bytes) -> dict[str, Any]:
    """What a lock says; empty if it is no lock's text."""
    try:
        holder = load_json(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def refusal(dataset: str, lock: str, holder: dict[str, Any]) -> DatasetError:
    """The error for a dataset that another run holds."""
    who = ", ".join(f"{key} {holder[key]}" for key in ("host", "pid", "started") if key in holder)
    return DatasetError(
        "dataset-locked",
        f"{dataset} is held by another run ({who or 'unknown'}).",
        hint=f"Wait for it, or stop it; if it is surely dead, remove {lock}.",
        path=dataset,
        holder=holder,
    )
