"""Tables as text and files: CSV, JSON, Parquet, a manifest for s5cmd."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Literal

from segtools.errors import UsageError
from segtools.objectstore.urls import AMAZON, S3

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

Format = Literal["table", "csv", "json", "parquet", "s5cmd"]


def write_table(table: pa.Table, made: Format, path: Path) -> None:
    """Write `table` to a file, which gets its name when it is whole.

    Raises
    ------
    UsageError
        ``filter-invalid``: the table cannot be written so.
    WriteError
        ``write-failed``.
    """
    from segtools.files import replacing, write_bytes

    if made != "parquet":
        write_bytes(path, table_text(table, "csv" if made == "table" else made).encode())
        return
    import pyarrow.parquet as pq

    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def table_text(table: pa.Table, made: Format) -> str:
    """`table` as text.

    Raises
    ------
    UsageError
        ``filter-invalid``: Parquet is no text; a manifest needs series with URLs of a bucket.
    """
    if made == "parquet":
        raise UsageError(
            "filter-invalid", "Parquet cannot be printed.", hint="Give a file: --output FILE.parquet."
        )
    if made == "s5cmd":
        return _manifest(table)
    if made == "json":
        return json.dumps(table.to_pylist(), indent=2, default=str, ensure_ascii=False) + "\n"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(table.column_names)
    for row in table.to_pylist():
        rows.writerow([_cell(value) for value in row.values()])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return "" if value is None else value


def _manifest(table: pa.Table) -> str:
    """One copy command per series, as IDC's own manifests have them."""
    if "series_url" not in table.column_names:
        raise UsageError(
            "filter-invalid",
            "A manifest needs series: this table has no series_url.",
            hint="Use --of series or --of sources.",
        )
    lines = [f"# s5cmd --no-sign-request --endpoint-url {AMAZON} run FILE"]
    for url in table["series_url"].to_pylist():
        if not url.startswith(S3):
            raise UsageError("filter-invalid", f"s5cmd copies from buckets, and {url!r:.120} is none.")
        lines.append(f"cp {url.rstrip('*')}* ." if url.endswith(("/", "*")) else f"cp {url} .")
    return "\n".join(lines) + "\n"
