"""Which segments to compare: the same structure and side, of one image series, by two segmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.terminology.snomed import current_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from segtools.dataset.reader import Dataset

    Row = dict[str, Any]

COLUMNS = (
    "segment_id",
    "collection_id",
    "patient_id",
    "analysis_result_id",
    "seg_series_uid",
    "seg_sop_uid",
    "segment_number",
    "source_series_uid",
    "frame_of_reference_uid",
    "structure",
    "laterality",
    "type_code",
    "type_scheme",
    "region_code",
    "region_scheme",
    "algorithm_type",
    "algorithm_name",
    "volume_path",
    "mask_path",
    "fraction_path",
    "affine_ras_mm",
    "size_i",
    "size_j",
    "size_k",
    "voxel_count",
    "volume_ml",
    *(f"bbox_{end}_{axis}" for axis in "ijk" for end in ("min", "max")),
)
_CONDITION = (
    "source_series_uid IS NOT NULL AND status <> 'failed' AND voxel_count > 0 "
    "AND coalesce(volume_path, mask_path, fraction_path) IS NOT NULL"
)


def pairs(dataset: Dataset, where: str | None = None) -> Iterator[tuple[Row, Row]]:
    """Pairs of segments of one structure on one image series, each pair once.

    The two have equal property type, region and side (retired codes count as their current twins) and
    come from different instances. Of several equal segments in one instance none is compared: which
    belongs to which cannot be told from codes.

    Parameters
    ----------
    dataset : Dataset
    where : str, optional
        SQL condition on the segments table.
    """
    condition = f"({_CONDITION}) AND (\n{where}\n)" if where else _CONDITION
    groups: dict[tuple[str | None, ...], dict[str, list[Row]]] = {}
    for row in dataset.segments(condition, COLUMNS).to_pylist():
        instances = groups.setdefault(_key(row), {})
        instances.setdefault(row["seg_sop_uid"], []).append(row)
    for key in sorted(groups, key=str):
        single = [rows[0] for rows in groups[key].values() if len(rows) == 1]
        single.sort(key=lambda row: (row["seg_series_uid"], row["seg_sop_uid"]))
        for n, first in enumerate(single):
            for second in single[n + 1 :]:
                yield first, second


def _key(row: Row) -> tuple[str | None, ...]:
    return (
        row["source_series_uid"],
        _code(row, "type"),
        _code(row, "region"),
        row["laterality"],
        None if row["type_code"] else row["structure"],
    )


def _code(row: Row, prefix: str) -> str | None:
    value = row[f"{prefix}_code"]
    return current_key(f"{row[f'{prefix}_scheme']}:{value}") if value else None
