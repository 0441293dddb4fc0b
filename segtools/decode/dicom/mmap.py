"""Files as memory: headers are looked at where they lie, pixels are read."""

from __future__ import annotations

import mmap
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import numpy.typing as npt

    Octets = npt.NDArray[np.uint8]


class MappedFile(mmap.mmap):
    """A mapping that keeps its file open.

    A file that is cut short by someone else while it is mapped ends the process (SIGBUS) when the
    lost part is looked at; `Reader` notices instead.

    Attributes
    ----------
    descriptor : int
    """

    descriptor: int


def map_file(path: str | os.PathLike[str]) -> bytes | MappedFile:
    """File's bytes, of which only what is looked at is read; closed with the last view of them.

    Raises
    ------
    OSError
    """
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        mapped = MappedFile(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.descriptor = os.dup(file.fileno())
    weakref.finalize(mapped, os.close, mapped.descriptor)
    return mapped


class Reader:
    """Copies parts of a view: by `preadv` where the view is of a file.

    That costs no page faults, and the pages never count as this process' memory.

    Parameters
    ----------
    view : (N,) uint8 ndarray
        Over a `MappedFile` or any other buffer.
    """

    def __init__(self, view: Octets) -> None:
        self._view = view
        base: object = view
        while isinstance(base, np.ndarray):
            base = base.base
        owner = base.obj if isinstance(base, memoryview) else base
        self._file = owner if isinstance(owner, MappedFile) and hasattr(os, "preadv") else None
        self._offset = 0
        if self._file is not None:
            first = np.frombuffer(self._file, np.uint8, count=1)
            self._offset = view.ctypes.data - first.ctypes.data

    @property
    def place(self) -> tuple[int, int]:
        """Descriptor of the file and where the view begins in it; -1 where it is of no file."""
        return (self._file.descriptor if self._file is not None else -1), self._offset

    def into(self, target: Octets, start: int) -> None:
        """Fill `target` with ``view[start:start + len(target)]``.

        Raises
        ------
        CorruptSegError
            ``truncated``: the file has become shorter meanwhile.
        """
        if self._file is None:
            target[:] = self._view[start : start + len(target)]
            return
        done = 0
        while done < len(target):
            count = os.preadv(self._file.descriptor, [target[done:]], self._offset + start + done)  # type: ignore[list-item]
            if count == 0:
                raise cut_short()
            done += count


def cut_short() -> CorruptSegError:
    """Make the error ``truncated`` of a file that loses bytes while it is read."""
    return CorruptSegError("truncated", "While it was read, the file was cut short.")
