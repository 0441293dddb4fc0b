"""Paths of the values in functional groups that place a frame and name its segment (PS3.3 C.7.6.16.2)."""

from __future__ import annotations

Chain = tuple[int, ...]
"""Tags from the item down to a value; ``(PlanePositionSequence, ImagePositionPatient)``."""

FRAME_CONTENT, PLANE_POSITION, PLANE_ORIENTATION = 0x00209111, 0x00209113, 0x00209116
PIXEL_MEASURES, SEGMENT_IDENTIFICATION = 0x00289110, 0x0062000A
DERIVATION_IMAGE, SOURCE_IMAGE = 0x00089124, 0x00082112
SLIDE_POSITION = 0x0048021A
POSITION: Chain = (PLANE_POSITION, 0x00200032)
ORIENTATION: Chain = (PLANE_ORIENTATION, 0x00200037)
PIXEL_SPACING: Chain = (PIXEL_MEASURES, 0x00280030)
SLICE_THICKNESS: Chain = (PIXEL_MEASURES, 0x00180050)
SLICE_SPACING: Chain = (PIXEL_MEASURES, 0x00180088)
SEGMENT: Chain = (SEGMENT_IDENTIFICATION, 0x0062000B)
STACK: Chain = (FRAME_CONTENT, 0x00209056)
TEMPORAL_INDEX: Chain = (FRAME_CONTENT, 0x00209128)
TEMPORAL_OFFSET: Chain = (0x00209310, 0x0020930D)
TRIGGER_DELAY: Chain = (0x00189118, 0x00209153)
SLIDE_COLUMN: Chain = (SLIDE_POSITION, 0x0048021E)
SOURCE_INSTANCE: Chain = (DERIVATION_IMAGE, SOURCE_IMAGE, 0x00081155)
SOURCE_FRAME: Chain = (DERIVATION_IMAGE, SOURCE_IMAGE, 0x00081160)
BARE_SOURCE_INSTANCE: Chain = (SOURCE_IMAGE, 0x00081155)
BARE_SOURCE_FRAME: Chain = (SOURCE_IMAGE, 0x00081160)
"""As some writers have it: in the frame's item itself, without DerivationImageSequence."""

WANTED: frozenset[Chain] = frozenset(
    {
        POSITION,
        ORIENTATION,
        PIXEL_SPACING,
        SLICE_THICKNESS,
        SLICE_SPACING,
        SEGMENT,
        STACK,
        TEMPORAL_INDEX,
        TEMPORAL_OFFSET,
        TRIGGER_DELAY,
        SLIDE_COLUMN,
        SOURCE_INSTANCE,
        SOURCE_FRAME,
        BARE_SOURCE_INSTANCE,
        BARE_SOURCE_FRAME,
    }
)
PREFIXES = frozenset(chain[:n] for chain in WANTED for n in range(1, len(chain)))
"""Sequences on the way to a wanted value."""
