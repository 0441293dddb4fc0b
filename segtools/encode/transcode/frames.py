"""Frames of another type: slices where they were, references and positions as the bytes they were."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.dicom.file import parse_decimals
from segtools.encode.dicom.dictionary import DICTIONARY
from segtools.encode.dicom.elements import ITEM, decimals
from segtools.encode.dicom.uids import uid_from
from segtools.encode.frames.masks import Masks, occupied
from segtools.encode.frames.pixels import Frame, label_bits, label_planes, packed_frames
from segtools.encode.transcode.verbatim import element_bytes, item_bytes
from segtools.encode.write.groups import shared_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.volume import Grid
    from segtools.encode.dicom.elements import Encoding

_DERIVATION, _POSITION, _PLACE = (
    DICTIONARY[keyword][0]
    for keyword in ("DerivationImageSequence", "PlanePositionSequence", "ImagePositionPatient")
)
_SEGMENT, _SHARED, _PER_FRAME = (
    DICTIONARY[keyword][0]
    for keyword in (
        "SegmentIdentificationSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    )
)
_MEASURES, _ORIENTATION = DICTIONARY["PixelMeasuresSequence"][0], DICTIONARY["PlaneOrientationSequence"][0]


class ConvertedFrames:
    """Frames of an object of another type.

    Attributes
    ----------
    frames : list of Frame
    bits : int
        BitsAllocated.
    zero_occurs : bool
        Whether a label map has voxels of no segment.
    """

    def __init__(self, structure: DicomFile, encoding: Encoding, grid: Grid, masks: Masks, kind: str) -> None:
        self._structure, self._encoding, self._grid, self._masks = structure, encoding, grid, masks
        self._is_label_map = kind == "LABELMAP"
        where = occupied(masks)
        used = sorted({k for rows in where.values() for k in rows}) or [0]
        self.bits = 1 if not self._is_label_map else 8 if max(masks.place, default=0) < 256 else 16
        if self._is_label_map:
            self.frames = [Frame(None, k) for k in used]
        else:
            self.frames = [Frame(n, k, where[n][k]) for n in sorted(masks.place) for k in sorted(where[n])]
            self.frames = self.frames or [Frame(min(masks.place), 0)]
        self.zero_occurs = self._is_label_map and any(not masks.layers[0][k].all() for k in used)

    def planes(self) -> Iterator[npt.NDArray[Any]]:
        """Pixels of each frame."""
        if self._is_label_map:
            return label_planes(self._masks, self.frames, self.bits)
        return label_bits(self._masks, self.frames)

    def packed(self) -> Iterator[bytes]:
        """Bits of all frames without gaps."""
        return packed_frames(self._masks, self.frames)

    def shared(self) -> bytes:
        """Item of SharedFunctionalGroupsSequence, without what a segment or a frame owns."""
        items = self._structure.items(_SHARED)
        kept = {
            tag: e
            for tag, e in (items[0] if items else {}).items()
            if tag not in (_SEGMENT, _POSITION, _DERIVATION)
        }
        if _MEASURES in kept and _ORIENTATION in kept:
            return item_bytes(self._structure, kept)
        # they stood in every frame
        return shared_groups(self._encoding, self._grid, self._grid.spacing_mm[2])

    def dimensions(self, uid: str) -> dict[str, object]:
        """Dimensions: position in a label map; segment and position else."""
        organization = str(uid_from(uid, "dimensions"))
        pointers = [] if self._is_label_map else [(0x0062000B, 0x0062000A, "ReferencedSegmentNumber")]
        pointers.append((0x00200032, 0x00209113, "ImagePositionPatient"))
        slices = [frame.k for frame in self.frames]
        regular = self._is_label_map and slices == list(range(slices[0], slices[0] + len(slices)))
        return {
            "DimensionOrganizationSequence": [
                self._encoding.items({"DimensionOrganizationUID": organization})
            ],
            "DimensionIndexSequence": [
                self._encoding.items(
                    {
                        "DimensionOrganizationUID": organization,
                        "DimensionIndexPointer": pointer,
                        "FunctionalGroupPointer": group,
                        "DimensionDescriptionLabel": label,
                    }
                )
                for pointer, group, label in pointers
            ],
            "DimensionOrganizationType": "3D" if regular else None,
        }

    def items(self) -> Iterator[bytes]:
        """Items of PerFrameFunctionalGroupsSequence, each with its header."""
        derivations, positions = self._by_slice()
        index = {k: n for n, k in enumerate(sorted({frame.k for frame in self.frames}), start=1)}
        content = self._encoding.sequence(
            "FrameContentSequence",
            self._encoding.items({"DimensionIndexValues": [0] * (1 if self._is_label_map else 2)}),
        )
        for frame in self.frames:
            at = index[frame.k]
            segment = b""
            values = (at,)
            if frame.number is not None:
                values = (frame.number, at)  # type: ignore[assignment]
                segment = self._encoding.sequence(
                    "SegmentIdentificationSequence",
                    self._encoding.element("ReferencedSegmentNumber", frame.number),
                )
            packed = struct.pack(f"<{len(values)}I", *values)
            position = positions.get(frame.k) or self._position(frame.k)
            parts = (derivations.get(frame.k, b""), content[: -len(packed)], packed, position, segment)
            item = b"".join(parts)
            yield ITEM + struct.pack("<I", len(item)) + item

    def _position(self, k: int) -> bytes:
        place = self._grid.affine_lps[:3] @ (0, 0, k, 1)
        return self._encoding.sequence(
            "PlanePositionSequence", self._encoding.items({"ImagePositionPatient": decimals(place)})
        )

    def _by_slice(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """References and positions of the first frame at each slice."""
        structure, to_voxels = self._structure, np.linalg.inv(self._grid.affine_lps)
        shared = structure.items(_SHARED)
        common = shared[0].get(_DERIVATION) if shared else None
        derivations: dict[int, bytes] = {}
        positions: dict[int, bytes] = {}
        slice_of: dict[bytes, int] = {}
        for item in structure.items(_PER_FRAME):
            element = item.get(_POSITION)
            if element is None:
                continue
            raw = element_bytes(structure, element)
            k = slice_of.get(raw)
            if k is None:
                places = structure.items(element)
                place = parse_decimals(structure.value(places[0].get(_PLACE))) if places else ()
                if len(place) != 3:
                    continue
                k = slice_of[raw] = round(float((to_voxels @ (*place, 1.0))[2]))
            if k in positions:
                continue
            positions[k] = raw
            derivation = item.get(_DERIVATION) or common
            if derivation is not None:
                derivations[k] = element_bytes(structure, derivation)
        return derivations, positions
