"""Every query on both engines: `<query>/<case>/{table,params,expect}.yaml`, expectations written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from segtools import schema
from segtools.select import BigQueryEngine, Library, LocalEngine, Sources
from tests.select.bigquery_server import BigQueryServer
from tests.select.world import DICOM_ALL_SCHEMA, SERIES_SCHEMA

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/*/expect.yaml"))
SCHEMAS = {
    "segmentations": schema.IDC_SEGMENTATIONS.arrow,
    "dicom_all": DICOM_ALL_SCHEMA,
    "series_index": SERIES_SCHEMA,
    "instances": schema.IDC_INSTANCES.arrow,
    "series_before": SERIES_SCHEMA,
    "series_after": SERIES_SCHEMA,
}
ENGINES = ("duckdb", "bigquery")


@pytest.fixture(scope="module")
def server():
    with BigQueryServer() as server:
        yield server


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def run(engine: str, query: str, tables: dict[str, pa.Table], params: dict[str, Any], server: BigQueryServer):
    if engine == "duckdb":
        opened = LocalEngine(threads=1, tables=tables).open(Sources(idc=False), 25)
    else:
        server.reset()
        public = "bigquery-public-data"
        server.tables[f"{public}.idc_current.version_metadata"] = pa.table({"idc_version": [25]})
        for name in ("segmentations", "dicom_all"):
            table = tables.get(name)
            server.tables[f"{public}.idc_v25.{name}"] = (
                SCHEMAS[name].empty_table() if table is None else table
            )
        others = {name: table for name, table in tables.items() if name not in ("segmentations", "dicom_all")}
        server.tables |= {f"own.data.{name}": table for name, table in others.items()}
        own = {name: f"own.data.{name}" for name in others}
        opened = BigQueryEngine("p", api_endpoint=server.url, timeout_s=20, tables=own).open(Sources())
    with opened as session:
        return session.run(query, {"idc_version": 25} | params, Library()).table


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_case(case: Path, engine: str, server: BigQueryServer) -> None:
    tables = {
        name: pa.Table.from_pylist(rows or [], schema=SCHEMAS[name])
        for name, rows in load(case / "table.yaml").items()
    }
    found = run(engine, case.parent.name, tables, load(case / "params.yaml") or {}, server).to_pylist()
    expected = load(case / "expect.yaml")
    columns = expected["columns"]
    rows, wanted = [[row[name] for name in columns] for row in found], expected["rows"]
    if "\nORDER BY" not in Library()[case.parent.name].sql:
        rows, wanted = sorted(rows, key=repr), sorted(wanted, key=repr)
    assert rows == wanted


def test_every_query_has_a_case() -> None:
    tested = {case.parent.name for case in CASES}
    assert set(Library()) - tested == set()
