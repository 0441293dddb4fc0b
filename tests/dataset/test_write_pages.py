"""Pages: cut by the series alone, and written anew only where something changed."""

from __future__ import annotations

import json

import pytest

import segtools
from segtools.check import audit
from segtools.dataset import transaction, write_pages
from segtools.dataset.layout import Layout
from segtools.dataset.stage import next_run, part_id
from segtools.dataset.write_pages import starts_page
from segtools.schema import DATASET_TABLES, SEGMENTS, SERIES
from tests.factories.dataset import (
    commit,
    make_series,
    pages,
    read_rows,
    tree,
    write_part,
)

MANY = [make_series(number, patient_id=f"P{number % 7}") for number in range(40)]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr(write_pages, "PAGE_ROWS", 24)  # six series of three segments, on average


@pytest.fixture
def committed(layout):
    write_part(layout, MANY)
    commit(layout, MANY)
    return layout


def names(layout):
    return {table.name: [path.name for path in pages(layout, table.name)] for table in DATASET_TABLES}


def dataset_of(root, *batches):
    """A dataset that grew by one commit per batch."""
    layout = Layout(root / "abdomen")
    transaction.prepare(layout)
    known = []
    for batch in batches:
        write_part(layout, batch, part_id(next_run(layout), "0"))
        known += batch
        commit(layout, known)
    return layout


def test_there_are_several_and_they_are_in_order(committed):
    assert 3 < len(pages(committed, "series")) < 20
    for table in (SERIES, SEGMENTS):
        keys = read_rows(committed, table.name, *table.order)
        assert keys == sorted(keys)
    with segtools.open(committed.root) as dataset:
        assert dataset.series().num_rows == 40
        assert dataset.segments().num_rows == 120
        assert audit(dataset).to_pylist() == []


def test_history_leaves_no_trace(tmp_path):
    """Whatever the order of the commits was, the same series give the same pages."""
    at_once = dataset_of(tmp_path / "a", MANY)
    halves = dataset_of(tmp_path / "b", MANY[20:], MANY[:20])
    singly = dataset_of(tmp_path / "c", MANY[1::2], MANY[:10:2], MANY[10::2])
    assert tree(at_once) == tree(halves) == tree(singly)


def test_a_commit_writes_only_pages_that_changed(committed):
    before = names(committed)
    write_part(committed, [MANY[5]], "again", seed=9)
    commit(committed, MANY)
    after = names(committed)
    for table in ("series", "segments", "files"):
        assert len(set(after[table]) - set(before[table])) == 1
        assert len(after[table]) == len(before[table])
    assert after["findings"] == before["findings"]


def test_a_commit_opens_no_segments_of_other_pages(committed, monkeypatch):
    """What a commit reads of the widest table grows with what changed, not with what is there."""
    opened = []
    real = write_pages.gather

    def counting(table, paths, wanted):
        opened.extend({one.source for one in wanted} if table is SEGMENTS else ())
        return real(table, paths, wanted)

    monkeypatch.setattr(write_pages, "gather", counting)
    write_part(committed, [MANY[5]], "again", seed=9)
    commit(committed, MANY)
    assert len(opened) <= 2  # the part, and the page it was in if that has other series


def test_a_new_series_may_split_a_page_and_a_retired_one_keeps_its_place(committed, tmp_path):
    write_part(committed, [make_series(number) for number in range(100, 110)], "more")
    more = [*MANY, *(make_series(number) for number in range(100, 110))]
    commit(committed, more)
    commit(committed, more[:-1])
    with segtools.open(committed.root) as dataset:
        assert dataset.series("status = 'retired'").num_rows == 1
        assert dataset.segments().num_rows == 3 * 49
        assert audit(dataset).to_pylist() == []


def test_a_release_states_its_number_in_every_page(committed):
    newer = [make_series(number, patient_id=f"P{number % 7}", idc_version=25) for number in range(40)]
    commit(committed, newer, idc_version=25)
    assert set(read_rows(committed, "segments", "idc_version")) == {(25,)}


def test_where_a_page_starts_depends_on_one_series(monkeypatch):
    monkeypatch.setattr(write_pages, "PAGE_ROWS", 1 << 16)
    assert not starts_page("1.2.826.1.2", 46_207)
    assert starts_page("1.2.826.1.2", 46_208)
    uids = [f"1.2.{number}" for number in range(20_000)]
    share = sum(starts_page(uid, 655) for uid in uids) / len(uids)
    assert 0.008 < share < 0.012  # 655 / 65,536


def test_an_emptied_cohort_is_one_page(committed):
    commit(committed, [])
    manifest = json.loads(committed.manifest.read_bytes())
    assert manifest["tables"]["segments"]["rows"] == 0
    assert manifest["tables"]["series"]["rows"] == 40
    with segtools.open(committed.root) as dataset:
        assert dataset.segments().num_rows == 0
        assert audit(dataset).to_pylist() == []
