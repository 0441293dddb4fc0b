"""Rows of an index as one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.files import replacing
from segtools.schema import Table

if TYPE_CHECKING:
    pass


ROW_GROUP_ROWS = 100_000


class RowWriter:
    """Writes Arrow tables as one Parquet file, in row groups of a good size."""

    def __init__(self, file: Any, table: Table) -> None:
        self._writer = pq.ParquetWriter(file, table.arrow, compression="zstd")
        self._pending: list[pa.Table] = [table.empty()]
        self._pending_rows = 0
        self.count = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        self.count += rows.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._pending).combine_chunks())
        self._pending, self._pending_rows = [self._pending[0].slice(0, 0)], 0


def write_rows(path: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write a whole table; errors as in `segtools.files.replacing`."""
    with replacing(path) as file, RowWriter(file, table) as writer:
        writer.write(table.from_rows(rows))
