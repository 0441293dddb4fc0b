"""Rows of the catalog from what was decoded, or from what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.codes import Severity
from segtools.finding import finding_row
from segtools.schema import SEGMENTS
from segtools.terminology.color import color_hex
from segtools.terminology.laterality import laterality
from segtools.terminology.structures import structure
from segtools.version import DECODER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from segtools.dataset.stage import StoredFile
    from segtools.decode.measure import SegmentMeasure
    from segtools.decode.volume import Grid, SegHeader, Segment, SegVolume
    from segtools.errors import SegtoolsError
    from segtools.finding import Finding
    from segtools.series import SelectedSeries
    from segtools.terminology.concepts import Concept

__all__ = [
    "failed_rows",
    "file_rows",
    "finding_row",
    "grid_and_measures",
    "segment_row",
    "series_keys",
    "series_row",
]

_ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")


def segment_row(
    series: SelectedSeries,
    segment: Segment,
    header: SegHeader,
    findings: Iterable[Finding] = (),
) -> dict[str, Any]:
    """What header and selection tell of a segment: a row without storage, grid and measures."""
    about = [item for item in findings if item.segment_number in (None, segment.number)]
    row: dict[str, Any] = dict.fromkeys(SEGMENTS.names)
    row |= {
        "segment_id": f"{series.seg_series_uid}/{header.sop_instance_uid}/{segment.number}",
        **series_keys(series),
        "seg_sop_uid": header.sop_instance_uid,
        "segment_number": segment.number,
        "source_series_uid": series.source_series_uid or next(iter(header.source_series_uids), None),
        "source_modality": series.source_modality,
        "frame_of_reference_uid": header.frame_of_reference_uid,
        "tracking_id": segment.tracking_id,
        "tracking_uid": segment.tracking_uid,
        "label": segment.label,
        "description": segment.description,
        "structure": structure(segment),
        "laterality": laterality(segment),
        **_triplet("category", segment.category),
        **_triplet("type", segment.type),
        "type_modifier_code": segment.type_modifiers[0].value if segment.type_modifiers else None,
        **_triplet("region", segment.regions[0] if segment.regions else None),
        "region_modifier_code": segment.region_modifiers[0].value if segment.region_modifiers else None,
        "algorithm_type": segment.algorithm_type if segment.algorithm_type in _ALGORITHMS else None,
        "algorithm_name": segment.algorithm_name,
        "color_hex": color_hex(segment),
        "segmentation_type": header.segmentation_type if header.segmentation_type in _TYPES else None,
        "max_fractional_value": header.max_fractional_value,
        "status": "warned" if any(item.severity >= Severity.WARNING for item in about) else "ok",
        "finding_count": len(about),
        "license": series.license,
        "source_doi": series.source_doi,
        "decoder": DECODER,
    }
    return row


def grid_and_measures(volume: SegVolume, measure: SegmentMeasure) -> dict[str, Any]:
    """The grid and measure columns of a segment."""
    grid = volume.grid
    size_k, size_j, size_i = grid.shape
    row: dict[str, Any] = {
        **{f"size_{axis}": size for axis, size in zip("ijk", (size_i, size_j, size_k), strict=True)},
        **_spacing(grid),
        "affine_ras_mm": None if grid.assumed else grid.affine_ras.ravel().tolist(),
        "is_regular": True,
        "voxel_count": measure.voxel_count,
        "volume_ml": measure.volume_ml,
        "slice_count": measure.slice_count,
        "component_count": measure.component_count,
        "largest_component_fraction": measure.largest_component_fraction,
        "touches_border": measure.touches_border,
        "overlap_voxel_count": measure.overlap_voxel_count,
    }
    if measure.bbox_ijk is not None:
        names = [f"bbox_{end}_{axis}" for axis in "ijk" for end in ("min", "max")]
        row |= dict(zip(names, measure.bbox_ijk, strict=True))
    if measure.centroid_ras_mm is not None:
        row |= {f"centroid_{axis}_mm": c for axis, c in zip("ras", measure.centroid_ras_mm, strict=True)}
    return row


def _spacing(grid: Grid) -> dict[str, float | None]:
    """Spacing columns; null where it is assumed."""
    unknown = {"pixel spacing": "ij", "slice spacing": "k"}
    null = {axis for name in grid.assumed for axis in unknown.get(name, "")}
    return {
        f"spacing_{axis}_mm": None if axis in null else value
        for axis, value in zip("ijk", grid.spacing_mm, strict=True)
    }


def failed_rows(
    series: SelectedSeries,
    error: SegtoolsError,
    *,
    header: SegHeader | None = None,
    segments: Sequence[Segment] = (),
    source_bytes: int | None = None,
    source_md5: str | None = None,
) -> list[dict[str, Any]]:
    """Segment rows of an instance that failed; none unless its header could be read.

    They have status ``failed``, the error's code, and null for everything that would be a number.
    """
    if header is None:
        return []
    outcome = {
        "status": "failed",
        "error_code": error.code,
        "source_bytes": source_bytes,
        "source_md5": source_md5,
    }
    return [segment_row(series, segment, header) | outcome for segment in segments]


def series_row(
    series: SelectedSeries,
    *,
    segments: Sequence[Mapping[str, Any]],
    findings: Sequence[Mapping[str, Any]],
    files: Sequence[StoredFile],
    settings_hash: str,
    error: SegtoolsError | None = None,
    fetch_status: str = "fetched",
    fetch_attempts: int = 1,
    fetch_verified: str | None = None,
    folder: str | None = None,
) -> dict[str, Any]:
    """The row of `segtools.schema.SERIES`, from the rows of all its instances.

    Parameters
    ----------
    series : SelectedSeries
    segments, findings : sequence of mapping
        Rows of the two other tables.
    files : sequence of StoredFile
        Every file written, sidecars too.
    settings_hash : str
    error : SegtoolsError, optional
        Why the series, or an instance of it, failed.
    fetch_status : {"fetched", "failed", "skipped"}
    fetch_attempts : int
    fetch_verified : {"md5", "dicom", "size"}, optional
        See `segtools.series.FetchedSeries.verified`.
    folder : str, optional
        Folder of its volumes, relative.
    """
    volumes = [file.size_bytes for file in files if file.path.endswith(".nii.gz")]
    doubtful = any(Severity[row["severity"].upper()] >= Severity.WARNING for row in findings)
    return series.row() | {
        "status": "failed" if error else "warned" if doubtful else "ok",
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "fetch_status": fetch_status,
        "fetch_attempts": fetch_attempts,
        "fetch_verified": fetch_verified,
        "segment_count": len(segments) if segments or not error else None,
        "volume_count": len(volumes),
        "volume_bytes": sum(volumes),
        "finding_count": len({row["finding_id"] for row in findings}),
        "local_path": folder if volumes else None,
        "settings_hash": settings_hash,
        "retired_idc_version": None,
    }


def file_rows(files: Iterable[StoredFile], *, seg_series_uid: str, seg_sop_uid: str) -> list[dict[str, Any]]:
    """Rows of `segtools.schema.FILES` for the files of one instance."""
    return [
        {
            "path": file.path,
            "seg_series_uid": seg_series_uid,
            "seg_sop_uid": seg_sop_uid,
            "kind": _kind(file.path),
            "size_bytes": file.size_bytes,
            "sha256": file.sha256,
        }
        for file in files
    ]


def _kind(path: str) -> str:
    stem, _, extension = path.rpartition("/")[2].rpartition(".")
    return stem.removesuffix(".nii").rpartition("_")[2] if extension == "gz" else "sidecar"


def series_keys(series: SelectedSeries) -> dict[str, Any]:
    """The columns of `segtools.schema.SERIES_KEYS`."""
    return {
        "idc_version": series.idc_version,
        "collection_id": series.collection_id,
        "analysis_result_id": series.analysis_result_id,
        "patient_id": series.patient_id,
        "study_uid": series.study_uid,
        "seg_series_uid": series.seg_series_uid,
    }


def _triplet(prefix: str, concept: Concept | None) -> dict[str, str | None]:
    value, scheme, meaning = concept or (None, None, None)
    return {f"{prefix}_code": value, f"{prefix}_scheme": scheme, f"{prefix}_meaning": meaning}
