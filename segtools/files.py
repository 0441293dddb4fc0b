"""Writing files so that a name either has its whole content or does not exist.

Every write is a temporary file in the same folder, fsync, `os.replace`. A crash leaves at most
temporary files, whose names start with `TEMPORARY_PREFIX`; whoever owns the folder sweeps them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from segtools.errors import EnvironmentProblem, WriteError
from segtools.showable import json_text, tsv_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


TEMPORARY_PREFIX = ".tmp-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well, and vanishes when it does not.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``.
    WriteError
        ``write-failed``: any other OSError of the block.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the atomic call, by its name
    except OSError as error:
        _discard(temporary)
        raise write_error(error, path) from error
    except BaseException:
        _discard(temporary)
        raise


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, all or nothing; errors as in `replacing`."""
    with replacing(path) as file:
        file.write(content)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder`, and its own in its parents, survive a power cut.

    `replacing` makes a file's content durable; a rename is only once its folder is synced. Whoever
    writes a group of files calls this once, before anything refers to them.
    """
    for directory in (folder, folder.parent):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without folder fsync
                raise write_error(error, directory) from error
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; errors as of `Path.open`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(content: Path | bytes) -> str:
    """MD5 of a file or of bytes, hexadecimal: what object stores state, no protection from anybody."""
    if isinstance(content, bytes):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def write_error(error: OSError, path: Path) -> WriteError | EnvironmentProblem:
    """The project's error for an OSError met while writing `path`; ours pass unchanged."""
    if isinstance(error, WriteError | EnvironmentProblem):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentProblem("disk-full", f"No space left while writing {path}.", path=str(path))
    return WriteError("write-failed", f"Cannot write {path}: {error.strerror or error}.", path=str(path))


def sweep(folder: Path) -> int:
    """Remove temporary files that a crash left directly in `folder`; their number."""
    strays = list(folder.glob(f"{TEMPORARY_PREFIX}*"))
    for stray in strays:
        _discard(stray)
    return len(strays)


def only_itself(path: Path) -> str:
    """The path as a DuckDB glob pattern that matches nothing but itself."""
    return "".join(f"[{char}]" if char in "[*?" else char for char in str(path))


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def tsv(lines: Iterable[Sequence[Any]]) -> bytes:
    """Tab-separated lines; null is BIDS's ``n/a``."""
    return "".join("\t".join(map(tsv_cell, line)) + "\n" for line in lines).encode()


def dump_json(content: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Indented UTF-8 JSON, always the same bytes for the same content."""
    return (json_text(content, allow_nan=False) + "\n").encode()


MAX_COMPONENT = 64
"""Longest component: a UID's length (PS3.5 6.2)."""


_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]")


_TAG_DIGITS = 32
"""128 bits: no two names of strangers share them, even on purpose."""


_TAGGED = re.compile(rf"-[0-9a-f]{{{_TAG_DIGITS}}}\Z")


def component(name: str) -> str:
    """One path component for a stranger's `name`: ``[A-Za-z0-9._-]``, at most 64 characters.

    A name that has to be changed gets 32 hex digits of its SHA-256 appended, and so does one that
    only looks as if it had been; hence two names never share a component.

    Examples
    --------
    >>> component("LIDC-IDRI-0001")
    'LIDC-IDRI-0001'
    >>> component("../etc")
    '-.-etc-f7f9121fdb53d8de1eccbfa65c4bd976'
    """
    safe = _FORBIDDEN.sub("-", name)
    if safe.startswith("."):  # hidden files, `.`, `..`
        safe = f"-{safe[1:]}"
    if safe.endswith("."):  # dropped silently by some file systems
        safe = f"{safe[:-1]}-"
    if safe == name and name and len(name) <= MAX_COMPONENT and not _TAGGED.search(name):
        return name
    tag = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_TAG_DIGITS]
    return f"{safe[: MAX_COMPONENT - 1 - _TAG_DIGITS] or '-'}-{tag}"
