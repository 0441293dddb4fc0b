"""Functional groups (PS3.3 C.7.6.16): shared once, per frame as joined parts.

A frame's item is the bytes of four sequences. Three of them depend on the slice or on the segment
alone and are made once for each; the fourth, FrameContentSequence, has one length and differs in its
indices only. So thousands of items cost no more than joining bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from segtools.encode.dicom.elements import ITEM, decimal, decimals
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from segtools.decode.volume import Grid
    from segtools.encode.dicom.elements import Encoding
    from segtools.encode.frames.pixels import Frame
    from segtools.encode.header.geometry import SourcePlane

SEGMENTATION = Concept("113076", "DCM", "Segmentation")
SOURCE_IMAGE = Concept("121322", "DCM", "Source image for image processing operation")


def shared_groups(encoding: Encoding, grid: Grid, thickness_mm: float) -> bytes:
    """Item of SharedFunctionalGroupsSequence: orientation and pixel measures."""
    spacing_i, spacing_j, spacing_k = grid.spacing_mm
    axes = grid.affine_lps[:3, :3] / grid.spacing_mm
    measures = encoding.items(
        {
            "SliceThickness": decimal(thickness_mm),
            "SpacingBetweenSlices": decimal(spacing_k),
            "PixelSpacing": decimals((spacing_j, spacing_i)),
        }
    )
    orientation = encoding.items({"ImageOrientationPatient": decimals((*axes[:, 0], *axes[:, 1]))})
    return encoding.items({"PlaneOrientationSequence": [orientation], "PixelMeasuresSequence": [measures]})


class FrameItems:
    """Writes items of PerFrameFunctionalGroupsSequence.

    Parameters
    ----------
    encoding : Encoding
    grid : Grid or None
        None: planes without a place in the patient.
    planes : mapping of int to sequence of SourcePlane
        Source images of each slice; none to refer to no image.
    spatial : bool
        SpatialLocationsPreserved: whether frames and source images have the same pixels.
    """

    def __init__(
        self,
        encoding: Encoding,
        grid: Grid | None,
        planes: Mapping[int, Sequence[SourcePlane]],
        *,
        is_preserved: bool,
    ) -> None:
        self._encoding, self._grid, self._planes = encoding, grid, planes
        self._preserved = is_preserved

    def items(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """Items of all frames, each with its item header."""
        slices = sorted({frame.k for frame in frames})
        index = {k: n for n, k in enumerate(slices, start=1)}
        before = {k: self._derivation(k) for k in slices}
        behind = {k: self._position(k) for k in slices}
        segments = {number: self._segment(number) for number in {frame.number for frame in frames}}
        order = {number: n for n, number in enumerate(sorted(n for n in segments if n is not None), start=1)}
        content = self._content(1 if None in segments else 2)
        for frame in frames:
            at = index[frame.k]
            indices = (at,) if frame.number is None else (order[frame.number], at)
            item = b"".join((before[frame.k], content(indices, at), behind[frame.k], segments[frame.number]))
            yield ITEM + struct.pack("<I", len(item)) + item

    def _content(self, count: int) -> Callable[[tuple[int, ...], int], bytes]:
        """Make FrameContentSequence of DimensionIndexValues: a template with a place for the indices.

        Without positions in the patient, FrameAcquisitionNumber tells planes apart.
        """
        values: dict[str, object] = {"DimensionIndexValues": [0] * count}
        if self._grid is None:
            values["FrameAcquisitionNumber"] = 0
        template = self._encoding.sequence("FrameContentSequence", self._encoding.items(values))
        head = template[: -4 * count]
        assert template[-4 * count :] == bytes(4 * count)  # noqa: S101 - (0020,9157) comes last
        pack = struct.Struct(f"<{count}I").pack
        if self._grid is not None:
            return lambda indices, _: head + pack(*indices)
        assert self._encoding.element("FrameAcquisitionNumber", 0)[-2:] == b"\0\0"  # noqa: S101
        marker = len(head) - len(self._encoding.element("DimensionIndexValues", [])) - 2
        return lambda indices, at: b"".join(
            (head[:marker], struct.pack("<H", at), head[marker + 2 :], pack(*indices))
        )

    def _position(self, k: int) -> bytes:
        if self._grid is None:
            return b""
        place = self._grid.affine_lps[:3] @ (0, 0, k, 1)
        item = self._encoding.items({"ImagePositionPatient": decimals(place)})
        return self._encoding.sequence("PlanePositionSequence", item)

    def _segment(self, number: int | None) -> bytes:
        if number is None:
            return b""
        item = self._encoding.element("ReferencedSegmentNumber", number)
        return self._encoding.sequence("SegmentIdentificationSequence", item)

    def _derivation(self, k: int) -> bytes:
        """DerivationImageSequence: the source images of a slice."""
        planes = self._planes.get(k, ())
        if not planes:
            return b""
        images = [
            self._encoding.items(
                {
                    "ReferencedSOPClassUID": plane.sop_class_uid,
                    "ReferencedSOPInstanceUID": plane.sop_uid,
                    "ReferencedFrameNumber": plane.frame_number,
                    "SpatialLocationsPreserved": "YES" if self._preserved else "NO",
                    "PurposeOfReferenceCodeSequence": [self._encoding.code(SOURCE_IMAGE)],
                }
            )
            for plane in planes
        ]
        item = self._encoding.items(
            {"SourceImageSequence": images, "DerivationCodeSequence": [self._encoding.code(SEGMENTATION)]}
        )
        return self._encoding.sequence("DerivationImageSequence", item)
