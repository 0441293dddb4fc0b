"""Segmentations of slide microscopy are left out and named, not fetched to fail."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segtools import schema
from segtools.errors import SelectError
from segtools.select import Sources, parse_spec, plan, select
from segtools.select.engines.duckdb import LocalEngine
from tests.select.world import LIVER, SEG, segment


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """An index of two segmentations of CT and three of slides."""
    kinds = {"5.1": "CT", "5.2": "CT", "5.3": "SM", "5.4": "SM", "5.5": "SM"}
    segments = [
        {**segment(uid, 1, LIVER), "segmented_SeriesInstanceUID": f"9.{kind}"} for uid, kind in kinds.items()
    ]
    shared = {"PatientID": "P1", "StudyInstanceUID": "4.1", "instance_count": 1, "collection_id": "c"}
    series = [
        {
            **shared,
            "SeriesInstanceUID": uid,
            "crdc_series_uuid": uid,
            "Modality": "SEG",
            "SOPClassUID": SEG,
            "series_size_bytes": 500_000_000,
            "series_aws_url": f"file:///archive/{uid}/",
        }
        for uid in kinds
    ]
    series += [
        {
            **shared,
            "SeriesInstanceUID": f"9.{kind}",
            "crdc_series_uuid": kind,
            "Modality": kind,
            "SOPClassUID": "1",
            "series_size_bytes": 1,
            "series_aws_url": "",
        }
        for kind in ("CT", "SM")
    ]
    pq.write_table(schema.IDC_SEGMENTATIONS.from_rows(segments), tmp_path / "segmentations.parquet")
    pq.write_table(schema.IDC_SERIES.from_rows(series), tmp_path / "series_index.parquet")
    pq.write_table(schema.IDC_INSTANCES.empty(), tmp_path / "instances.parquet")
    return Sources(indexes=(tmp_path,), idc=False)


def chosen(text: str, sources: Sources) -> tuple[list[str], str]:
    found = select(parse_spec(text), sources, LocalEngine(threads=1))
    return found.series.column("seg_series_uid").to_pylist(), " ".join(found.warnings)


def test_slides_are_left_out_and_named(sources: Sources) -> None:
    uids, warnings = chosen("structures: [liver]", sources)
    assert uids == ["5.1", "5.2"]
    assert "3 series of slide microscopy (1.5 GB)" in warnings
    spec = parse_spec("structures: [liver]")
    planned = plan(select(spec, sources, LocalEngine(threads=1)), spec)
    assert any("3 series of slide microscopy" in warning for warning in planned.warnings)


def test_they_can_be_asked_for(sources: Sources) -> None:
    uids, warnings = chosen("structures: [liver]\nsource: {slides: true}", sources)
    assert (len(uids), "slide" in warnings) == (5, False)


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_is_drawn_from_what_can_be_read(sources: Sources, seed: int) -> None:
    uids, _ = chosen(f"structures: [liver]\nsample: {{series: 2, seed: {seed}}}", sources)
    assert sorted(uids) == ["5.1", "5.2"]


def test_nothing_but_slides_is_said(sources: Sources) -> None:
    with pytest.raises(SelectError, match="slide microscopy") as caught:
        chosen('structures: [liver]\nseries_uids: ["5.3", "5.4"]', sources)
    assert caught.value.code == "no-match"
