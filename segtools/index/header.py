"""One object's header as rows of IDC's tables; pixels and per-frame groups are never looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segtools.decode.dicom.file import SHARED_GROUPS, Structure, open_structure
from segtools.decode.segments import read_segments
from segtools.errors import CorruptSegError, NotSegError

if TYPE_CHECKING:
    import mmap

    from segtools.decode.volume import Segment
    from segtools.terminology.concepts import Concept

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATION_CLASSES = frozenset({SEGMENTATION, LABEL_MAP_SEGMENTATION})

_SOP_CLASS, _SOP_INSTANCE, _MODALITY, _SERIES_DESCRIPTION = 0x00080016, 0x00080018, 0x00080060, 0x0008103E
_PATIENT_ID, _STUDY, _SERIES, _FRAME_OF_REFERENCE = 0x00100020, 0x0020000D, 0x0020000E, 0x00200052
_REFERENCED_SERIES, _SEGMENTATION_TYPE = 0x00081115, 0x00620001
_NEEDED = {
    _SOP_CLASS: "SOPClassUID (0008,0016)",
    _SOP_INSTANCE: "SOPInstanceUID (0008,0018)",
    _STUDY: "StudyInstanceUID (0020,000D)",
    _SERIES: "SeriesInstanceUID (0020,000E)",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the index takes from an object.

    Attributes
    ----------
    segments : list of dict
        Rows of `segtools.schema.IDC_SEGMENTATIONS`; none for an image.
    """

    sop_class_uid: str
    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    modality: str | None
    transfer_syntax_uid: str
    series_description: str | None
    segments: list[dict[str, Any]]

    @property
    def is_segmentation(self) -> bool:
        """Segmentation Storage or Label Map Segmentation Storage."""
        return self.sop_class_uid in SEGMENTATION_CLASSES


def read_header(raw: bytes | mmap.mmap) -> Header:
    """Read an object's header.

    Parameters
    ----------
    raw : bytes or mmap
        The object, at least up to SharedFunctionalGroupsSequence (5200,9229).

    Raises
    ------
    NotSegError
        ``empty-file``, ``not-dicom``; ``not-segmentation``: Modality SEG, but another SOP class.
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``missing-attribute`` and whatever else makes the
        header unreadable.
    """
    structure = open_structure(raw, stop_before=SHARED_GROUPS)
    uids = {tag: structure.uid(tag) for tag in _NEEDED}
    for tag, keyword in _NEEDED.items():
        if not uids[tag]:
            raise CorruptSegError("missing-attribute", f"{keyword} is absent or empty.", tag=tag)
    sop_class, modality = str(uids[_SOP_CLASS]), structure.text(_MODALITY)
    if modality == "SEG" and sop_class not in SEGMENTATION_CLASSES:
        raise NotSegError(
            "not-segmentation", f"Modality (0008,0060) is SEG, but SOPClassUID (0008,0016) is {sop_class}."
        )
    return Header(
        sop_class_uid=sop_class,
        sop_uid=str(uids[_SOP_INSTANCE]),
        series_uid=str(uids[_SERIES]),
        study_uid=str(uids[_STUDY]),
        patient_id=structure.text(_PATIENT_ID) or "",
        modality=modality,
        transfer_syntax_uid=structure.transfer_syntax_uid,
        series_description=structure.text(_SERIES_DESCRIPTION),
        segments=_segment_rows(structure) if sop_class in SEGMENTATION_CLASSES else [],
    )


def _segment_rows(structure: Structure) -> list[dict[str, Any]]:
    segments, _ = read_segments(structure)
    common = {
        "PatientID": structure.text(_PATIENT_ID) or "",
        "StudyInstanceUID": structure.uid(_STUDY),
        "SeriesInstanceUID": structure.uid(_SERIES),
        "SOPInstanceUID": structure.uid(_SOP_INSTANCE),
        "FrameOfReferenceUID": structure.uid(_FRAME_OF_REFERENCE),
        "SegmentationType": structure.text(_SEGMENTATION_TYPE),
        "segmented_SeriesInstanceUID": _segmented_series(structure),
    }
    return [common | _segment_row(segment) for segment in segments]


def _segmented_series(structure: Structure) -> str | None:
    """SeriesInstanceUID of the first referenced series, as IDC's table has it."""
    for item in structure.items(_REFERENCED_SERIES):
        return structure.uid(item.get(_SERIES))
    return None


def _segment_row(segment: Segment) -> dict[str, Any]:
    kind = _code(segment.type)
    if kind is not None:
        kind |= {
            # IDC's AnatomicRegionModifier holds one code; a side may be among the others.
            "AnatomicRegionModifierSequence": [_code(code) for code in segment.region_modifiers[1:]],
            "SegmentedPropertyTypeModifierCodeSequence": [_code(code) for code in segment.type_modifiers],
        }
    return {
        "AnatomicRegion": _code(*segment.regions[:1]),
        "AnatomicRegionModifier": _code(*segment.region_modifiers[:1]),
        "SegmentedPropertyCategory": _code(segment.category),
        "SegmentedPropertyType": kind,
        "SegmentAlgorithmType": segment.algorithm_type,
        "SegmentAlgorithmName": segment.algorithm_name,
        "SegmentNumber": segment.number,
        "TrackingUID": segment.tracking_uid,
        "TrackingID": segment.tracking_id,
    }


def _code(concept: Concept | None = None) -> dict[str, Any] | None:
    if concept is None:
        return None
    return {
        "CodeValue": concept.value or None,
        "CodingSchemeDesignator": concept.scheme or None,
        "CodeMeaning": concept.meaning or None,
    }
