"""Which segments are meant by an id, a UID or a row that somebody holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from segtools.dataset.rows import (
    Row,
    as_row,
    as_text,
    integer,
    text,
)
from segtools.errors import DatasetError, MissingError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from segtools.dataset.queries import Queries

_SEGMENT = "A segment_id or a row of the segments table"
_INSTANCE = "A SOPInstanceUID, a SeriesInstanceUID or a row of the segments or series table"

_READ = {"segment_number", "volume_path", "mask_path", "fraction_path", "max_fractional_value"}
"""Columns that a row needs for its mask without a look into the table."""

_FOUND = _READ | {"segment_id", "seg_sop_uid"}


class Lookup:
    """Finds rows of the segments table.

    Parameters
    ----------
    name : str
        The dataset's folder or URL, for messages.
    queries : Queries
    """

    def __init__(self, name: str, queries: Queries) -> None:
        self._name, self._queries = name, queries

    def instance(self, instance: str | Mapping[str, Any]) -> tuple[str, pa.Table]:
        """UID and rows of an instance or a series; by equality alone, which can skip row groups."""
        if (uid := as_text(instance)) is not None:
            found = self._matching(seg_series_uid=uid)
            return uid, found if found.num_rows else self._matching(seg_sop_uid=uid)
        row = as_row(instance, _INSTANCE)
        if not (row.get("seg_sop_uid") or row.get("seg_series_uid")) and row.get("segment_id"):
            row = self._found(text(row, "segment_id") or "")
        uid = text(row, "seg_sop_uid") or text(row, "seg_series_uid")
        if uid is None:
            raise UsageError(
                "argument-invalid",
                f"{_INSTANCE} is needed; the row has no seg_sop_uid or seg_series_uid, only "
                f"{', '.join(row) or 'nothing'}.",
            )
        # A row says more than its UID, and the table is in the order of the first of these.
        names = ("collection_id", "patient_id", "seg_series_uid", "seg_sop_uid")
        return uid, self._matching(**{name: value for name in names if (value := text(row, name))})

    def _matching(self, **values: str) -> pa.Table:
        condition = " AND ".join(f"{name} = ${name}" for name in values)
        return typed(
            self._queries.select(f"SELECT * FROM segments WHERE {condition} ORDER BY segment_number", values)
        )

    def segment(self, segment: str | Mapping[str, Any]) -> Row:
        """The row of a segment, with at least the columns that `_mask` and `fraction` read."""
        if (identifier := as_text(segment)) is not None:
            return self._found(identifier)
        row = as_row(segment, _SEGMENT)
        if row.keys() >= _READ:
            return row
        if identifier := text(row, "segment_id"):
            return self._found(identifier)
        uid, number = text(row, "seg_sop_uid"), integer(row, "segment_number")
        if uid is None or number is None:
            raise UsageError(
                "argument-invalid",
                f"{_SEGMENT} is needed; the row has no segment_id, only {', '.join(row) or 'nothing'}.",
                hint="Add the column segment_id.",
            )
        return self._one(
            f"seg_sop_uid {uid}, segment_number {number}", seg_sop_uid=uid, segment_number=number
        )

    def _found(self, segment_id: str) -> Row:
        return self._one(segment_id, segment_id=segment_id)

    def _one(self, name: str, **values: object) -> Row:
        condition = " AND ".join(f"{column} = ${column}" for column in values)
        rows: list[Row] = self._queries.select(
            f"SELECT {', '.join(sorted(_FOUND))} FROM segments WHERE {condition}", values
        ).to_pylist()
        if not rows:
            raise MissingError("not-found", f"The dataset has no segment {name!r}.", value=name)
        if len(rows) > 1:
            raise DatasetError(
                "dataset-invalid", f"{len(rows)} segments are called {name!r}.", path=self._name
            )
        return rows[0]


def typed(table: pa.Table) -> pa.Table:
    """The declared types, units and descriptions, which DuckDB drops."""
    import pyarrow as pa

    known = _declared()
    fields = [known.get(field.name, field).with_nullable(True) for field in table.schema]
    # Most types are right already; a cast of them all would import the compute functions, 50 ms.
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


@cache
def _declared() -> dict[str, pa.Field]:
    from segtools.schema import DATASET_TABLES

    return {column.name: column.field for known in DATASET_TABLES for column in known.columns}
