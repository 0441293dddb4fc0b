"""BIDS sidecars of an instance's volumes: ``_dseg.json`` and the look-up table ``_dseg.tsv``.

https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html. Neither carries a clock
or a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.files import dump_json, tsv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from segtools.decode.volume import SegVolume
    from segtools.series import SelectedSeries

TSV_COLUMNS = (
    "index",
    "name",
    "abbreviation",
    "color",
    "mapping",
    "layer",
    "label",
    "category_scheme",
    "category_code",
    "category_meaning",
    "type_scheme",
    "type_code",
    "type_meaning",
    "region_scheme",
    "region_code",
    "region_meaning",
    "laterality",
)


def json_sidecar(series: SelectedSeries, volume: SegVolume, *, files: Sequence[str], decoder: str) -> bytes:
    """The JSON sidecar.

    Parameters
    ----------
    series : SelectedSeries
    volume : SegVolume
    files : sequence of str
        Names of the instance's volumes.
    decoder : str
        ``name/version``.
    """
    head = volume.header
    name, _, version = decoder.partition("/")
    sources = head.source_series_uids or ((series.source_series_uid,) if series.source_series_uid else ())
    content: dict[str, Any] = {
        "Description": head.series_description or head.content_label or "DICOM segmentation",
        "GeneratedBy": [{"Name": name, "Version": version}],
        "Sources": [f"urn:oid:{uid}" for uid in sources],
        "SpatialReference": f"urn:oid:{sources[0]}" if sources else "orig",
        "Files": list(files),
        "SegmentationType": head.segmentation_type,
        "PatientID": series.patient_id,
        "CollectionID": series.collection_id,
        "StudyInstanceUID": series.study_uid,
        "SeriesInstanceUID": series.seg_series_uid,
        "SOPInstanceUID": head.sop_instance_uid,
        "SOPClassUID": head.sop_class_uid,
        "FrameOfReferenceUID": head.frame_of_reference_uid,
        "Manufacturer": head.manufacturer,
        "ManufacturersModelName": head.model_name,
        "MaximumFractionalValue": head.max_fractional_value,
        "SegmentationFractionalType": head.fractional_type,
        "License": series.license,
        "SourceDOI": series.source_doi,
        "Findings": [{"Code": item.code, "Message": item.message} for item in volume.findings],
    }
    if kinds := {segment.algorithm_type for segment in volume.segments if segment.algorithm_type}:
        content["Manual"] = kinds == {"MANUAL"}
    return dump_json({key: value for key, value in content.items() if value is not None})


def tsv_sidecar(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The look-up table, one line per segment.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of `segtools.schema.SEGMENTS`.
    """
    lines: list[tuple[Any, ...]] = [TSV_COLUMNS]
    for row in rows:
        own = {
            "index": row["segment_number"],
            "name": row["structure"],
            "abbreviation": abbreviation(row["structure"]),
            "color": row["color_hex"],
            "mapping": row["label_index"],
        }
        lines.append(tuple(own[name] if name in own else row[name] for name in TSV_COLUMNS))
    return tsv(lines)


def abbreviation(structure: str) -> str:
    """Initials of a structure's words, upper-case: ``kidney_left`` is ``KL``."""
    return "".join(word[0] for word in structure.split("_") if word).upper()
