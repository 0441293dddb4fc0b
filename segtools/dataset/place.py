"""Where a dataset's files are: what the transaction does with them, in a folder and in a bucket alike.

A run works on a `Layout`. For a dataset in a folder that is the dataset itself; for one in a bucket it is
a working copy of all but the volumes. Only this package knows the difference: everybody else stages,
merges and commits (`segtools.dataset.home`).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from segtools.dataset.pages import find
from segtools.dataset.reader import Dataset
from segtools.files import fsync_folder, sha256_of, write_bytes, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from segtools.dataset.layout import Layout


class Stored(NamedTuple):
    """What is known of a file without reading it: its bytes, and a time not before its last change."""

    size_bytes: int
    changed_s: float


class Place(Protocol):
    """The files of one dataset; paths are relative, as in its tables."""

    layout: Layout
    """The dataset, or the working copy of it."""

    def get(self, relative: str) -> bytes | None:
        """A small file; None if there is none."""

    def changed_s(self, relative: str) -> float:
        """A time not before the last change of a file; 0 if there is none."""

    def digest(self, relative: str) -> str:
        """SHA-256 of a file, hexadecimal; empty if there is none."""

    def bring(self, relative: str) -> Path | None:
        """The file as one here, wherever a page lies; None if there is none."""

    def put(self, relative: str, content: Path | bytes) -> None:
        """Write a file, durable and all or nothing; one given as a path is moved."""

    def append(self, relative: str, lines: bytes) -> None:
        """Publish lines of a log that is written here, as a file of their own."""

    def move(self, relative: str, target: str) -> None:
        """Rename a file; it is at one of the two names at any time."""

    def delete(self, relatives: Iterable[str]) -> None:
        """Remove files; what cannot be removed stays for the next commit."""

    def list(self, prefix: str) -> dict[str, Stored]:
        """All files below a folder that ends in ``/``."""

    def all(self, function: Callable[[str], object], relatives: Iterable[str]) -> None:
        """Call `function` with each file, several at a time; the first error ends it."""

    def refresh(self, *paths: Path) -> None:
        """Make files here, and all below folders, what they are there; default: all but the volumes."""

    def mirror(self, *folders: Path) -> None:
        """Make all below folders there what it is here."""

    def dataset(self, manifest: Mapping[str, Any] | None = None) -> Dataset:
        """The committed dataset, or the state that `manifest` describes, for reading."""


class FolderPlace:
    """A dataset in a folder.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def get(self, relative: str) -> bytes | None:
        """See `Place`."""
        try:
            return self.layout.absolute(relative).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def changed_s(self, relative: str) -> float:
        """See `Place`."""
        try:
            return self.layout.absolute(relative).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def digest(self, relative: str) -> str:
        """See `Place`."""
        try:
            return sha256_of(self.layout.absolute(relative))
        except FileNotFoundError:
            return ""

    def bring(self, relative: str) -> Path | None:
        """See `Place`."""
        return find(self.layout.root, relative)

    def put(self, relative: str, content: Path | bytes) -> None:
        """See `Place`."""
        path = self.layout.absolute(relative)
        if isinstance(content, bytes):
            write_bytes(path, content)
        else:
            self._rename(content, path)
        fsync_folder(path.parent)

    def append(self, relative: str, lines: bytes) -> None:
        """No-op: the log itself is here."""

    def move(self, relative: str, target: str) -> None:
        """See `Place`."""
        self._rename(self.layout.absolute(relative), self.layout.absolute(target))

    def delete(self, relatives: Iterable[str]) -> None:
        """See `Place`; folders that become empty go too."""
        for relative in relatives:
            path = self.layout.absolute(relative)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                for folder in path.parents:
                    if folder == self.layout.root:
                        break
                    folder.rmdir()

    def list(self, prefix: str) -> dict[str, Stored]:
        """See `Place`."""
        found = {}
        root = str(self.layout.root)
        for folder, _, names in os.walk(self.layout.absolute(prefix)):
            start = os.path.relpath(folder, root)
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    stat = os.stat(os.path.join(folder, name), follow_symlinks=False)  # noqa: PTH116, PTH118 - many
                    found[f"{start}/{name}"] = Stored(stat.st_size, max(stat.st_mtime, stat.st_ctime))
        return found

    def all(self, function: Callable[[str], object], relatives: Iterable[str]) -> None:
        """See `Place`; one after the other: a disk is not waited for."""
        for relative in relatives:
            function(relative)

    def refresh(self, *paths: Path) -> None:
        """No-op: the dataset is a local folder."""

    def mirror(self, *folders: Path) -> None:
        """No-op: the dataset is a local folder."""

    def dataset(self, manifest: Mapping[str, Any] | None = None) -> Dataset:
        """See `Place`."""
        return Dataset(self.layout.root, manifest=manifest)

    def _rename(self, path: Path, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)  # noqa: PTH105 - the atomic call, by its name
        except OSError as error:
            raise write_error(error, target) from error
