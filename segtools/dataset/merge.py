"""Which row of a series counts: committed and staged ones, the newest per series, in order.

DuckDB decides over the narrow table of series; the wide rows are not sorted but gathered
(`segtools.dataset.gather`), and only for pages that have changed (`segtools.dataset.write_pages`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from segtools.database import hide_progress
from segtools.dataset.pages import CHECKS
from segtools.errors import DatasetError
from segtools.files import only_itself
from segtools.schema import SEGMENTS, SELECTION, SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from segtools.dataset.layout import Layout

REFRESHED_SEGMENT_COLUMNS = ("idc_version", "analysis_result_id", "license", "source_doi")
"""Columns of a segment that are its series', as the release of this commit states them."""

_REFRESHED = (
    "idc_version",
    "analysis_result_id",
    "series_url",
    "size_bytes",
    "instance_count",
    "source_modality",
    "license",
    "source_doi",
    "split",
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
    "image_path": "NULL",
    "retired_idc_version": "CASE WHEN c.status = 'retired' THEN c.retired_idc_version ELSE $idc_version END",
}


def series_pages(manifest: Mapping[str, Any] | None, table: str = SERIES.name) -> list[dict[str, Any]]:
    """The files of a table by number of their page: those of one page have the same number everywhere."""
    files = manifest["tables"][table]["files"] if manifest else ()
    return [entry for entry in files if entry.get("origin") != CHECKS]


class Merge:
    """The merged series, and what a commit says of them.

    Parameters
    ----------
    layout : Layout
    committed : sequence of Path
        Series tables of the committed pages.
    parts : sequence of str
        The oldest first.
    current : pyarrow.Table
        The selection.
    idc_version : int or None
        Of the selection.
    memory_limit : str
        As DuckDB writes it; beyond it the merge spills into the staging folder.

    Attributes
    ----------
    series : pyarrow.Table
        Rows of `SERIES` in its order, then: `rank` (0 for committed rows, else the number of the part),
        `page` (of the committed pages, null for staged rows), `is_changed` (differs from the committed
        row, if there is one).
    """

    def __init__(
        self,
        layout: Layout,
        committed: Sequence[Path],
        parts: Sequence[str],
        current: pa.Table,
        idc_version: int | None,
        memory_limit: str,
    ) -> None:
        self._layout = layout
        self._parts = parts
        self._connection = duckdb.connect(
            config={"memory_limit": memory_limit, "temp_directory": str(layout.spill)}
        )
        hide_progress(self._connection)
        self._connection.register("selected", current.select(list(SELECTION.names)))
        staged = [layout.part(part, SERIES.name) for part in parts]
        self._files("all_series", SERIES.empty(), [*committed, *staged], len(committed))
        self._run(_merged_series(), {"idc_version": idc_version})
        self.series = self._run(
            f"SELECT {', '.join(SERIES.names)}, rank, page, is_changed FROM merged "
            f"ORDER BY {', '.join(SERIES.order)}"
        ).to_arrow_table()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

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

    def structures(self, committed: Sequence[Path]) -> list[str]:
        """Names of structures in the rows that count, sorted; of committed pages only those given."""
        staged = [self._layout.part(part, SEGMENTS.name) for part in self._parts]
        self._files("some_segments", SEGMENTS.empty(), [*committed, *staged], len(committed))
        rows = self._rows(
            "SELECT DISTINCT s.structure FROM some_segments s "
            "JOIN merged m ON m.seg_series_uid = s.seg_series_uid AND m.rank = s.rank "
            "WHERE m.status <> 'retired' ORDER BY 1"
        )
        return [name for (name,) in rows]

    def _files(self, view: str, empty: pa.Table, paths: Sequence[Path], committed: int) -> None:
        """View over files: rows of the first `committed` have rank 0, of the n-th of the others rank n."""
        if not paths:
            self._connection.register(f"no_{view}", empty)
            self._run(f"CREATE VIEW {view} AS SELECT *, 0 AS rank, NULL::INTEGER AS page FROM no_{view}")
            return
        # `filename` is the pattern that found the file, which differs where a folder is called ds[1].
        number_of = {
            name: number for number, path in enumerate(paths) for name in (str(path), only_itself(path))
        }
        numbers = list(number_of.values())
        known = pa.table(
            {
                "filename": list(number_of),
                "rank": pa.array([max(0, number - committed + 1) for number in numbers], pa.int32()),
                "page": pa.array([number if number < committed else None for number in numbers], pa.int32()),
            }
        )
        self._connection.register(f"files_{view}", known)
        listed = ", ".join(map(_literal, paths))
        self._run(
            f"CREATE VIEW {view} AS SELECT p.* EXCLUDE (filename), f.rank, f.page"
            f" FROM read_parquet([{listed}], filename = true, union_by_name = true) p"
            f" JOIN files_{view} f USING (filename)"
        )

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
    choices = {}
    for column in SERIES.names:
        stays = _PLAIN.get(column, f"c.{column}")
        if column in _REFRESHED:
            stays = f"CASE WHEN n.crdc_series_uuid = c.crdc_series_uuid THEN n.{column} ELSE {stays} END"
            stays = f"CASE WHEN n.seg_series_uid IS NULL THEN c.{column} ELSE {stays} END"
        retired = _RETIRED.get(column)
        if retired:
            stays = f"CASE WHEN n.seg_series_uid IS NULL THEN {retired} ELSE {stays} END"
        choices[column] = stays
    changed = " OR ".join(
        f"({choice}) IS DISTINCT FROM c.{column}"
        for column, choice in choices.items()
        if choice != f"c.{column}"
    )
    return f"""
        CREATE TABLE merged AS
        SELECT {", ".join(f"{choice} AS {column}" for column, choice in choices.items())},
            c.rank, c.page, c.rank > 0 OR {changed} AS is_changed
        FROM (
            SELECT * FROM all_series
            QUALIFY row_number() OVER (PARTITION BY seg_series_uid ORDER BY rank DESC) = 1
        ) c
        LEFT JOIN selected n ON n.seg_series_uid = c.seg_series_uid
    """


def _literal(path: Path) -> str:
    """A path as SQL text, its glob characters as themselves."""
    return "'" + only_itself(path).replace("'", "''") + "'"
