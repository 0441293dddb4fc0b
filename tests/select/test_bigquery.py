"""The real client against a loopback BigQuery: cost, limits, drift, faults."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pytest

from segtools.errors import (
    EnvironmentProblem,
    QueryError,
    SelectError,
    Transient,
    UsageError,
)
from segtools.select import (
    BigQueryEngine,
    Sources,
    estimate,
    parse_spec,
    plan,
    select,
)
from tests.select.bigquery_server import BigQueryServer, Refusal
from tests.select.conftest import fill
from tests.select.world import DICOM_ALL_SCHEMA, dicom_all, segmentations

IDC = Sources()


def test_jobs_are_dry_run_capped_and_labelled(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    engine = dataclasses.replace(bigquery, maximum_bytes_billed=10**9, labels={"team": "seg"})
    spec = parse_spec("structures: liver")
    selection = select(spec, IDC, engine)
    jobs = server.queries()
    real = [job for job in jobs if not job.get("dryRun")]
    assert len(real) * 2 == len(jobs)
    assert {job["query"]["maximumBytesBilled"] for job in real} == {"1000000000"}
    assert all(job["labels"]["team"] == "seg" and job["labels"]["query"] for job in jobs)
    assert all("`bigquery-public-data.idc_v25." in job["query"]["query"] or "idc_current" in job["query"]["query"]
               or "INFORMATION_SCHEMA" in job["query"]["query"] for job in jobs)  # fmt: skip
    assert selection.provenance["bytes_processed"] > 0
    made = plan(selection, spec)
    assert made.query_bytes == selection.provenance["bytes_processed"]
    assert json.loads(json.dumps(made.to_dict()))["query_cost_usd"] >= 0


def test_estimate_runs_no_cohort_query(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    assert estimate(parse_spec("collections: nlst"), IDC, bigquery) > 0
    run = [job["labels"]["query"] for job in server.queries() if not job.get("dryRun")]
    assert set(run) == {"versions", "probe"}


def test_an_unset_filter_costs_no_column(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    plain = estimate(parse_spec("collections: nlst"), IDC, bigquery)
    assert plain < estimate(parse_spec("collections: nlst\nstructures: SCT:10200004"), IDC, bigquery)


def test_too_expensive_by_our_dry_run(bigquery: BigQueryEngine, server: BigQueryServer) -> None:
    engine = dataclasses.replace(bigquery, maximum_bytes_billed=300)
    with pytest.raises(SelectError) as caught:
        select(parse_spec(""), IDC, engine)
    assert caught.value.code == "query-too-expensive"
    assert caught.value.attrs["limit"] == 300


def test_too_expensive_by_bigquery(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    server.faults = [Refusal(400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 1.")]
    with pytest.raises(SelectError) as caught:
        select(parse_spec(""), IDC, bigquery)
    assert caught.value.code == "query-too-expensive"


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Refusal(403, "accessDenied", "Access Denied"), EnvironmentProblem, "query-refused"),
        (Refusal(403, "billingNotEnabled", "no billing"), EnvironmentProblem, "query-refused"),
        (Refusal(403, "quotaExceeded", "quota"), EnvironmentProblem, "query-refused"),
        (Refusal(404, "notFound", "Not found: Dataset"), SelectError, "table-invalid"),
        (Refusal(400, "invalidQuery", "Syntax error"), QueryError, "query-invalid"),
    ],
)
def test_refusals(
    server: BigQueryServer, bigquery: BigQueryEngine, fault: Refusal, kind: type, code: str
) -> None:
    server.faults = [fault]
    with pytest.raises(kind) as caught:
        select(parse_spec(""), IDC, bigquery)
    assert caught.value.code == code
    assert not isinstance(caught.value, Transient)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault", [Refusal(503, "backendError", "busy"), Refusal(429, "rateLimitExceeded", "slow")]
)
def test_passing_faults_are_retried(server: BigQueryServer, bigquery: BigQueryEngine, fault: Refusal) -> None:
    server.faults = [fault]
    assert select(parse_spec(""), IDC, bigquery).series.num_rows == 6


def test_an_endpoint_that_stays_down_is_unavailable(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    server.faults = [Refusal(503, "backendError", "busy")] * 100
    with pytest.raises(EnvironmentProblem) as caught:
        select(parse_spec(""), IDC, dataclasses.replace(bigquery, timeout_s=1))
    assert caught.value.code == "query-unavailable"
    assert isinstance(caught.value, Transient)
    assert caught.value.exit_code == 4


def test_many_rows_come_in_pages(server: BigQueryServer, bigquery: BigQueryEngine, monkeypatch) -> None:
    monkeypatch.setattr("segtools.select.engines.bigquery_jobs.PAGE_ROWS", 2)
    assert select(parse_spec(""), IDC, bigquery).series.num_rows == 6
    pages = [path for method, path, _ in server.requests if method == "GET" and "/queries/" in path]
    assert len(pages) > 6


def test_versions(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    assert select(parse_spec("idc_version: latest"), IDC, bigquery).idc_version == 25
    with pytest.raises(SelectError) as caught:
        select(parse_spec("idc_version: 26"), IDC, bigquery)
    assert caught.value.code == "version-unknown"


def test_columns_that_come_and_go(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    """As in IDC v23: no SegmentationType, SegmentAlgorithmName repeated."""
    table = segmentations()
    names = pa.array([[name] if name else [] for name in table["SegmentAlgorithmName"].to_pylist()])
    table = table.set_column(table.column_names.index("SegmentAlgorithmName"), "SegmentAlgorithmName", names)
    fill(server, segmentations=table.drop_columns(["SegmentationType", "viewer_url"]))
    selection = select(parse_spec("algorithm_names: reader's"), IDC, bigquery)
    assert selection.series["seg_series_uid"].to_pylist() == ["1.2"]
    assert any("SegmentationType" in warning for warning in selection.warnings)
    with pytest.raises(SelectError) as caught:
        select(parse_spec("segmentation_types: BINARY"), IDC, bigquery)
    assert (caught.value.code, caught.value.attrs["key"]) == ("table-invalid", "segmentation_types")


def test_a_struct_that_lacks_a_field(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    table = segmentations()
    kinds = [
        None if row is None else {k: v for k, v in row.items() if k != "AnatomicRegionModifierSequence"}
        for row in table["SegmentedPropertyType"].to_pylist()
    ]
    column = table.column_names.index("SegmentedPropertyType")
    fill(server, segmentations=table.set_column(column, "SegmentedPropertyType", pa.array(kinds)))
    selection = select(parse_spec("structures: kidney_left"), IDC, bigquery)
    assert selection.series["seg_series_uid"].to_pylist() == ["1.1", "1.2"]


def test_label_maps_come_from_dicom_all(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    selection = select(parse_spec("algorithm_names: RCC-AI"), IDC, bigquery)
    assert selection.series["seg_series_uid"].to_pylist() == ["1.5"]
    assert selection.series["source_modality"].to_pylist() == ["MR"]
    only_binary = select(parse_spec("segmentation_types: BINARY"), IDC, bigquery)
    assert "1.5" not in only_binary.series["seg_series_uid"].to_pylist()
    assert not any("SegmentSequence" in job["query"]["query"] for job in server.queries()[-4:])


def test_label_maps_unreadable_are_said(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    fill(server, dicom_all=dicom_all().drop_columns(["SegmentSequence"]))
    selection = select(parse_spec("structures: kidney"), IDC, bigquery)
    assert "1.5" not in selection.series["seg_series_uid"].to_pylist()
    assert any("Label maps" in warning for warning in selection.warnings)


def test_a_table_without_its_key(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    fill(server, segmentations=segmentations().drop_columns(["SeriesInstanceUID"]))
    with pytest.raises(SelectError) as caught:
        select(parse_spec(""), IDC, bigquery)
    assert caught.value.code == "table-invalid"
    assert "SeriesInstanceUID" in str(caught.value)


def test_changes_between_releases(server: BigQueryServer, bigquery: BigQueryEngine) -> None:
    from segtools.select import changes

    rows = dicom_all().to_pylist()
    former = [
        row | ({"crdc_series_uuid": "old"} if row["SeriesInstanceUID"] == "1.2" else {}) for row in rows[1:]
    ]
    fill(server, 24, dicom_all=pa.Table.from_pylist(former, schema=DICOM_ALL_SCHEMA))
    found = changes(24, "latest", IDC, bigquery).to_pylist()
    assert [(row["change"], row["seg_series_uid"]) for row in found] == [("added", "1.1"), ("revised", "1.2")]


def test_missing_credentials_are_one_sentence(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for engine in (BigQueryEngine("p"), BigQueryEngine("p", credentials_file=str(tmp_path / "no.json"))):
        with pytest.raises(EnvironmentProblem) as caught:
            select(parse_spec(""), IDC, engine)
        assert (caught.value.code, caught.value.exit_code) == ("credentials-missing", 4)
        assert "\n" not in str(caught.value)


def test_own_index_is_not_on_bigquery(bigquery: BigQueryEngine, tmp_path) -> None:
    with pytest.raises(SelectError) as caught:
        select(parse_spec(""), Sources((tmp_path,), idc=False), bigquery)
    assert caught.value.code == "source-missing"


def test_labels_are_checked() -> None:
    with pytest.raises(UsageError):
        BigQueryEngine("p", labels={"Team": "x"})
