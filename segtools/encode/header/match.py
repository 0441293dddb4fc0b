"""Which source images a segmentation's slices lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from segtools.decode.volume import Grid
    from segtools.encode.header.geometry import SourcePlane
    from segtools.encode.header.source import SourceSeries

_PARALLEL = 1e-3
_NEAR = 0.05
"""Of the source's slice distance: how far a slice may lie from the image that it is said to be on."""


def planes_of(grid: Grid, source: SourceSeries, time: int = 0) -> dict[int, tuple[SourcePlane, ...]]:
    """SourceSeries images at each slice of `grid`; slices without one are left out.

    Parameters
    ----------
    grid : Grid
    source : SourceSeries
    time : int
        Time point, from 0.
    """
    if source.stack is None or source.is_made_up:
        return {}
    own = np.cross(grid.affine_lps[:3, 0], grid.affine_lps[:3, 1])
    affine = source.stack.affine_lps
    distance = float(np.linalg.norm(affine[:3, 2]))
    normal = affine[:3, 2] / distance
    if abs(abs(float(own @ normal)) / float(np.linalg.norm(own)) - 1) > _PARALLEL:
        return {}
    found: dict[int, tuple[SourcePlane, ...]] = {}
    for k in range(grid.shape[0]):
        place = grid.affine_lps[:3] @ (0, 0, k, 1)
        depth = float((place - affine[:3, 3]) @ normal) / distance
        at = round(depth)
        if 0 <= at < len(source.stack.slices) and abs(depth - at) <= _NEAR:
            images = source.stack.slices[at]
            if images:
                found[k] = (images[min(time, len(images) - 1)],)
    return found
