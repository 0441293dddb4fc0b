from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from segtools.select import BigQueryEngine, LocalEngine
from tests.select.bigquery_server import BigQueryServer
from tests.select.world import dicom_all, segmentations

PUBLIC = "bigquery-public-data"


@pytest.fixture(scope="session")
def running_server() -> Iterator[BigQueryServer]:
    with BigQueryServer() as server:
        yield server


def fill(server: BigQueryServer, version: int = 25, **tables: pa.Table) -> None:
    server.tables[f"{PUBLIC}.idc_current.version_metadata"] = pa.table({"idc_version": [24, 25]})
    for name, table in ({"segmentations": segmentations(), "dicom_all": dicom_all()} | tables).items():
        server.tables[f"{PUBLIC}.idc_v{version}.{name}"] = table


@pytest.fixture
def server(running_server: BigQueryServer) -> BigQueryServer:
    running_server.reset()
    fill(running_server)
    return running_server


@pytest.fixture
def bigquery(server: BigQueryServer) -> BigQueryEngine:
    return BigQueryEngine("a-project", api_endpoint=server.url, timeout_s=20)


@pytest.fixture
def local() -> LocalEngine:
    return LocalEngine(threads=1, tables={"segmentations": segmentations(), "dicom_all": dicom_all()})
