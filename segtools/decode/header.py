"""What a SEG says of itself before its frames: identity, kind, sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.volume import SegHeader
from segtools.errors import CorruptSegError, NotSegError, UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.decode.dicom.file import DicomFile, Element

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")

_SOP_CLASS, _SOP_INSTANCE, _MODALITY = 0x00080016, 0x00080018, 0x00080060
_CONCATENATION_SOURCE = 0x00200242
_SERIES, _STUDY, _FRAME_OF_REFERENCE = 0x0020000E, 0x0020000D, 0x00200052
_REFERENCED_SERIES, _OTHER_STUDIES = 0x00081115, 0x00081200
_REFERENCED_INSTANCE, _REFERENCED_SOP, _SOURCE_IMAGE = 0x0008114A, 0x00081199, 0x00082112
_REFERENCED_UID = 0x00081155
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_SEGMENTATION_TYPE = 0x00620001
_SLIDE_TAGS = (0x00480006, 0x00480007, 0x00480008, 0x00480102)


def check_class(structure: DicomFile) -> None:
    """Refuse what is no segmentation of pixels.

    Raises
    ------
    NotSegError
        ``not-segmentation``.
    """
    uid = structure.uid(_SOP_CLASS)
    if uid not in (SEGMENTATION_STORAGE, LABEL_MAP_STORAGE):
        raise NotSegError(
            "not-segmentation",
            f"SOPClassUID (0008,0016) is {uid or 'absent'}, Modality (0008,0060) is "
            f"{structure.text(_MODALITY) or 'absent'}; Segmentation Storage is {SEGMENTATION_STORAGE}, "
            f"Label Map Segmentation Storage {LABEL_MAP_STORAGE}.",
            tag="(0008,0016)",
            value=uid,
        )


def check_no_slide(structure: DicomFile, is_slide: bool) -> None:
    """Refuse tiled slides (PS3.3 C.8.12.4, C.7.6.17.3).

    Raises
    ------
    UnsupportedSegError
        ``slide-microscopy``.
    """
    organization = structure.text(0x00209311) or ""
    named = [tag for tag in _SLIDE_TAGS if tag in structure.elements]
    if is_slide or named or organization.startswith("TILED"):
        raise UnsupportedSegError(
            "slide-microscopy",
            "The frames are tiles of a slide: "
            + (
                f"DimensionOrganizationType (0020,9311) {organization}."
                if organization
                else "they have a total pixel matrix or slide coordinates."
            ),
        )


def segmentation_type(structure: DicomFile) -> str:
    """SegmentationType (0062,0001).

    Raises
    ------
    CorruptSegError
        ``missing-attribute``, ``invalid-attribute``.
    """
    kind = structure.text(_SEGMENTATION_TYPE)
    if kind in _KINDS:
        return kind
    if kind is not None:
        raise CorruptSegError(
            "invalid-attribute",
            f"SegmentationType (0062,0001) is {kind!r}; it must be one of {', '.join(_KINDS)}.",
            tag="(0062,0001)",
            value=kind,
        )
    raise CorruptSegError("missing-attribute", "SegmentationType (0062,0001) is absent.", tag="(0062,0001)")


def size(structure: DicomFile) -> tuple[int, int]:
    """Rows and Columns of a frame.

    Raises
    ------
    CorruptSegError
        ``missing-attribute``, ``invalid-attribute``.
    """
    for keyword, tag in (("Rows", _ROWS), ("Columns", _COLUMNS)):
        value = structure.integer(tag)
        if not value or value < 0:
            raise CorruptSegError(
                "missing-attribute" if value is None else "invalid-attribute",
                f"{keyword} (0028,{tag & 0xFFFF:04X}) is {'absent' if value is None else value}.",
                tag=f"(0028,{tag & 0xFFFF:04X})",
                value=value,
            )
    return structure.integer(_ROWS) or 0, structure.integer(_COLUMNS) or 0


def read_seg_header(structure: DicomFile, kind: str, frame_count: int) -> SegHeader:
    """Header of a file.

    Parameters
    ----------
    structure : DicomFile
    kind : str
        SegmentationType.
    frame_count : int
    """
    text, uid = structure.text, structure.uid
    series, instances = sources(structure)
    return SegHeader(
        sop_instance_uid=uid(_CONCATENATION_SOURCE) or uid(_SOP_INSTANCE) or "",
        sop_class_uid=uid(_SOP_CLASS) or "",
        transfer_syntax_uid=structure.transfer_syntax_uid,
        series_instance_uid=uid(_SERIES) or "",
        study_instance_uid=uid(_STUDY) or "",
        patient_id=text(0x00100020) or "",
        frame_of_reference_uid=uid(_FRAME_OF_REFERENCE),
        segmentation_type=kind,
        frame_count=frame_count,
        file_bytes=structure.file_bytes,
        max_fractional_value=structure.integer(0x0062000E) if kind == "FRACTIONAL" else None,
        fractional_type=text(0x00620010) if kind == "FRACTIONAL" else None,
        segments_overlap=text(0x00620013),
        content_label=text(0x00700080),
        series_description=text(0x0008103E),
        manufacturer=text(0x00080070),
        model_name=text(0x00081090),
        source_series_uids=series,
        source_instance_uids=instances,
    )


def sources(structure: DicomFile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Series and images that the top level refers to, each once, in order of first mention."""
    series: dict[str, None] = {}
    instances: dict[str, None] = {}
    for item in _series_items(structure):
        if name := structure.uid(item.get(_SERIES)):
            series.setdefault(name)
        for tag in (_REFERENCED_INSTANCE, _REFERENCED_SOP):
            _collect(structure, item.get(tag), instances)
    if not instances:
        _collect(structure, structure.elements.get(_SOURCE_IMAGE), instances)
    return tuple(series), tuple(instances)


def _series_items(structure: DicomFile) -> Iterator[dict[int, Element]]:
    yield from structure.items(_REFERENCED_SERIES)
    for study in structure.items(_OTHER_STUDIES):
        yield from structure.items(study.get(_REFERENCED_SERIES))


def _collect(structure: DicomFile, sequence: Element | None, instances: dict[str, None]) -> None:
    for item in structure.items(sequence):
        if name := structure.uid(item.get(_REFERENCED_UID)):
            instances.setdefault(name)
