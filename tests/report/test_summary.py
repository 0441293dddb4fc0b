import json
import math
import statistics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segtools.dataset.reader import open_dataset
from segtools.errors import DatasetError
from segtools.report import summary
from segtools.report.summary import StructureSummary, summarize
from tests.report.rows import finding_row, segment_row, series_row, write_dataset


def test_counts_of_everything(dataset):
    a = series_row("1.1", volume_bytes=10, size_bytes=100)
    b = series_row("1.2", status="warned", patient_id="100002", volume_count=2)
    c = series_row("1.3", collection_id="lidc_idri", license="CC BY-NC 3.0", source_doi="10.7937/x")
    got = summarize(
        dataset(
            series=[a, b, c],
            segments=[segment_row(a), segment_row(b), segment_row(b, 2, structure="spleen"), segment_row(c)],
            findings=[finding_row(seg_series_uid="1.2")],
        )
    )
    assert got.outcomes == {"ok": 2, "warned": 1, "failed": 0, "retired": 0}
    assert (got.series_count, got.segment_count, got.volume_count) == (3, 4, 4)
    assert got.patient_count == 3, "PatientID 100001 of two collections is two patients"
    assert (got.source_bytes, got.volume_bytes) == (2100, 210)
    assert got.idc_versions == (25,)
    assert [(s.structure, s.segment_count, s.patient_count) for s in got.structures] == [
        ("liver", 3, 3),
        ("spleen", 1, 1),
    ]
    assert [(c.collection_id, c.series_count, c.segment_count) for c in got.collections] == [
        ("nlst", 2, 3),
        ("lidc_idri", 1, 1),
    ]
    assert [(x.license, x.series_count, x.is_noncommercial) for x in got.licenses] == [
        ("CC BY 4.0", 2, False),
        ("CC BY-NC 3.0", 1, True),
    ]
    assert [(x.doi, x.series_count) for x in got.citations] == [
        ("10.5281/zenodo.8347012", 2),
        ("10.7937/x", 1),
    ]


def test_retired_series_count_as_an_outcome_and_nowhere_else(dataset):
    kept, gone = series_row("1.1"), series_row("1.2", status="retired", collection_id="old", license="old")
    got = summarize(
        dataset(
            series=[kept, gone],
            segments=[segment_row(kept), segment_row(gone, structure="spleen")],
            findings=[finding_row(seg_series_uid="1.2"), finding_row(seg_series_uid="1.1")],
        )
    )
    assert got.outcomes["retired"] == 1
    assert (got.series_count, got.patient_count, got.segment_count, got.volume_count) == (1, 1, 1, 1)
    assert [s.structure for s in got.structures] == ["liver"]
    assert [c.collection_id for c in got.collections] == ["nlst"]
    assert [x.license for x in got.licenses] == ["CC BY 4.0"]
    assert (got.finding_count, got.findings[0].finding_count) == (1, 1)


def test_volumes_are_of_segments_with_voxels_only(dataset):
    row = series_row()
    volumes = [1.0, 2.0, 4.0, 8.0, 100.0]
    segments = [segment_row(row, n, volume_ml=ml) for n, ml in enumerate(volumes, 1)]
    segments.append(segment_row(row, 6, voxel_count=0, volume_ml=0.0))
    segments.append(segment_row(row, 7, voxel_count=None, volume_ml=None, status="failed"))
    segments.append(segment_row(row, 8, volume_ml=math.nan))
    (liver,) = summarize(dataset(series=[row], segments=segments)).structures
    assert (liver.segment_count, liver.measured_count, liver.empty_count) == (8, 5, 1)
    minimum, _, q1, median, q3, _, maximum = liver.volume_ml
    assert (minimum, median, maximum) == (1.0, statistics.median(volumes), 100.0)
    assert [q1, median, q3] == statistics.quantiles(volumes, n=4, method="inclusive")


def test_nothing_measured_is_none_not_zero(dataset):
    row = series_row()
    segment = segment_row(row, volume_ml=None, voxel_count=None)
    (liver,) = summarize(dataset(series=[row], segments=[segment])).structures
    assert liver == StructureSummary("liver", 1, 1, 0, 0, None, "#DD8265")


def test_failures_are_grouped_by_code_with_a_few_examples(dataset):
    rows = [
        series_row(f"1.{n:02}", status="failed", error_code="truncated", error_message=f"ends at {n}")
        for n in range(12)
    ]
    rows.append(series_row("2.1", status="failed", error_code="no-geometry"))
    rows.append(series_row("2.2", status="failed", error_code=None))
    got = summarize(dataset(series=rows))
    assert [(f.code, f.series_count) for f in got.failures] == [
        ("truncated", 12),
        ("internal", 1),
        ("no-geometry", 1),
    ]
    assert [x.message for x in got.failures[0].examples] == [f"ends at {n}" for n in range(5)]
    assert got.failures[2].examples[0].message is None


def test_findings_come_gravest_first(dataset):
    rows = [
        finding_row("empty-segment", segment_number=1),
        finding_row("empty-segment", segment_number=2),
        finding_row("count-mismatch", severity="critical"),
        finding_row("retired-code", severity="hint", scope="dataset", seg_series_uid=None),
    ]
    got = summarize(dataset(series=[series_row()], findings=rows))
    assert [(f.rule, f.finding_count, f.series_count) for f in got.findings] == [
        ("count-mismatch", 1, 1),
        ("retired-code", 1, 0),
        ("empty-segment", 2, 1),
    ]
    assert got.finding_count == 4
    assert got.rule_count == 3


def test_an_empty_dataset_has_a_summary(dataset):
    got = summarize(dataset())
    assert got.series_count == got.segment_count == got.source_bytes == 0
    assert got.structures == ()


def test_lists_are_bounded_and_totals_are_not(dataset, monkeypatch):
    row = series_row()
    count = summary.MAXIMUM_ROWS + 30
    got = summarize(
        dataset(series=[row], segments=[segment_row(row, n, structure=f"s{n:03}") for n in range(count)])
    )
    assert len(got.structures) == summary.MAXIMUM_ROWS
    assert got.structure_count == count


def test_to_dict_is_json(dataset):
    row = series_row()
    got = summarize(dataset(series=[row], segments=[segment_row(row)], findings=[finding_row()]))
    back = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert back == got.to_dict()
    assert back["structures"][0]["volume_ml"] == [1500.0] * 7


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "o'clock"])
def test_a_path_is_never_a_pattern(tmp_path, name):
    decoys = ("run1", "aXb", "whatX")
    for decoy in decoys:
        write_dataset(tmp_path / decoy, series=[series_row("9.9")])
    assert summarize(write_dataset(tmp_path / name, series=[])).series_count == 0


def test_a_table_that_is_no_table(dataset):
    opened = dataset(series=[series_row()])
    opened.table_paths("segments")[0].write_bytes(b"PAR1 nothing")
    with pytest.raises(DatasetError) as caught:
        summarize(opened)
    assert caught.value.code == "dataset-invalid"


def test_a_table_that_lacks_a_column(dataset):
    opened = dataset(series=[series_row()])
    path = opened.table_paths("segments")[0]
    pq.write_table(pa.table({"seg_series_uid": ["1.2.3"]}), path)
    content = json.loads((opened.root / "dataset.json").read_bytes())
    content["tables"]["segments"]["files"][0]["bytes"] = path.stat().st_size
    (opened.root / "dataset.json").write_text(json.dumps(content))
    with open_dataset(opened.root) as changed, pytest.raises(DatasetError, match="structure"):
        summarize(changed)
