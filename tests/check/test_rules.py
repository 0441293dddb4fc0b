"""Each rule finds its oddity, and only it."""

from __future__ import annotations

from typing import Any

import pytest

import segtools
from segtools.check import RULES, check_catalog
from segtools.codes import CODES
from segtools.dataset.stage import stage_rows
from segtools.schema import FINDINGS, SEGMENTS
from segtools.write.rows import segment_row, series_row
from tests.factories.dataset import commit, make_series, make_volume


def row(number: int = 1, instance: int = 1, **changes: Any) -> dict[str, Any]:
    """A sound segment row: a liver of 1500 ml."""
    series = make_series(instance)
    volume = make_volume(series)
    made = segment_row(series, volume.segments[0], volume.header)
    made |= {
        "segment_number": number,
        "segment_id": f"{instance:08x}/{number}",
        "voxel_count": 1000,
        "volume_ml": 1500.0 + instance,
        "component_count": 1,
        "largest_component_fraction": 1.0,
        "touches_border": False,
        "centroid_r_mm": 0.0,
    }
    return made | changes


def kidney(side: str, r_mm: float, number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "structure": f"kidney_{side}",
        "label": None,
        "type_code": "64033007",
        "type_meaning": "Kidney",
        "laterality": side,
        "centroid_r_mm": r_mm,
        "number": number,
    }
    return row(**values | changes)


@pytest.fixture
def found(layout):
    """Findings about a dataset of the rows given, as (rule, segment number) pairs."""

    def check(*segments: dict[str, Any], **series_changes: Any):
        by_series: dict[str, list[dict[str, Any]]] = {}
        for segment in segments:
            by_series.setdefault(segment["seg_series_uid"], []).append(segment)
        chosen = [make_series(int(uid.split(".")[3]), **series_changes) for uid in by_series]
        rows = [
            series_row(s, segments=by_series[s.seg_series_uid], findings=[], files=[], settings_hash="s")
            for s in chosen
        ]
        stage_rows(layout, "p", {"series": rows, "segments": segments})
        commit(layout, chosen)
        with segtools.open(layout.root) as dataset:
            table = check_catalog(dataset)
        assert table.schema.equals(FINDINGS.arrow)
        return table.to_pylist()

    return check


def test_sound_rows_have_no_findings(found):
    assert found(*(row(instance=n) for n in range(1, 15))) == []


def test_volume_outlier(found):
    peers = [row(instance=n) for n in range(1, 12)]
    (finding,) = found(*peers, row(instance=12, volume_ml=15.0))
    assert (finding["rule"], finding["seg_series_uid"]) == ("volume-outlier", make_series(12).seg_series_uid)
    assert finding["message"] == "liver of 15.0 ml, where 1505.5 ml is usual in this dataset."


def test_few_peers_make_no_outlier(found):
    assert found(row(instance=1), row(instance=2), row(instance=3, volume_ml=0.1)) == []


def test_null_volumes_are_no_outliers(found):
    failed = row(instance=12, volume_ml=None, voxel_count=None, status="failed", error_code="truncated")
    assert found(*(row(instance=n) for n in range(1, 12)), failed) == []


def test_laterality_of_label_and_code(found):
    (finding,) = found(
        kidney("left", 0.0, 1, label="Right kidney"), kidney("left", 0.0, 2, label="Left kidney")
    )
    assert (finding["rule"], finding["segment_number"]) == ("laterality-conflict", 1)
    assert (finding["observed"], finding["expected"]) == ("Right kidney", "left")


@pytest.mark.parametrize("label", ["left and right", "leftover", "bright", "kidney", "L_KIDNEY"])
def test_words_that_only_look_like_a_side(found, label):
    assert found(kidney("right", 0.0, 1, label=label)) == []


def test_laterality_of_code_and_position(found):
    assert found(kidney("left", -50.0, 1), kidney("right", 50.0, 2)) == []


def test_swapped_sides(found):
    (finding,) = found(kidney("left", 50.0, 1), kidney("right", -50.0, 2))
    assert (finding["rule"], finding["segment_number"]) == ("laterality-conflict", 1)
    assert "100.0 mm to the right of the right one (segment 2)" in finding["message"]


def test_sides_of_different_instances_or_several_parts_are_not_compared(found):
    rows = [kidney("left", 50.0, 1), kidney("right", -50.0, 2, instance=2)]
    rows += [kidney("left", 50.0, n, instance=3, label=str(n)) for n in (1, 2)]
    rows += [kidney("right", -50.0, 3, instance=3)]
    assert found(*rows) == []


def test_duplicate_structure(found):
    (finding,) = found(row(1), row(2), row(3, label="Liver, second reader"), row(4, tracking_uid="1.2"))
    assert (finding["rule"], finding["segment_number"]) == ("duplicate-structure", 2)


def test_border_is_one_finding_per_instance(found):
    (finding,) = found(
        row(1, label="a", touches_border=True), row(2, label="b"), row(3, label="c", touches_border=True)
    )
    assert (finding["rule"], finding["scope"], finding["observed"]) == ("touches-border", "instance", "1 3")


def test_fragmented(found):
    (finding,) = found(
        row(1, label="a", component_count=40, largest_component_fraction=0.25),
        row(2, label="b", component_count=40, largest_component_fraction=0.75),
        row(3, label="c", component_count=3, largest_component_fraction=0.4),
    )
    assert (finding["rule"], finding["segment_number"]) == ("fragmented", 1)
    assert finding["message"] == "40 components, the largest has 25 % of the voxels."


@pytest.mark.parametrize("license", ["CC BY-NC 4.0", "CC BY-NC 3.0", "non-commercial"])
def test_noncommercial_license(found, license):
    (finding,) = found(row(1), license=license)
    assert (finding["rule"], finding["scope"]) == ("noncommercial-license", "series")


def test_a_license_that_only_has_the_letters(found):
    assert found(row(1), license="Sync Encore") == []


def test_code_with_two_meanings(found):
    (finding,) = found(
        row(1), row(1, instance=2, type_meaning="Lever"), row(1, instance=3, type_meaning="liver ")
    )
    assert (finding["rule"], finding["scope"]) == ("code-meaning-conflict", "dataset")
    assert "Lever" in finding["observed"]


def test_every_rule_is_declared_and_runs_on_an_empty_dataset(layout):
    assert all(CODES[rule.code].stage == "check" for rule in RULES)
    commit(layout, [])
    with segtools.open(layout.root) as dataset:
        assert check_catalog(dataset).num_rows == 0


def test_ids_are_stable(found, layout):
    first = found(kidney("left", 50.0, 1), kidney("right", -50.0, 2))
    with segtools.open(layout.root) as dataset:
        assert check_catalog(dataset).to_pylist() == first
    assert SEGMENTS.key == ("segment_id",)


def test_equal_volumes_say_nothing_of_the_others(found):
    """Half of the cohort has one size to the last bit: no spread to compare with."""
    peers = [row(instance=n, volume_ml=1.5) for n in range(1, 13)]
    others = [row(instance=n, volume_ml=0.3 * n) for n in range(13, 23)]
    assert found(*peers, *others) == []


def test_volumes_that_differ_by_rounding_only_are_no_measure_either(found):
    """Sizes equal but for the last digits: what is 40 % larger is no outlier, what is ten times larger is."""
    peers = [row(instance=n, volume_ml=1500.0 + 1e-4 * n) for n in range(1, 13)]
    (finding,) = found(*peers, row(instance=13, volume_ml=2100.0), row(instance=14, volume_ml=15_000.0))
    assert finding["seg_series_uid"] == make_series(14).seg_series_uid
