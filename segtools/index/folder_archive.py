"""Where objects come from: a folder, or the listing of a bucket."""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from segtools.errors import FetchError, MissingError
from segtools.objectstore.urls import file_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """An object of an archive.

    Attributes
    ----------
    path : str
        Relative to the archive, with ``/``: decides collection and folder.
    url : str
        What `fetch` will ask for.
    size_bytes : int, bytes
    stamp : str
        Modification time or ETag: changes when the object does.
    """

    path: str
    url: str
    size_bytes: int
    stamp: str = ""

    @property
    def folder(self) -> str:
        """Folder of `path`, without a slash at its end; empty at the top."""
        return self.path.rpartition("/")[0]


class Archive(Protocol):
    """Lists objects and reads their headers."""

    @property
    def name(self) -> str:
        """Name for a collection, where nothing else names one."""

    @property
    def processes(self) -> bool:
        """Reading costs computing, not waiting: processes help, and the archive pickles."""

    def objects(self) -> Iterator[ArchiveObject]:
        """Every object, in an order that is always the same."""

    def text(self, path: str) -> str | None:
        """Content of a small UTF-8 object; None if there is none."""

    def header(self, found: ArchiveObject, parse: Callable[[bytes | mmap.mmap], Result]) -> Result:
        """Parse an object of which at least the header is there."""

    def md5(self, found: ArchiveObject) -> str:
        """MD5 of the whole object, hexadecimal."""


@dataclass(frozen=True)
class FolderArchive:
    """A folder and everything beneath it.

    Symbolic links are followed, each real folder is visited once, so loops end. Names that start
    with a dot are left out; so is `exclude`, where the index itself may lie.

    Parameters
    ----------
    root : Path
    url_base : str, optional
        Prefix of the objects' URLs: a bucket's, or a bare scheme if the first folder is the bucket;
        default: URLs of the files here.
    exclude : Path, optional
    """

    root: Path
    url_base: str | None = None
    exclude: Path | None = None

    @property
    def processes(self) -> bool:
        """True: a header in the page cache is parsing only."""
        return True

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise MissingError("not-found", f"There is no folder {self.root}.", path=str(self.root))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    def objects(self) -> Iterator[ArchiveObject]:
        """Every file, folder by folder, names in order."""
        seen = {_identity(os.stat(self.root))}  # noqa: PTH116 - os.stat as os.scandir's entries do
        if self.exclude is not None and self.exclude.is_dir():
            seen.add(_identity(self.exclude.stat()))
        pending: list[str] = [""]
        while pending:
            folder = pending.pop()
            files, folders = self._scan(folder, seen)
            yield from files
            pending.extend(reversed(folders))

    def _scan(self, folder: str, seen: set[tuple[int, int]]) -> tuple[list[ArchiveObject], list[str]]:
        try:
            with os.scandir(self.root / folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            # A folder that can't be listed is one unreadable object.
            return [self._object(folder, -1, 0)], []
        files, folders = [], []
        for entry in ordered:
            if entry.name.startswith("."):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                stat = entry.stat()
                is_folder = entry.is_dir()
            except OSError:  # a dangling or looping link
                files.append(self._object(path, -1, 0))
                continue
            if not is_folder:
                if entry.is_file():
                    files.append(self._object(path, stat.st_size, stat.st_mtime_ns))
            elif _identity(stat) not in seen:
                seen.add(_identity(stat))
                folders.append(path)
        return files, folders

    def _object(self, path: str, size_bytes: int, mtime_ns: int) -> ArchiveObject:
        base = self.url_base
        url = file_url(self.root.resolve() / path) if base is None else join_url(base, path)
        return ArchiveObject(path, url, size_bytes, str(mtime_ns))

    def text(self, path: str) -> str | None:
        """Content of a UTF-8 file; None if there is none."""
        file = self.root / path
        return file.read_text(encoding="utf-8-sig") if file.is_file() else None

    def header(self, found: ArchiveObject, parse: Callable[[bytes | mmap.mmap], Result]) -> Result:
        """Parse the mapped file: only the pages that `parse` looks at are read."""
        if found.size_bytes == 0:
            return parse(b"")
        try:
            with (self.root / found.path).open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: emptied since it was listed
            raise unreadable(found, error) from error
        # Not closed: views of it may outlive the call; it goes with the last of them.
        return parse(mapped)

    def md5(self, found: ArchiveObject) -> str:
        """MD5 of the file."""
        try:
            with (self.root / found.path).open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError as error:
            raise unreadable(found, error) from error


def join_url(base: str, path: str) -> str:
    """``base/path``; a base that ends in ``//``, a bare scheme, is taken as it is."""
    return base + path if base.endswith("//") else f"{base.rstrip('/')}/{path}"


def unreadable(found: ArchiveObject, error: Exception) -> FetchError:
    """Make the error for an object that is listed but can't be read."""
    reason = getattr(error, "strerror", None) or error
    return FetchError("unreadable-object", f"{found.path!r} cannot be read: {reason}.", url=found.url)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
