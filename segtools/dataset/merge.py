"""The commit's merge: committed and staged rows, the newest per series, in order.

DuckDB decides which row of a series counts and sorts the narrow tables, outside memory; the wide segment
rows are not sorted but gathered (`segtools.dataset.merge_segments`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from segtools.codes import CODES
from segtools.dataset.merge_segments import REFRESHED, gather_segments
from segtools.dataset.queries import only_itself
from segtools.errors import DatasetError
from segtools.schema import (
    DATASET_TABLES,
    FINDINGS,
    SEGMENTS,
    SELECTION,
    SERIES,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from segtools.dataset.layout import Layout

_REFRESHED = (
    "idc_version",
    "analysis_result_id",
    "series_url",
    "size_bytes",
    "instance_count",
    "source_modality",
    "license",
    "source_doi",
)
"""Columns a new release may state anew for an unchanged series."""

_PLAIN = {
    "retired_idc_version": "CASE WHEN c.status = 'retired' THEN c.retired_idc_version END",
}
_RETIRED = {
    "status": "'retired'",
    "error_code": "NULL",
    "error_message": "NULL",
    "segment_count": "NULL",
    "volume_count": "0",
    "volume_bytes": "0",
    "finding_count": "0",
    "local_path": "NULL",
    "retired_idc_version": "CASE WHEN c.status = 'retired' THEN c.retired_idc_version ELSE $idc_version END",
}


class Merge:
    """Views over the committed tables and the parts named, and the merged rows.

    Parameters
    ----------
    layout : Layout
    parts : sequence of str
        The oldest first.
    current : pyarrow.Table
        The selection.
    idc_version, label_index, memory_limit
        As in `segtools.dataset.transaction.commit`.
    """

    def __init__(
        self,
        layout: Layout,
        parts: Sequence[str],
        current: pa.Table,
        idc_version: int | None,
        label_index: Mapping[str, int] | None,
        memory_limit: str,
    ) -> None:
        self._layout = layout
        self._parts = parts
        self._connection = duckdb.connect(
            config={"memory_limit": memory_limit, "temp_directory": str(layout.spill)}
        )
        self._connection.execute("SET enable_progress_bar = false")  # it prints to stdout, terminal or not
        self._connection.register("selected", current.select(list(SELECTION.names)))
        for table in DATASET_TABLES:
            self._union(table, parts)
        self._run(_merged_series(), {"idc_version": idc_version})
        self._labels(label_index)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def reader(self, table: Table) -> Iterator[pa.RecordBatch]:
        """The merged rows of `table`, in its order, streamed."""
        if table is SEGMENTS:
            return self._segments()
        query = {SERIES: _SERIES_ROWS, FINDINGS: _FINDING_ROWS}[table]
        order = ", ".join(f"{column} NULLS LAST" for column in table.order)
        columns = ", ".join(table.names)
        result = self._run(f"SELECT {columns} FROM ({query}) ORDER BY {order}", self._rules(table))
        return iter(result.to_arrow_reader(50_000))

    def counts(self) -> dict[str, int]:
        """Series by status."""
        return dict(self._rows("SELECT status, count(*) FROM merged GROUP BY status ORDER BY status"))

    def dois(self) -> list[tuple[str, int]]:
        """DOIs and their number of series."""
        return self._rows(
            "SELECT source_doi, count(*) FROM merged WHERE status <> 'retired' AND source_doi IS NOT NULL "
            "GROUP BY ALL ORDER BY ALL"
        )

    def licenses(self) -> list[tuple[str | None, str, int, int]]:
        """Licence, collection, number of series, number of segments."""
        return self._rows(
            "SELECT license, collection_id, count(*), coalesce(sum(segment_count), 0)::BIGINT FROM merged "
            "WHERE status <> 'retired' GROUP BY ALL ORDER BY ALL NULLS LAST"
        )

    def touched(self) -> dict[str, str]:
        """Series whose folder this commit may have to tidy, the staged and the retired, and the folder."""
        rows = self._rows(
            "SELECT seg_series_uid, collection_id, patient_id FROM merged "
            "WHERE rank > 0 OR status = 'retired'"
        )
        return {
            uid: self._layout.series_folder(collection, patient, uid) for uid, collection, patient in rows
        }

    def folders(self) -> frozenset[str]:
        """Folders of all series but the retired ones."""
        rows = self._rows(
            "SELECT collection_id, patient_id, seg_series_uid FROM merged WHERE status <> 'retired'"
        )
        return frozenset(self._layout.series_folder(*row) for row in rows)

    def _segments(self) -> Iterator[pa.RecordBatch]:
        committed = self._layout.table(SEGMENTS.name)
        paths = [committed if committed.is_file() else None]
        paths += [self._layout.part(part, SEGMENTS.name) for part in self._parts]
        # A series has one place; the rest of the order is kept inside each table.
        series = self._run(
            f"SELECT seg_series_uid, rank, {', '.join(REFRESHED)} FROM merged WHERE status <> 'retired' "
            "ORDER BY collection_id, patient_id, seg_series_uid"
        ).to_arrow_table()
        labels = dict(self._rows("SELECT structure, label_index FROM labels"))
        return gather_segments(paths, series, labels)

    def _union(self, table: Table, parts: Sequence[str]) -> None:
        """View ``all_<table>``: committed rows with rank 0, those of the n-th part with rank n."""
        committed = self._layout.table(table.name)
        if committed.is_file():
            source = f"SELECT *, 0 AS rank FROM read_parquet({_literal(str(committed))})"
        else:
            self._connection.register(f"no_{table.name}", table.empty())
            source = f"SELECT *, 0 AS rank FROM no_{table.name}"
        if parts:
            paths = [str(self._layout.part(part, table.name)) for part in parts]
            ranks = pa.table({"filename": paths, "rank": pa.array(range(1, len(paths) + 1), pa.int32())})
            self._connection.register(f"ranks_{table.name}", ranks)
            listed = ", ".join(map(_literal, paths))
            source += (
                f" UNION ALL BY NAME SELECT p.* EXCLUDE (filename), r.rank"
                f" FROM read_parquet([{listed}], filename = true) p"
                f" JOIN ranks_{table.name} r USING (filename)"
            )
        self._run(f"CREATE VIEW all_{table.name} AS {source}")

    def _labels(self, label_index: Mapping[str, int] | None) -> None:
        self._run(
            "CREATE VIEW live_segments AS SELECT s.* FROM all_segments s "
            "JOIN merged m ON m.seg_series_uid = s.seg_series_uid AND m.rank = s.rank "
            "WHERE m.status <> 'retired'"
        )
        if label_index is None:
            self._run(
                "CREATE TABLE labels AS "
                "SELECT structure, row_number() OVER (ORDER BY structure) AS label_index "
                "FROM (SELECT DISTINCT structure FROM live_segments)"
            )
        else:
            structures = pa.array(label_index.keys(), pa.string())
            indices = pa.array(label_index.values(), pa.int32())
            self._connection.register("labels", pa.table({"structure": structures, "label_index": indices}))

    def _rules(self, table: Table) -> dict[str, Any]:
        checks = [code for code, entry in CODES.items() if entry.stage == "check"]
        return {"checks": checks} if table is FINDINGS else {}

    def _rows(self, query: str) -> list[Any]:
        return self._run(query).fetchall()

    def _run(self, query: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(query, parameters or None)
        except duckdb.Error as error:
            root = str(self._layout.root)
            raise DatasetError("dataset-invalid", f"{root} cannot be merged: {error}", path=root) from error


def _merged_series() -> str:
    """SQL of table ``merged``: the newest row of every series, refreshed or retired."""
    choices = []
    for column in SERIES.names:
        stays = _PLAIN.get(column, f"c.{column}")
        if column in _REFRESHED:
            stays = f"CASE WHEN n.crdc_series_uuid = c.crdc_series_uuid THEN n.{column} ELSE {stays} END"
            stays = f"CASE WHEN n.seg_series_uid IS NULL THEN c.{column} ELSE {stays} END"
        retired = _RETIRED.get(column)
        if retired:
            stays = f"CASE WHEN n.seg_series_uid IS NULL THEN {retired} ELSE {stays} END"
        choices.append(f"{stays} AS {column}")
    return f"""
        CREATE TABLE merged AS
        SELECT {", ".join(choices)}, c.rank
        FROM (
            SELECT * FROM all_series
            QUALIFY row_number() OVER (PARTITION BY seg_series_uid ORDER BY rank DESC) = 1
        ) c
        LEFT JOIN selected n ON n.seg_series_uid = c.seg_series_uid
    """


_SERIES_ROWS = "SELECT * FROM merged"

_FINDING_ROWS = (
    "SELECT f.* FROM all_findings f JOIN merged m ON m.seg_series_uid = f.seg_series_uid "
    "AND m.rank = f.rank WHERE m.status <> 'retired' AND NOT list_contains($checks, f.rule)"
)


def _literal(text: str) -> str:
    """A path as SQL text, its glob characters as themselves."""
    return "'" + only_itself(Path(text)).replace("'", "''") + "'"
