"""Paths of the values in functional groups that place a frame and name its segment (PS3.3 C.7.6.16.2)."""

from __future__ import annotations

from typing import NamedTuple

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
SLIDE_COLUMN: Chain = (SLIDE_POSITION, 0x0048021E)
SOURCE_INSTANCE: Chain = (DERIVATION_IMAGE, SOURCE_IMAGE, 0x00081155)
SOURCE_FRAME: Chain = (DERIVATION_IMAGE, SOURCE_IMAGE, 0x00081160)
BARE_SOURCE_INSTANCE: Chain = (SOURCE_IMAGE, 0x00081155)
BARE_SOURCE_FRAME: Chain = (SOURCE_IMAGE, 0x00081160)
"""As some writers have it: in the frame's item itself, without DerivationImageSequence."""

DIMENSION_INDEX: Chain = (FRAME_CONTENT, 0x00209157)


class Wanted(NamedTuple):
    """Paths that are looked for in functional groups.

    Attributes
    ----------
    chains : frozenset of Chain
    prefixes : frozenset of Chain
        Sequences on the way to them.
    """

    chains: frozenset[Chain]
    prefixes: frozenset[Chain]

    @classmethod
    def of(cls, *chains: Chain) -> Wanted:
        """Those paths."""
        return cls(frozenset(chains), frozenset(chain[:n] for chain in chains for n in range(1, len(chain))))


PLACING = Wanted.of(
    POSITION,
    ORIENTATION,
    PIXEL_SPACING,
    SLICE_THICKNESS,
    SLICE_SPACING,
    SEGMENT,
    STACK,
    SLIDE_COLUMN,
    SOURCE_INSTANCE,
    SOURCE_FRAME,
    BARE_SOURCE_INSTANCE,
    BARE_SOURCE_FRAME,
)
"""What places a frame, read of every file."""

DISTINGUISHING: dict[str, Chain] = {
    "TemporalPositionIndex (0020,9128)": (FRAME_CONTENT, 0x00209128),
    "TemporalPositionTimeOffset (0020,930D)": (0x00209310, 0x0020930D),
    "NominalCardiacTriggerDelayTime (0020,9153)": (0x00189118, 0x00209153),
    "NominalPercentageOfCardiacPhase (0020,9241)": (0x00189118, 0x00209241),
    "NominalPercentageOfRespiratoryPhase (0020,9245)": (0x00209253, 0x00209245),
    "NominalRespiratoryTriggerDelayTime (0020,9255)": (0x00209253, 0x00209255),
    "FrameAcquisitionNumber (0020,9156)": (FRAME_CONTENT, 0x00209156),
    "DiffusionBValue (0018,9087)": (0x00189117, 0x00189087),
    "EffectiveEchoTime (0018,9082)": (0x00189114, 0x00189082),
    "FrameAcquisitionDateTime (0018,9074)": (FRAME_CONTENT, 0x00189074),
    "FrameReferenceDateTime (0018,9151)": (FRAME_CONTENT, 0x00189151),
    "StackID (0020,9056)": STACK,
    "FrameLabel (0020,9453)": (FRAME_CONTENT, 0x00209453),
    "FrameComments (0020,9158)": (FRAME_CONTENT, 0x00209158),
    "ReferencedSOPInstanceUID (0008,1155)": SOURCE_INSTANCE,
}
"""What may tell frames of one segment at one position apart, the most telling first."""
