"""Cohort-wide labels are only ever added to."""

from __future__ import annotations

import pytest

import segtools
from segtools.dataset import labels
from segtools.dataset.labels import changes_rows, extended
from tests.dataset.test_write_pages import MANY
from tests.factories.dataset import commit, make_series, read_rows, write_part

ALL = [make_series(number) for number in (1, 2)]
FIRST = {"kidney_left": 1, "kidney_right": 2, "liver": 3}


def stated(layout):
    return dict(read_rows(layout, "segments", "structure", "label_index"))


def test_they_are_numbered_by_name_and_readable(layout):
    write_part(layout, ALL)
    assert commit(layout, ALL)["labels"] == FIRST
    with segtools.open(layout.root) as dataset:
        assert dataset.labels == FIRST == stated(layout)


def test_a_structure_that_vanished_keeps_its_number(layout):
    write_part(layout, ALL)
    commit(layout, ALL)
    assert commit(layout, [])["labels"] == FIRST
    write_part(layout, ALL, "back")
    commit(layout, ALL)
    assert stated(layout) == FIRST


@pytest.mark.parametrize("given", [{"liver": 7}, {"liver": 3, "spleen": 4}, {}])
def test_those_of_the_cohort_file_count_as_they_are(layout, given):
    write_part(layout, ALL)
    commit(layout, ALL)
    assert commit(layout, ALL, label_index=given)["labels"] == given
    assert stated(layout) == {name: given.get(name) for name in FIRST}
    again = commit(layout, ALL)["labels"]
    assert again.items() >= given.items()
    assert stated(layout) == {name: again[name] for name in FIRST}
    assert len(set(again.values())) == len(again)


def test_new_structures_get_the_next_numbers():
    grown = extended({"prostate": 1}, ["prostate", "bladder", "aorta"])
    assert grown == {"prostate": 1, "aorta": 2, "bladder": 3}
    assert extended({"a": 7, "b": 2}, ["c"])["c"] == 8


def test_rows_change_only_where_a_number_does():
    auto = {"label_index": None, "labels": FIRST}
    named = {"label_index": {"liver": 1}, "labels": {"liver": 1}}
    assert not changes_rows(auto, FIRST | {"spleen": 4})
    assert changes_rows(auto, {"liver": 1})
    assert changes_rows(named, {"liver": 1, "spleen": 2})  # rows of spleen may be there without a label
    assert not changes_rows(named, {"liver": 1})
    assert not changes_rows(None, FIRST)
    assert labels.covers_all(auto)
    assert not labels.covers_all(named)


def test_labels_of_untouched_pages_are_those_of_the_manifest(layout, monkeypatch):
    monkeypatch.setattr("segtools.dataset.write_pages.PAGE_ROWS", 24)
    write_part(layout, MANY[:30])
    commit(layout, MANY[:30])
    write_part(layout, MANY[30:], "more")
    commit(layout, MANY)
    assert stated(layout) == FIRST
