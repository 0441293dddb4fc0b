"""Files that grow along one axis each, for `benchmarks.scaling`: made of discs, dots and noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.blobs import Blobs
from benchmarks.dicom_bytes import element_head
from benchmarks.phantom import (
    DCMQI,
    Phantom,
    _header,
    _per_frame,
    pack_bits,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    Frame = tuple[int | None, int]
    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Recipe:
    """A file to be: its grid, its frames as (segment or None, slice), and their voxels in that order."""

    shape: tuple[int, int, int]
    segments: int
    frames: list[Frame]
    pixels: Iterable[npt.NDArray[np.bool_ | np.uint8 | np.uint16]]
    dtype: type[np.uint8 | np.uint16] = np.uint8

    def write(self, path: Path) -> Path:
        """The file, unless it is there."""
        if path.exists():
            return path
        unfinished = path.with_suffix(".unfinished")
        # The phantom's label volume is looked at for its shape and type only: no memory.
        labels = np.broadcast_to(np.zeros(1, self.dtype), self.shape)
        phantom = Phantom(path.stem, Blobs(labels, []))
        kind = "labelmap" if self.frames[0][0] is None else "dcmqi"
        header = _header(phantom, kind, self.segments, len(self.frames))
        length = -(-len(self.frames) * self.shape[1] * self.shape[2] * header.BitsAllocated // 8)
        with unfinished.open("wb") as file:
            file.write(DCMQI.header(header, ExplicitVRLittleEndian))
            file.write(_per_frame(phantom, DCMQI, self.frames))
            file.write(element_head(0x7FE00010, b"OW", length + length % 2))
            bits = header.BitsAllocated == 1
            file.writelines(pack_bits(self.pixels) if bits else (labels.tobytes() for labels in self.pixels))
            file.write(bytes(length % 2))
        return unfinished.rename(path)


@lru_cache(64)
def _disc(size: int, row: int, column: int, radius: int) -> Mask:
    j, i = np.ogrid[:size, :size]
    return np.asarray((j - row) ** 2 + (i - column) ** 2 <= radius * radius)


def discs(size: int, *, by_slice: bool = False) -> Recipe:
    """40 discs on 100 slices of `size`² voxels: a usual file; frames by segment, or by slice."""
    pairs = list(itertools.product(range(100), range(40)))
    frames = [(s + 1, k) for k, s in pairs] if by_slice else sorted((s + 1, k) for k, s in pairs)
    step, radius = size // 8, size // 20

    def pixels() -> Iterator[Mask]:
        for number, _ in frames:
            at = number - 1
            yield _disc(size, step // 2 + step * (at // 8), step // 2 + step * (at % 8), radius)

    return Recipe((100, size, size), 40, list(frames), pixels())


def small_frames(count: int) -> Recipe:
    """`count` frames of 64² voxels of 64 segments."""
    per = count // 64
    frames = [(s + 1, k) for s in range(64) for k in range(per)]
    pixels = (_disc(64, 4 + 8 * ((s - 1) % 8), 4 + 8 * ((s - 1) // 8), 2) for s, _ in frames)
    return Recipe((per, 64, 64), 64, list(frames), pixels)


def many_segments(count: int) -> Recipe:
    """`count` segments of 4 frames of 64² voxels, 64 side by side."""
    frames = [(s + 1, 4 * (s // 64) + k) for s in range(count) for k in range(4)]
    pixels = (_disc(64, 4 + 8 * ((s - 1) % 8), 4 + 8 * ((s - 1) % 64 // 8), 3) for s, _ in frames)
    dtype = np.uint8 if count < 256 else np.uint16
    return Recipe((4 * -(-count // 64), 64, 64), count, list(frames), pixels, dtype)


def overlapping(count: int) -> Recipe:
    """`count` discs of 30 slices that all share their centre: a layer each."""
    frames = [(s + 1, k) for s in range(count) for k in range(30)]
    pixels = (_disc(256, 120 + s % 17, 122 + s % 13, 40) for s, _ in frames)
    return Recipe((30, 256, 256), count, list(frames), pixels)


def scattered(count: int) -> Recipe:
    """`count` labels all over 26 million voxels, two million of which are set."""
    rng = np.random.default_rng(1)
    dtype = np.uint8 if count < 256 else np.uint16
    labels = np.zeros((100, 512, 512), dtype)
    labels.reshape(-1)[rng.integers(0, labels.size, 2_000_000)] = rng.integers(1, count + 1, 2_000_000)
    return Recipe(labels.shape, count, [(None, k) for k in range(100)], iter(labels), dtype)


def corners(slices: int, size: int) -> Recipe:
    """One small segment in the corners and the middle of a grid of `slices` × `size`²."""
    places = [(0, 10), (slices // 2, size // 2), (slices - 1, size - 10)]
    pixels = (_disc(size, at, at, 8) for _, at in places)
    return Recipe((slices, size, size), 1, [(1, k) for k, _ in places], pixels)


def noise(slices: int) -> Recipe:
    """Every second voxel of `slices` × 512², at random."""
    rng = np.random.default_rng(1)
    pixels = (rng.random((512, 512)) < 0.5 for _ in range(slices))
    return Recipe((slices, 512, 512), 1, [(1, k) for k in range(slices)], pixels)
