"""Frames whose values are kept as they are: LABELMAP labels, FRACTIONAL fractions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.labelmap.plan import check_memory
from segtools.decode.labelmap.repeats import check_equal
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from segtools.decode.labelmap.plan import PaintPlan
    from segtools.decode.pixels.frames import Frames

    Stored = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class LabelMap:
    """A label map as encoded.

    Attributes
    ----------
    array : (k, j, i) uint8 or uint16 ndarray
    present : (V,) int64 ndarray
        Values that occur, sorted.
    repeated : int
        Frames at positions that another frame had.
    """

    array: Stored
    present: npt.NDArray[np.int64]
    repeated: int


def stack_labels(frames: Frames, plan: PaintPlan, background: int) -> LabelMap:
    """Frames of a LABELMAP in their slices; slices without a frame are background.

    Frames at one position are united where they are equal, or share neither a label nor a voxel.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    CorruptSegError
        ``conflicting-frames``; those of compressed frames.
    """
    voxels = int(np.prod(plan.shape, dtype=object))
    check_memory(voxels * plan.dtype.itemsize, plan.max_bytes, f"A label map of {plan.shape}")
    array: Stored = np.zeros(plan.shape, plan.dtype)
    seen = _Seen(plan.dtype)
    filled = np.zeros(plan.shape[0], np.bool_)
    repeated = 0
    for number, k in zip(plan.frame.tolist(), plan.slice.tolist(), strict=True):
        frame = frames.frame(number)
        plane = array[k]
        if filled[k]:
            repeated += 1
            _unite(plane, frame, background, k)
        else:
            filled[k] = True
            plane[:] = frame
        seen.add(plane)
    if background and not filled.all():
        array[~filled] = background
    if not filled.all():
        seen.flags[background] = True
    return LabelMap(array, np.flatnonzero(seen.flags), repeated)


def _unite(plane: Stored, frame: Stored, background: int, k: int) -> None:
    """Add a frame to the slice of another: equal, or of other labels at other voxels."""
    if np.array_equal(plane, frame):
        return
    new, old = frame != background, plane != background
    both = np.intersect1d(frame[new], plane[old])
    clash = new & old & (plane != frame)
    if len(both) or clash.any() or not new.any() or not old.any():
        raise CorruptSegError(
            "conflicting-frames",
            f"Two frames of slice {k} differ in {int((plane != frame).sum())} voxels"
            + (f"; both have label {int(both[0])}." if len(both) else "."),
            slice=k,
        )
    plane[new] = frame[new]


def stored_values(frames: Frames, numbers: Iterable[int], dtype: np.dtype[np.uint8 | np.uint16]) -> list[int]:
    """Distinct values of some frames, sorted."""
    seen = _Seen(dtype)
    for number in numbers:
        seen.add(frames.frame(number))
    return [int(value) for value in np.flatnonzero(seen.flags)]


def stack_fractions(frames: Frames, plan: PaintPlan, maximum: int | None) -> dict[int, Stored]:
    """SegmentNumber to its stored values.

    Parameters
    ----------
    frames : Frames
    plan : PaintPlan
    maximum : int or None
        Values above are cut to it; None leaves them.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    CorruptSegError
        ``conflicting-frames``; those of compressed frames.
    """
    runs = list(plan.runs())
    voxels = int(np.prod(plan.shape, dtype=object))
    check_memory(
        len(runs) * voxels * plan.dtype.itemsize,
        plan.max_bytes,
        f"{len(runs)} segments of fractions {plan.shape}",
    )
    volumes: dict[int, Stored] = {}
    for segment, numbers, where in runs:
        volume: Stored = np.zeros(plan.shape, plan.dtype)
        filled = np.zeros(plan.shape[0], np.bool_)
        for number, k in zip(numbers.tolist(), where.tolist(), strict=True):
            frame = frames.frame(number)
            values = frame if maximum is None else np.minimum(frame, maximum)
            if filled[k]:
                check_equal(volume[k], values, segment, k)
            filled[k] = True
            volume[k] = values
        volumes[segment] = volume
    return volumes


class _Seen:
    """Which values occurred.

    Label maps are long runs of one value: only words that differ from the word before are looked into.
    """

    def __init__(self, dtype: np.dtype[np.uint8 | np.uint16]) -> None:
        self.flags = np.zeros(1 << (8 * dtype.itemsize), np.bool_)
        self.dtype = dtype

    def add(self, values: Stored) -> None:
        """Note the values of one frame."""
        flat = np.ascontiguousarray(values).reshape(-1)
        whole = flat.nbytes // 8
        words = np.frombuffer(flat, np.uint64, whole) if whole else np.zeros(0, np.uint64)
        if len(words):
            changed = np.flatnonzero(words[1:] != words[:-1]) + 1
            self.flags[words[:1].view(flat.dtype)] = True
            self.flags[words[changed].view(flat.dtype)] = True
        self.flags[flat[whole * 8 // flat.itemsize :]] = True
