"""One object's header as rows of IDC's tables; pixels are never looked at.

Nor are per-frame groups, unless the header does not say which series was segmented: then frames do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segtools.decode import header as seg_header
from segtools.decode.dicom.file import SHARED_GROUPS, DicomFile, open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.decode.geometry.frame_table import derivation_uids
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
_REFERENCED_INSTANCE, _REFERENCED_UID = 0x0008114A, 0x00081155
_NEEDED = {
    _SOP_CLASS: "SOPClassUID (0008,0016)",
    _SOP_INSTANCE: "SOPInstanceUID (0008,0018)",
    _STUDY: "StudyInstanceUID (0020,000D)",
    _SERIES: "SeriesInstanceUID (0020,000E)",
}


@dataclass(frozen=True, slots=True)
class SegmentedSource:
    """What was segmented.

    Attributes
    ----------
    series_uid : str or None
    instances : tuple of str
        SOPInstanceUIDs that name it, where no series does.
    doubt : str
        Why `series_uid` may be another one; empty if nothing speaks against it.
    """

    series_uid: str | None = None
    instances: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class IndexedHeader:
    """What the index takes from an object.

    Attributes
    ----------
    segments : list of dict
        Rows of `segtools.schema.IDC_SEGMENTATIONS`; none for an image.
    source : SegmentedSource
        What was segmented, as far as the object says.
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
    source: SegmentedSource = SegmentedSource()

    @property
    def is_segmentation(self) -> bool:
        """Segmentation Storage or Label Map Segmentation Storage."""
        return self.sop_class_uid in SEGMENTATION_CLASSES


def read_header(raw: bytes | mmap.mmap, *, looks_at_frames: bool = True) -> IndexedHeader:
    """Read an object's header.

    Parameters
    ----------
    raw : bytes or mmap
        The object, at least up to SharedFunctionalGroupsSequence (5200,9229); up to its pixels, where
        the header does not say what was segmented.
    looks_at_frames : bool
        False: leave that open instead.

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
    is_segmentation = sop_class in SEGMENTATION_CLASSES
    source = _source(structure, raw if looks_at_frames else None) if is_segmentation else SegmentedSource()
    return IndexedHeader(
        sop_class_uid=sop_class,
        sop_uid=str(uids[_SOP_INSTANCE]),
        series_uid=str(uids[_SERIES]),
        study_uid=str(uids[_STUDY]),
        patient_id=structure.text(_PATIENT_ID) or "",
        modality=modality,
        transfer_syntax_uid=structure.transfer_syntax_uid,
        series_description=structure.text(_SERIES_DESCRIPTION),
        segments=_segment_rows(structure, source) if is_segmentation else [],
        source=source,
    )


def _segment_rows(structure: DicomFile, source: SegmentedSource) -> list[dict[str, Any]]:
    segments, _ = read_segments(structure)
    common = {
        "PatientID": structure.text(_PATIENT_ID) or "",
        "StudyInstanceUID": structure.uid(_STUDY),
        "SeriesInstanceUID": structure.uid(_SERIES),
        "SOPInstanceUID": structure.uid(_SOP_INSTANCE),
        "FrameOfReferenceUID": structure.uid(_FRAME_OF_REFERENCE),
        "SegmentationType": structure.text(_SEGMENTATION_TYPE),
        "segmented_SeriesInstanceUID": source.series_uid,
    }
    return [common | _segment_row(segment) for segment in segments]


def _source(structure: DicomFile, raw: bytes | mmap.mmap | None) -> SegmentedSource:
    """The one referenced series; of several, the one whose images the frames name; else the images."""
    series_of: dict[str, str] = {}
    series: dict[str, int] = {}
    for item in structure.items(_REFERENCED_SERIES):
        if (uid := structure.uid(item.get(_SERIES))) is None:
            continue
        series.setdefault(uid, 0)
        for instance in structure.items(item.get(_REFERENCED_INSTANCE)):
            if (name := structure.uid(instance.get(_REFERENCED_UID))) is not None:
                series_of[name] = uid
    if len(series) == 1:
        return SegmentedSource(next(iter(series)))
    # Its other studies, and SourceImageSequence (0008,2112).
    others, instances = seg_header.sources(structure)
    if not series and len(others) == 1:
        return SegmentedSource(others[0])
    if not series and instances:
        return SegmentedSource(instances=instances)
    framed = derivation_uids(open_structure(raw, stop_before=PIXEL_DATA)) if raw is not None else ()
    if not series:
        return SegmentedSource(instances=framed)
    for name in framed:
        if name in series_of:
            series[series_of[name]] += 1
    most = max(series.values())
    best = [uid for uid, count in series.items() if count == most]
    doubt = f"It refers to {len(series)} series, and its frames do not say to which; the first was taken."
    return SegmentedSource(best[0], doubt=doubt if len(best) > 1 else "")


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
