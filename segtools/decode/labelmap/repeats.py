"""Frames of one segment in one slice: equal, or refused. They are never united."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.labelmap.plan import PaintPlan
    from segtools.decode.pixels.frames import Frames


def without_repeats(frames: Frames, plan: PaintPlan) -> tuple[PaintPlan, list[int]]:
    """`plan` with the first frame of each segment in each slice; segments that had several.

    Raises
    ------
    CorruptSegError
        ``conflicting-frames``: frames of one segment in one slice differ.
    """
    repeated = plan.repeats()
    if not repeated:
        return plan, []
    first: dict[tuple[int, int], int] = {}
    keep = np.ones(len(plan.frame), np.bool_)
    for row in np.flatnonzero(np.isin(plan.segment, sorted(repeated))).tolist():
        number, k, frame = int(plan.segment[row]), int(plan.slice[row]), int(plan.frame[row])
        other = first.setdefault((number, k), frame)
        if other != frame:
            check_equal(frames.frame(other) != 0, frames.frame(frame) != 0, number, k)
            keep[row] = False
    kept = replace(plan, frame=plan.frame[keep], slice=plan.slice[keep], segment=plan.segment[keep])
    return kept, sorted(repeated)


def check_equal(one: npt.NDArray[Any], other: npt.NDArray[Any], number: int, k: int) -> None:
    """Refuse two frames of one segment in one slice that differ: which one is right, nothing says.

    Raises
    ------
    CorruptSegError
        ``conflicting-frames``.
    """
    if not np.array_equal(one, other):
        raise CorruptSegError(
            "conflicting-frames",
            f"Two frames of segment {number} in slice {k} differ in {int((one != other).sum())} voxels.",
            segment=number,
            slice=k,
        )
