"""Runs one after the other on one dataset: only what is new, and never two at a time."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

import segtools
from segtools.dataset.layout import Layout
from segtools.dataset.lock import holder
from segtools.decode import DecodeOptions
from segtools.errors import DatasetError
from segtools.run.ledger import latest
from tests.run.whole import (
    COHORT,
    KILLED,
    complete,
    content,
    ended,
    in_child,
    make_place,
    status_of,
)


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, 4)


def todo(run):
    """SeriesInstanceUIDs that a run would work on."""
    with run:
        return {one.seg_series_uid for one in run.plan()}


def series(dataset, *columns):
    with segtools.open(dataset) as opened:
        return {
            row.pop("seg_series_uid"): row
            for row in opened.series(columns=["seg_series_uid", *columns]).to_pylist()
        }


def stamps(dataset):
    return {path: path.stat().st_mtime_ns for path in (dataset / "volumes").rglob("*.nii.gz")}


def test_nothing_new_does_nothing(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset))
    before, times = content(dataset), stamps(dataset)
    run = place.run(dataset)
    complete(run)
    assert run.processed == 0
    assert content(dataset) == before
    assert stamps(dataset) == times
    assert not Layout(dataset).staging.exists()


def test_new_and_changed_series_only(place, tmp_path):
    """What a new release adds or revises is done; the rest stays, and the result is as from scratch."""
    dataset = tmp_path / "dataset"
    complete(place.run(dataset))
    place.series(1, seed=1)
    place.series(7)
    place.reindex()
    assert todo(place.run(dataset)) == {"1.2.3.1", "1.2.3.7"}
    complete(place.run(dataset))
    complete(place.run(tmp_path / "fresh"))
    assert content(dataset) == content(tmp_path / "fresh")


def test_a_dropped_series_is_a_tombstone(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset))
    path = place.series(0)
    path.unlink()
    place.reindex()
    run = place.run(dataset)
    run.select()
    run.selection.idc_version  # noqa: B018 - an own archive has none; a release is stated below
    object.__setattr__(run.selection, "idc_version", 25)
    complete_without_selecting(run)
    row = series(dataset, "status", "retired_idc_version", "local_path")["1.2.3.0"]
    assert row == {"status": "retired", "retired_idc_version": 25, "local_path": None}
    with segtools.open(dataset) as opened:
        assert opened.segments("seg_series_uid = '1.2.3.0'").num_rows == 0
    assert not list((dataset / "volumes").rglob("1.2.3.0/*"))
    place.series(0)  # and back again: it is new
    place.reindex()
    assert todo(place.run(dataset)) == {"1.2.3.0"}


def complete_without_selecting(run):
    with run:
        run.process(run.plan())
        run.commit()


def test_settings_that_matter_decode_again(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset))
    everything = {f"1.2.3.{number}" for number in range(4)}
    assert todo(place.run(dataset, decode=DecodeOptions(geometry="strict"))) == everything
    assert todo(place.run(dataset, compression_level=2)) == everything
    assert todo(place.run(dataset, cohort=COHORT + "output: {volumes: none}\n")) == everything
    complete(place.run(dataset, compression_level=2))
    complete(place.run(tmp_path / "fresh", compression_level=2))
    assert content(dataset) == content(tmp_path / "fresh")


@pytest.mark.parametrize("addition", ["description: other words\n", "output: {labels: {liver: 7}}\n"])
def test_words_and_labels_do_not_decode_again(place, tmp_path, addition):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset))
    times = stamps(dataset)
    run = place.run(dataset, cohort=COHORT + addition)
    complete(run)
    assert run.processed == 0
    assert stamps(dataset) == times
    assert (dataset / "cohort.yaml").read_text() == COHORT + addition
    with segtools.open(dataset) as opened:
        labels = set(opened.segments("structure = 'liver'", ["label_index"])["label_index"].to_pylist())
    assert labels == {7 if "labels" in addition else 1}


def test_a_cohort_that_shrinks_and_grows(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset, cohort=COHORT + "patients: [P0]\n"))
    assert set(series(dataset)) == {"1.2.3.0", "1.2.3.3"}
    complete(place.run(dataset))
    complete(place.run(tmp_path / "fresh"))
    assert content(dataset) == content(tmp_path / "fresh")


def test_volumes_of_a_killed_run_that_nobody_wants_go(place, tmp_path):
    dataset = tmp_path / "dataset"
    with place.run(dataset) as killed:
        killed.process(killed.plan())
    for part in Layout(dataset).staging.glob("*.parquet"):
        part.unlink()  # as if it had not come to that
    complete(place.run(dataset, cohort=COHORT + "patients: [P1]\n"))
    complete(place.run(tmp_path / "fresh", cohort=COHORT + "patients: [P1]\n"))
    assert content(dataset) == content(tmp_path / "fresh")


def test_failures_are_tried_again_where_that_may_help(place, tmp_path):
    """Failed transfers by every run; failed decoding only if its code is named."""
    dataset = tmp_path / "dataset"
    place.file(0).rename(tmp_path / "away")
    complete(place.run(dataset))
    codes = {uid: row["error_code"] for uid, row in series(dataset, "error_code").items()}
    assert codes["1.2.3.3"] == "truncated"
    assert codes["1.2.3.0"] not in (None, "truncated")
    (tmp_path / "away").rename(place.file(0))
    assert todo(place.run(dataset)) == {"1.2.3.0"}
    assert todo(place.run(dataset, retry=("truncated",))) == {"1.2.3.0", "1.2.3.3"}
    complete(place.run(dataset))
    complete(place.run(tmp_path / "fresh"))
    assert content(dataset) == content(tmp_path / "fresh")


def test_settings_changed_before_the_commit(place, tmp_path):
    """What an abandoned run staged under other settings does not count, whatever the clock said then."""
    dataset = tmp_path / "dataset"
    with place.run(dataset) as abandoned:
        abandoned.process(abandoned.plan())
    for path in Layout(dataset).staging.glob("*"):
        os.utime(path, (4e9, 4e9))
    complete(place.run(dataset, compression_level=2))
    complete(place.run(tmp_path / "fresh", compression_level=2))
    assert content(dataset) == content(tmp_path / "fresh")


def test_an_abandoned_run_is_continued(place, tmp_path):
    dataset = tmp_path / "dataset"
    with place.run(dataset) as abandoned:
        abandoned.process(abandoned.plan()[:2])
    status = status_of(dataset)
    assert (status.state, status.staged_series, status.pending_series) == ("interrupted", 2, 2)
    run = place.run(dataset)
    complete(run)
    assert run.processed == 2
    status = status_of(dataset)
    assert (status.state, status.staged_series, status.pending_series) == ("idle", 0, None)
    assert status.failures == {"truncated": 1}
    assert status.bytes_in == sum(one.bytes_in for one in latest(Layout(dataset).ledger).values()) > 0


def test_a_second_run_is_refused_and_disturbs_nothing(place, tmp_path):
    dataset = tmp_path / "dataset"
    with place.run(dataset) as first:
        half_written = Layout(dataset).staging / ".tmp-of-the-first"
        half_written.touch()
        with pytest.raises(DatasetError, match=f"pid {os.getpid()}") as caught, place.run(dataset):
            pass
        assert caught.value.code == "dataset-locked"
        assert caught.value.attrs["holder"]["pid"] == os.getpid()
        assert half_written.exists()
        assert status_of(dataset).state == "running"
        first.process(first.plan())
        status = status_of(dataset)
        assert (status.state, status.staged_series, status.pending_series) == ("running", 4, 0)
        assert status.rate_bytes_s > 0
        assert status.eta_s == 0
        first.commit()
    assert status_of(dataset).holder is None


def test_a_killed_holder_blocks_nobody(place, tmp_path):
    dataset, log = tmp_path / "dataset", tmp_path / "log"

    def hold():
        with place.run(dataset):
            print("held", flush=True)
            time.sleep(600)

    child = in_child(hold, log)
    while not (log.exists() and "held" in log.read_text()):
        time.sleep(0.01)
    assert holder(Layout(dataset))["pid"] == child
    with pytest.raises(DatasetError, match=f"pid {child}"), place.run(dataset):
        pass
    os.kill(child, signal.SIGKILL)
    assert ended(child) == KILLED
    assert json.loads(Layout(dataset).lock.read_text())["pid"] == child
    assert holder(Layout(dataset)) is None
    complete(place.run(dataset))
    assert not Layout(dataset).lock.exists()
