"""How much memory a file will take, by what its header says: grid, frames, layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.read import DecodeOptions, open_instance_of, place_instance
from segtools.errors import SegError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.decode.read import Source

_WORK_BYTES = 60_000_000
"""The interpreter with its packages, and what passes through it in chunks."""
_BLOCKS = 1.5
"""Frame blocks at a time: the stored values of a slice, and what is made of them."""


def estimate_memory(
    source: Source | Sequence[Source],
    *,
    options: DecodeOptions | None = None,
    source_grid: SourceGrid | None = None,
) -> int:
    """Bytes that reading, measuring and writing a file takes at most at a time.

    Label maps are counted by the slices that have frames, as the others are never touched; where
    SegmentsOverlap (0062,0013) is YES, a second layer is reckoned with. What the file would be refused
    for is found by `read`: such a file takes no label map.

    Parameters
    ----------
    source, options, source_grid
        As in `segtools.decode.read`.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    options = options or DecodeOptions()
    try:
        instance = open_instance_of(source, options, source_grid)
        placement = place_instance(instance, options, source_grid)
    except SegError:
        return _WORK_BYTES
    _, rows, columns = placement.grid.shape
    values = 2 if int(instance.table.segment.max(initial=0)) > 255 else 1
    slices = len(np.unique(placement.slice_of_frame))
    if source_grid is not None:
        slices = max(slices, source_grid.shape[0])
    if instance.kind == "FRACTIONAL":
        layers = len(np.unique(instance.table.segment))
    else:
        layers = 2 if instance.header.segments_overlap == "YES" else 1
    plane = rows * columns * values
    return _WORK_BYTES + slices * plane * layers + int(_BLOCKS * plane)
