"""Which frame goes where, and what comes of it: shared by all ways to paint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Labels = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class PaintPlan:
    """Which frame goes where.

    Attributes
    ----------
    shape : (3,) tuple of int
        (k, j, i) of the label map.
    frame, slice, segment : (F,) int64 ndarray
        Frame number, slice index and SegmentNumber; sorted by segment, then frame.
    dtype : uint8 or uint16
    max_bytes : int, bytes
        Bound of all layers together.
    """

    shape: tuple[int, int, int]
    frame: Ints
    slice: Ints
    segment: Ints
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    max_bytes: int

    def runs(self) -> Iterator[tuple[int, Ints, Ints]]:
        """SegmentNumber, frames and slices of each segment, in order."""
        if not len(self.segment):
            return
        starts = np.flatnonzero(np.diff(self.segment, prepend=self.segment[0] - 1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(self.segment)], strict=True):
            yield int(self.segment[start]), self.frame[start:stop], self.slice[start:stop]

    def repeats(self) -> set[int]:
        """Segments with several frames at one position."""
        order = np.lexsort((self.slice, self.segment))
        segment, where = self.segment[order], self.slice[order]
        again = (segment[1:] == segment[:-1]) & (where[1:] == where[:-1])
        return set(segment[1:][again].tolist())


@dataclass
class Layers:
    """Label maps made from masks.

    Attributes
    ----------
    arrays : list of (k, j, i) uint8 or uint16 ndarray
    layer_of : dict of int to int
    empty : list of int
        Segments without a voxel.
    repeated : list of int
        Segments with several frames at one position.
    """

    arrays: list[Labels] = field(default_factory=list)
    layer_of: dict[int, int] = field(default_factory=dict)
    empty: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)

    def filled(self, plan: PaintPlan) -> list[npt.NDArray[np.bool_]]:
        """(k,) bool of each layer: slices with a frame of one of its segments."""
        flags = [np.zeros(plan.shape[0], np.bool_) for _ in self.arrays]
        for number, _, where in plan.runs():
            flags[self.layer_of[number]][where] = True
        return flags


def check_memory(need: int, max_bytes: int, what: str) -> None:
    """Refuse before anything is allocated.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    """
    if need > max_bytes:
        raise UnsupportedSegError(
            "memory-limit", f"{what} needs {need} bytes, {max_bytes} are allowed.", need=need, limit=max_bytes
        )


def add_layer(layers: list[Labels], plan: PaintPlan) -> Labels:
    """Append one empty layer more; its memory, flat, with whole groups of eight voxels and one more.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    """
    voxels = int(np.prod(plan.shape, dtype=object))
    count = len(layers) + 1
    check_memory(
        count * voxels * plan.dtype.itemsize, plan.max_bytes, f"{count} label map(s) of {plan.shape}"
    )
    flat: Labels = np.zeros(-(-voxels // 8) * 8 + 8, plan.dtype)
    layers.append(flat[:voxels].reshape(plan.shape))
    return flat
