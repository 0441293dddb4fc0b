"""Frames into label maps.

No array of frames × rows × columns exists; the frames pass in chunks that stay in the cache. Segments
that share voxels go to different layers: each segment, in SegmentNumber order, into the first layer
where all its voxels are free. The same file always gives the same layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools import native
from segtools.decode.labelmap.canvas import paint_masks
from segtools.decode.labelmap.native_masks import paint_masks_natively
from segtools.decode.labelmap.repeats import without_repeats

if TYPE_CHECKING:
    from segtools.decode.labelmap.plan import Layers, PaintPlan
    from segtools.decode.pixels.frames import Frames


def stack_masks(frames: Frames, plan: PaintPlan) -> Layers:
    """Label maps from one mask per frame; every stored value but 0 is set.

    Parameters
    ----------
    frames : Frames
    plan : PaintPlan

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``: the label map, or one layer more, is too large.
    CorruptSegError
        ``conflicting-frames``, ``truncated``; those of compressed frames.
    """
    plan, repeated = without_repeats(frames, plan)
    core = native.core()
    layers = paint_masks(frames, plan) if core is None else paint_masks_natively(core, frames, plan)
    layers.repeated = repeated
    return layers
