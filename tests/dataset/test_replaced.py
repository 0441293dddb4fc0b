"""Readers during commits: who has opened a state reads it to the end, who opens now reads the new one."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import timedelta

import duckdb
import numpy as np
import pytest

import segtools
from segtools.check import audit
from segtools.dataset import transaction
from segtools.dataset.pages import REPLACED_PAGES
from segtools.dataset.place import FolderPlace
from segtools.dataset.replaced import GRACE, arrange
from segtools.errors import DatasetError
from tests.factories.dataset import (
    commit,
    make_series,
    pages,
    read_rows,
    selection,
    tree,
    write_part,
)

ALL = [make_series(number) for number in (1, 2, 3)]


@pytest.fixture
def committed(layout):
    write_part(layout, ALL)
    commit(layout, ALL)
    return layout


def change(layout, number, **choices):
    """Commit all series anew, with other voxels and layers for each `number`."""
    write_part(layout, ALL, f"again-{number}", seed=number, layers=1 + number % 2)
    return commit(layout, ALL, grace=GRACE, **choices)


def rows_and_masks(dataset):
    rows = dataset.segments("volume_path IS NOT NULL").to_pylist()
    return rows, [dataset.mask(row) for row in rows]


def agrees(rows, masks):
    return all(int(mask.sum()) == row["voxel_count"] for row, mask in zip(rows, masks, strict=True))


def test_a_handle_reads_its_own_state_to_the_end(committed):
    """Whether it asked something before the commits or not."""
    with segtools.open(committed.root) as asked, segtools.open(committed.root) as silent:
        rows, masks = rows_and_masks(asked)
        for number in (1, 2, 3):
            change(committed, number)
            for handle in (asked, silent):
                now, then = rows_and_masks(handle), (rows, masks)
                assert now[0] == then[0]
                assert all(map(np.array_equal, now[1], then[1]))
        with segtools.open(committed.root) as new:
            own, other = rows_and_masks(new)
            assert agrees(own, other)
            assert own != rows


def test_a_state_that_comes_back_is_read_by_both(committed):
    """The pages of the first state are the usual ones again; handles of the second still read theirs."""
    manifest = json.loads(committed.manifest.read_bytes())
    with segtools.open(committed.root) as first:
        before = first.segments()
        change(committed, 1)
        with segtools.open(committed.root) as second:
            between = second.segments()
            write_part(committed, ALL, "back")
            assert commit(committed, ALL, grace=GRACE) == manifest
            assert first.segments().equals(before)
            assert second.segments().equals(between)
            assert not between.equals(before)


def test_a_glob_sees_the_last_commit_alone(committed):
    for number in (1, 2):
        change(committed, number)
    with segtools.open(committed.root) as dataset, duckdb.connect() as connection:
        for table in dataset.manifest["tables"]:
            glob = str(committed.table(table) / "*.parquet")
            (count,) = connection.execute("SELECT count(*) FROM read_parquet(?)", [glob]).fetchone()
            assert count == dataset.manifest["tables"][table]["rows"]
        assert audit(dataset).to_pylist() == []


@pytest.mark.slow
def test_many_opens_during_many_commits(committed):
    """Never a refusal, never rows of one state with masks or manifest of another."""
    stop, problems, opens = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                with segtools.open(committed.root) as dataset:
                    rows, masks = rows_and_masks(dataset)
                    is_whole = dataset.segments().num_rows == dataset.manifest["tables"]["segments"]["rows"]
                opens.append(is_whole and agrees(rows, masks))
            except Exception as error:  # noqa: BLE001 - told by the main thread
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 25):
            change(committed, number)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert problems == []
    assert len(opens) > 10
    assert all(opens)


def test_what_is_replaced_goes_after_the_grace(committed):
    before = tree(committed)
    change(committed, 1)
    assert list(committed.absolute(REPLACED_PAGES).rglob("*.parquet"))
    old_volumes = {name for name in before if name.startswith("volumes/")}
    assert old_volumes <= tree(committed).keys()
    commit(committed, ALL, grace=GRACE)  # nothing new: all stays
    assert old_volumes <= tree(committed).keys()
    commit(committed, ALL, grace=timedelta(0))  # nothing new, but the time is over
    assert not committed.absolute(REPLACED_PAGES).exists()
    assert not old_volumes & tree(committed).keys()
    assert not list(committed.replaced.glob("*"))
    with segtools.open(committed.root) as dataset:
        assert audit(dataset).to_pylist() == []


def test_a_handle_older_than_the_grace_says_so(committed):
    with segtools.open(committed.root) as dataset:
        row = dataset.segments("volume_path IS NOT NULL").to_pylist()[0]
        write_part(committed, ALL, "again", seed=4)
        commit(committed, ALL, grace=timedelta(0))
        with pytest.raises(DatasetError, match="Open the dataset again") as caught:
            dataset.segments()
        assert caught.value.code == "dataset-invalid"
        with pytest.raises(DatasetError, match="missing"):
            dataset.mask(row)


def test_pages_of_a_commit_that_was_cut_short_are_put_in_order(committed):
    """Killed after the pages were put in place, before dataset.json was: a glob would see both."""
    manifest = committed.manifest.read_bytes()
    first = tree(committed)
    change(committed, 1)
    committed.manifest.write_bytes(manifest)
    shutil.rmtree(committed.replaced)
    arrange(FolderPlace(committed), json.loads(manifest))
    assert {name: found for name, found in tree(committed).items() if name.startswith("tables/")} == {
        name: found for name, found in first.items() if name.startswith("tables/")
    }
    assert all(path.parent.parent == committed.columns.parent for path in pages(committed, "segments"))


def test_what_only_a_staged_part_names_stays(layout):
    """A part that is staged while others are committed keeps its volumes."""
    write_part(layout, ALL[:2])
    place = FolderPlace(layout)
    cohort = transaction.Cohort("", selection(ALL), idc_version=24)
    candidate = transaction.merge(layout, transaction.Base(), cohort)
    write_part(layout, ALL[2:], "late")
    late = {name for name in tree(layout) if f"/{ALL[2].seg_series_uid}/" in name}
    transaction.publish(place, candidate, timedelta(0))
    assert late
    assert late <= tree(layout).keys()
    assert layout.parts() == ["late"]
    commit(layout, ALL)
    with segtools.open(layout.root) as dataset:
        assert dataset.series().num_rows == 3
        assert audit(dataset).to_pylist() == []


def test_nothing_of_strangers_is_touched(committed):
    """Only pages, and files below volumes/ that look as ours do, are removed."""
    folder = read_rows(committed, "series", "local_path")[0][0]
    names = ("notes.txt", "tables/mine.parquet", "volumes/a_dseg.json", f"{folder}/notes.txt")
    for name in names:
        committed.absolute(name).write_text("mine")
    half_written = committed.absolute(folder) / ".tmp-of-a-killed-run"
    half_written.touch()
    change(committed, 1)
    commit(committed, ALL, grace=timedelta(0))
    assert [committed.absolute(name).read_text() for name in names] == ["mine"] * len(names)
    assert not half_written.exists()
