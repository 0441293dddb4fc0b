"""The volumes read last, kept for the next segment of the same file."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.nifti.reader import NiftiImage

_Identity = tuple[str, int, int, int]

_all: weakref.WeakSet[ImageCache] = weakref.WeakSet()


class ImageCache:
    """Bounded by bytes, oldest out first; safe to share between threads.

    A file that was replaced is read anew: it is known by its inode, size and time too. Arrays are
    read-only, since others hold the same ones.

    Parameters
    ----------
    max_bytes : int
        A larger volume is not kept at all; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._images: OrderedDict[_Identity, NiftiImage] = OrderedDict()
        self._bytes = 0
        _all.add(self)

    def read(self, path: Path) -> NiftiImage:
        """The image at `path`; errors as in `segtools.nifti.reader.read`."""
        from segtools.nifti.reader import read

        status = path.stat()
        key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if (known := self._images.get(key)) is not None:
                self._images.move_to_end(key)
                return known
        image = read(path)  # outside the lock: others go on; two may read the same file once
        image.array.flags.writeable = False
        with self._lock:
            if key not in self._images and image.array.nbytes <= self.max_bytes:
                self._images[key] = image
                self._bytes += image.array.nbytes
                while self._bytes > self.max_bytes:
                    _, oldest = self._images.popitem(last=False)
                    self._bytes -= oldest.array.nbytes
        return image

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._images.clear()
            self._bytes = 0

    def _after_fork(self) -> None:
        """Another thread may have held the lock when the process forked, half way through a change."""
        self._lock = threading.Lock()
        self.clear()


def _after_fork() -> None:
    for cache in list(_all):
        cache._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
