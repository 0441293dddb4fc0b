"""The library's queries on `bqemulator`, a second BigQuery made by others; opt-in.

Set IDCSEG_BQEMULATOR_PYTHON to the Python of an environment with bqemulator and DuckDB's spatial
extension (duckdb-extensions, duckdb-extension-spatial) and numpy: it pins other versions of DuckDB and sqlglot than ours.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from segtools.select import Library, LocalEngine, Sources
from tests.select.world import dicom_all, segmentations

PYTHON = os.environ.get("IDCSEG_BQEMULATOR_PYTHON")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="IDCSEG_BQEMULATOR_PYTHON is not set")
QUERIES = (
    "coded_segments",
    "segment_meanings",
    "matches",
    "series",
    "segments",
    "objects",
    "structures",
    "concepts",
)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def emulator():
    assert PYTHON is not None
    port = _free_port()
    load = "from duckdb_extensions import import_extension; import_extension('spatial')"
    subprocess.run([PYTHON, "-c", load], check=True)
    program = str(Path(PYTHON).with_name("bqemulator"))
    ports = ["--rest-port", str(port), "--grpc-port", str(_free_port())]
    process = subprocess.Popen(
        [program, "start", *ports, "--log-level", "error"],
        env={**os.environ, "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false", "OTEL_SDK_DISABLED": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _fields(schema: pa.Schema | pa.DataType) -> list[Any]:
    from google.cloud import bigquery

    fields = []
    for item in schema:
        kind, mode = item.type, "NULLABLE"
        if pa.types.is_list(kind):
            kind, mode = kind.value_type, "REPEATED"
        if pa.types.is_struct(kind):
            fields.append(bigquery.SchemaField(item.name, "RECORD", mode, fields=_fields(kind)))
        else:
            name = "INTEGER" if pa.types.is_integer(kind) else "STRING"
            fields.append(bigquery.SchemaField(item.name, name, mode))
    return fields


@pytest.fixture(scope="module")
def filled(emulator: str):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    client = bigquery.Client("p", AnonymousCredentials(), client_options={"api_endpoint": emulator})
    tables = {"segmentations": segmentations(), "dicom_all": dicom_all()}
    client.create_dataset("p.idc_v25")
    for name, table in tables.items():
        made = client.create_table(bigquery.Table(f"p.idc_v25.{name}", _fields(table.schema)))
        rows = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
        assert client.insert_rows_json(made, rows) == []
    return client


@pytest.mark.parametrize("query", QUERIES)
def test_same_rows(query: str, filled: Any) -> None:
    from google.cloud import bigquery
    from sqlglot import exp

    from segtools.select.engines.bigquery_jobs import parameter
    from segtools.select.sql.statement import statement

    def relation(name: str) -> exp.Expr | None:
        known = name in ("segmentations", "dicom_all")
        return exp.to_table(f"`p.idc_v25.{name}`", dialect="bigquery") if known else None

    values = {"idc_version": 25, "laterality": ["left", "right"], "by_segment": True, "sample_series": 3}
    library = Library()
    made = statement(library[query], values, library, relation, "bigquery")
    parameters = [parameter(name, *entry) for name, entry in made.parameters.items()]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    there = filled.query(made.sql, config).result().to_arrow(create_bqstorage_client=False).to_pylist()
    tables = {"segmentations": segmentations(), "dicom_all": dicom_all()}
    with LocalEngine(threads=1, tables=tables).open(Sources(idc=False), 25) as session:
        here = session.run(query, values, library).table.to_pylist()
    assert sorted(map(str, there)) == sorted(map(str, here))
    assert here
