"""The cohorts that are ready for IDC itself, up to what s5cmd would be told; from IDC's real series index."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from segtools.fetch.plan import plan_series
from segtools.select import load_spec, select
from segtools.series import iter_selection
from tests.flows.conftest import idcseg

idc_index_data = pytest.importorskip("idc_index_data")
INDEX = Path(idc_index_data.__file__).parent / "idc_index.parquet"


@pytest.mark.parametrize(("cohort", "series"), [("lidc-nodules", 6859), ("totalsegmentator-20", 20)])
def test_manifest(cohort: str, series: int, tmp_path: Path) -> None:
    selection = select(load_spec(cohort))
    assert selection.idc_version == 25
    assert selection.series.num_rows == series
    uids = selection.series["seg_series_uid"]
    columns = ["SeriesInstanceUID", "crdc_series_uuid", "aws_bucket", "series_size_MB", "instanceCount"]
    index = pq.read_table(INDEX, columns=columns)
    truth = {
        row["SeriesInstanceUID"]: row for row in index.filter(pc.is_in(index[columns[0]], uids)).to_pylist()
    }
    for one in iter_selection(selection.series):
        row = truth[one.seg_series_uid]
        assert one.series_url == f"s3://{row['aws_bucket']}/{row['crdc_series_uuid']}/"
        assert one.size_bytes == pytest.approx(row["series_size_MB"] * 1e6, abs=1)
        assert one.instance_count == row["instanceCount"] == 1
        plan = plan_series(one, tmp_path, None)
        assert plan.error is None
        assert plan.to_list == [one.series_url]
        assert re.fullmatch(r"s3://idc-open-data(-cr|-two)?/[0-9a-f-]{36}/", plan.to_list[0])
        google = plan_series(one, tmp_path, "https://storage.googleapis.com")
        assert google.to_list[0].startswith("s3://idc-open-")


def test_totalsegmentator_20_is_always_the_same() -> None:
    spec = load_spec("totalsegmentator-20")
    assert select(spec).series.equals(select(spec).series)


def test_release_tells_what_changed() -> None:
    """IDC v25 brought 3,147 SEG series and retired 10 (idc-index-data 25.0.5)."""
    ran = idcseg("release", 24, 25, "--json")
    changes = [row["change"] for row in json.loads(ran.out)]
    assert ran.code == 0
    assert (changes.count("added"), changes.count("retired")) == (3147, 10)


def test_release_that_is_not() -> None:
    ran = idcseg("release", 24, 99)
    assert ran.code == 2
    assert ran.err.startswith("error [version-unknown]")


def test_viewer_links() -> None:
    rows = json.loads(idcseg("select", "totalsegmentator-20", "--of", "viewer", "--json").out)
    assert len(rows) == 20
    assert all(row["seg_series_uid"] in row["viewer_url"] for row in rows)
