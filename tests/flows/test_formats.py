"""Tables as CSV, JSON, Parquet and manifests."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.formats import table_text, write_table
from segtools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

TABLE = pa.table({
    "series_url": ["s3://b/u1/", "s3://b/u2/*", "s3://b/u3/a.dcm"],
    "text": ['a "quoted", text', None, "new\nline"],
    "items": [[1.0, 2.0], [], None],
})  # fmt: skip


def test_csv_can_be_read_back():
    rows = list(csv.reader(io.StringIO(table_text(TABLE, "csv"))))
    assert rows[0] == ["series_url", "text", "items"]
    assert rows[1] == ["s3://b/u1/", 'a "quoted", text', "[1.0, 2.0]"]
    assert rows[2][1:] == ["", "[]"]
    assert rows[3][1:] == ["new\nline", ""]


def test_json_and_parquet_have_everything(tmp_path: Path):
    assert json.loads(table_text(TABLE, "json")) == TABLE.to_pylist()
    write_table(TABLE, "parquet", tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(TABLE)
    write_table(TABLE, "csv", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == table_text(TABLE, "csv")


def test_a_manifest_copies_each_series():
    lines = table_text(TABLE, "s5cmd").splitlines()
    assert lines[1:] == ["cp s3://b/u1/* .", "cp s3://b/u2/* .", "cp s3://b/u3/a.dcm ."]


@pytest.mark.parametrize(
    ("table", "made"),
    [
        (TABLE.drop_columns(["series_url"]), "s5cmd"),
        (pa.table({"series_url": ["file:///a/"]}), "s5cmd"),
        (TABLE, "parquet"),
    ],
)
def test_what_cannot_be_written_so(table, made):
    with pytest.raises(UsageError):
        table_text(table, made)
