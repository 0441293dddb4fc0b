"""Counts on the real series index of IDC v25, as in IDC's own statistics."""

from __future__ import annotations

import importlib.metadata

import pyarrow.compute as pc
import pytest

from segtools.select import (
    LocalEngine,
    Sources,
    changes,
    load_spec,
    parse_spec,
    plan,
    select,
    viewer_links,
)

pytest.importorskip("idc_index_data")
pytestmark = pytest.mark.skipif(
    importlib.metadata.version("idc-index-data") != "25.0.5", reason="the counts are those of IDC v25"
)


def made(text: str):
    spec = parse_spec(text)
    return plan(select(spec, Sources()), spec)


def test_all_segmentations() -> None:
    found = made("")
    assert (found.series, found.patients, found.instances, found.idc_version) == (
        193_283,
        43_818,
        216_226,
        25,
    )
    assert len(found.collections) == 70
    assert round(found.bytes / 1e12, 2) == 19.49
    assert found.licenses == {
        "CC BY 4.0": 180_906,
        "CC BY 3.0": 11_808,
        "CC BY-NC 3.0": 442,
        "CC BY-NC 4.0": 127,
    }
    assert found.noncommercial == 569


def test_nlst() -> None:
    spec = load_spec("totalsegmentator-nlst")
    found = plan(select(spec, Sources()), spec)
    assert (found.series, found.patients, found.instances) == (126_051, 26_194, 126_051)
    assert round(found.bytes / 1e12, 3) == 14.187
    assert found.citations == {"10.5281/zenodo.8347011": 126_051}


def test_lidc_nodules() -> None:
    selection = select(load_spec("lidc-nodules"), Sources())
    assert selection.series.num_rows == 6_859
    assert pc.all(
        pc.match_substring_regex(selection.series["series_url"], r"^s3://idc-open-data/[0-9a-f-]{36}/$")
    ).as_py()


def test_twenty_are_always_the_same() -> None:
    spec = load_spec("totalsegmentator-20")
    one, two = (select(spec, Sources(), LocalEngine(threads=threads)).series for threads in (1, 2))
    assert one.equals(two)
    assert one.num_rows == 20
    assert 1e9 < pc.sum(one["size_bytes"]).as_py() < 4e9


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("analysis_results: bamf_aimi_annotations", 8_202),
        ("segmentation_types: LABELMAP", 129),
        ("licenses: [CC BY-NC 3.0, CC BY-NC 4.0]", 569),
        ("exclude: {analysis_results: [totalsegmentator_ct_segmentations]}", 193_283 - 126_051),
        ("idc_version: 24", 193_283 - 3_147 + 10),
    ],
)
def test_filters(text: str, series: int) -> None:
    assert select(parse_spec(text), Sources()).series.num_rows == series


def test_what_a_release_changed() -> None:
    found = changes(24, "latest", Sources(), LocalEngine())
    counts = {row["values"]: row["counts"] for row in pc.value_counts(found["change"]).to_pylist()}
    assert counts == {"added": 3_147, "retired": 10}


def test_viewer_links() -> None:
    links = viewer_links(load_spec("totalsegmentator-20"), Sources())
    assert all(url.startswith("https://viewer.imaging.") for url in links["viewer_url"].to_pylist())
