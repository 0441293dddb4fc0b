"""Shards: divided the same way everywhere, nothing lost, nothing twice, and only under the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.dataset.home import View
from segtools.dataset.layout import Layout
from segtools.dataset.place import FolderPlace
from segtools.errors import DatasetError
from segtools.run import shards
from segtools.run.ledger import Ledger, Outcome
from segtools.series import RemoteObject, SelectedSeries


def made(number: int, size: int) -> SelectedSeries:
    url = f"s3://bucket/{number}/"
    objects = (RemoteObject(f"{url}a.dcm", size, "0" * 32, f"1.2.{number}.1"),) if number % 2 else ()
    return SelectedSeries(
        "collection", f"P{number}", "1.2", f"1.2.{number}", f"uuid-{number}", url, size, 1, objects=objects
    )


def recorded(series: SelectedSeries) -> Outcome:
    return Outcome(series.seg_series_uid, series.crdc_series_uuid, "hash", "ok")


@given(st.lists(st.integers(0, 10**9), max_size=60), st.integers(1, 40))
def test_divide(sizes: list[int], count: int) -> None:
    series = [made(number, size) for number, size in enumerate(sizes)]
    lists = shards.divide(series, count)
    assert len(lists) == min(count, len(series))
    assert all(lists)
    assert sorted(one.seg_series_uid for items in lists for one in items) == sorted(
        one.seg_series_uid for one in series
    )
    for items in lists:
        assert items == [one for one in series if one in items]
    loads = [sum(one.size_bytes for one in items) for items in lists]
    if loads:
        assert max(loads) - min(loads) <= max(sizes)
    again = shards.divide(series[::-1], count)
    assert [set(items) for items in again] == [set(items) for items in lists]


def view_of(folder: Path) -> View:
    return View(str(folder), FolderPlace(Layout(folder)))


def test_a_plan_is_read_back_whole(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    series = [made(number, 1000 - number) for number in range(7)]
    names = shards.plan(view, series, 3, "abcd0123")
    back = [one for name in names for one in shards.planned(view, name)]
    assert sorted(back, key=lambda one: one.seg_series_uid) == series
    assert {one.seg_series_uid: one.objects for one in back} == {
        one.seg_series_uid: one.objects for one in series
    }


def test_what_any_attempt_recorded_is_not_repeated(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    layout = view.layout
    first, second = shards.plan(view, [made(number, 10) for number in range(6)], 2, "run")
    mine = shards.planned(view, first)
    for attempt, one in enumerate(mine[:2], start=1):
        with Ledger(layout.ledger, f"shard-{first}-{attempt:02d}") as ledger:
            ledger.append([recorded(one)])
    with Ledger(layout.ledger, "shard-earlier-001-01") as ledger:
        ledger.append([recorded(mine[2])])  # of another run: it counts for nothing here
    assert shards.remaining(view, first) == mine[2:]
    assert len(shards.remaining(view, second)) == 3
    assert shards.recorded(view, "run") == 2
    shards.clear(view)
    assert not list(layout.shards.glob("*"))
    assert [path.name for path in sorted(layout.ledger.glob("shard-*"))] == []


def test_a_plan_that_is_not_there_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        shards.planned(view_of(tmp_path), "run-001")
    assert caught.value.code == "dataset-invalid"
    assert "same path on every machine" in str(caught.value)
