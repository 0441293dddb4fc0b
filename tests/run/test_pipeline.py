"""Download and processing side by side, within disk and memory, with the real s5cmd."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from segtools.errors import EnvironmentProblem
from segtools.objectstore.s5cmd import FetchOptions
from segtools.run.batches import Batch, cut
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from segtools.run.pipeline import Pipeline, PipelineOptions
from segtools.run.scratch import Canceled
from tests.factories.faulty_s3 import FaultyS3
from tests.run.pipeline_work import Observe

SIZE = 20_000


@pytest.fixture
def s3():
    objects = {f"bucket/u{n:02d}/x.dcm": f"{n:04d}".encode() * (SIZE // 4) for n in range(24)}
    with FaultyS3(objects) as server:
        yield server


@pytest.fixture
def table(s3, series):
    return [series(n, SIZE, f"s3://bucket/u{n:02d}/") for n in range(24)]


@pytest.fixture
def observe(tmp_path):
    for name in ("log", "scratch"):
        (tmp_path / name).mkdir()
    return Observe(tmp_path / "log", tmp_path / "scratch")


def bytes_of_files(fetched):
    return sum(path.stat().st_size for path in fetched.files)


@pytest.fixture
def pipeline(s3, observe):
    def make(process=observe, **changes):
        options = PipelineOptions(observe.scratch, disk_budget_bytes=6 * SIZE, chunk_bytes=2 * SIZE)
        fetch = FetchOptions(endpoint=s3.url, retries=1, backoff_s=0.01, stall_timeout_s=20)
        return Pipeline(process, fetch, replace(options, **changes), bytes_of_files)

    return make


def _nothing_left(folder):
    return [path.name for path in folder.iterdir() if path.name not in (".lock", ".queue")] == []


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_every_series_is_processed_within_the_disk_budget(kind, table, observe, pipeline):
    batches = cut(table, batch_count=8)
    done = []
    for completed in run_batches(pipeline(), batches, ExecutorOptions(kind, workers=2)):
        assert completed.error is None
        done += [one.result for one in completed.result]
    assert sorted(done) == sorted(one.seg_series_uid for one in table)
    notes = observe.notes()
    assert [note["code"] for note in notes] == [None] * 24
    assert all(note["bytes"] == [f"{int(note['uid'].split('.')[2]):04d}"] for note in notes)
    assert 0 < max(note["disk"] for note in notes) <= 6 * SIZE
    assert _nothing_left(observe.scratch)


def test_results_are_in_order_with_their_times(table, pipeline, observe):
    processed = pipeline(replace(observe, seconds=0.01))(Batch(tuple(table)))
    assert [one.result for one in processed] == [one.seg_series_uid for one in table]
    assert all(one.seconds_process >= 0.01 for one in processed)
    assert all(one.seconds_fetch > 0 for one in processed)


def test_the_next_download_runs_while_this_one_is_processed(s3, table, pipeline, observe):
    process = replace(observe, seconds=0.2)
    pipeline(process, disk_budget_bytes=100 * SIZE)(Batch(tuple(table[:4])))
    uids = [note["uid"] for note in observe.notes()]
    assert len(uids) == 4
    seen: list[int] = []

    def count(fetched):
        time.sleep(0.5)
        seen.append(sum(method == "GET" and path.endswith(".dcm") for method, path in s3.requests))

    s3.requests.clear()
    pipeline(count, chunk_bytes=1)(Batch(tuple(table[:4])))
    assert seen == [2, 3, 4, 4]  # while series n is processed, n + 1 arrives, and no more


def test_a_series_larger_than_the_budget_costs_only_itself(s3, series, table, pipeline, observe):
    s3.objects["bucket/huge/x.dcm"] = b"9999" * 50_000
    huge = series(99, 200_000, "s3://bucket/huge/")
    processed = pipeline()(Batch((table[0], huge, table[1])))
    assert [one.result for one in processed] == ["1.2.0", "1.2.99", "1.2.1"]
    codes = {note["uid"]: note["code"] for note in observe.notes()}
    assert codes == {"1.2.0": None, "1.2.99": "exceeds-disk-budget", "1.2.1": None}
    assert s3.gets("bucket/huge/x.dcm") == 0


def test_a_series_as_large_as_the_budget_passes_among_small_ones(s3, series, table, pipeline, observe):
    s3.objects["bucket/big/x.dcm"] = b"9999" * (6 * SIZE // 4)
    big = series(99, 6 * SIZE, "s3://bucket/big/")
    batches = cut([*table[:9], big, *table[9:]], batch_count=5)
    results = list(run_batches(pipeline(), batches, ExecutorOptions("threads", workers=3)))
    assert [one.error for one in results] == [None] * 5
    notes = observe.notes()
    assert len(notes) == 25
    assert max(note["disk"] for note in notes) <= 6 * SIZE


def test_what_cannot_be_fetched_is_processed_as_an_error(s3, table, pipeline, observe):
    s3.faults["bucket/u01/x.dcm"] = ["403"] * 99
    del s3.objects["bucket/u02/x.dcm"]
    pipeline()(Batch(tuple(table[:4])))
    codes = {note["uid"]: note["code"] for note in observe.notes()}
    assert codes == {"1.2.0": None, "1.2.1": "access-denied", "1.2.2": "object-missing", "1.2.3": None}
    assert _nothing_left(observe.scratch)


def test_files_of_a_local_archive_are_neither_copied_nor_deleted(series, pipeline, observe, tmp_path):
    archive = tmp_path / "archive"
    archive.mkdir()
    for n in range(5):
        (archive / f"{n}.dcm").write_bytes(b"local" * 100_000)  # five times the disk budget
    table = [series(n, 500_000, (archive / f"{n}.dcm").as_uri()) for n in range(5)]
    pipeline()(Batch(tuple(table)))
    notes = observe.notes()
    assert [(note["code"], note["disk"]) for note in notes] == [(None, 0)] * 5
    assert len(list(archive.iterdir())) == 5


def test_the_memory_budget_bounds_what_is_processed_at_once(table, pipeline, observe):
    limits = {"decoders": 4, "disk_budget_bytes": 100 * SIZE, "chunk_bytes": 100 * SIZE}

    def most_at_once(budget):
        for path in observe.log.iterdir():
            path.unlink()
        pipeline(replace(observe, seconds=0.05), memory_budget_bytes=budget, **limits)(Batch(tuple(table)))
        spans = [note["span"] for note in observe.notes()]
        return max(sum(a[0] <= b[0] < a[1] for a in spans) for b in spans)

    assert most_at_once(2 * SIZE) == 2
    assert most_at_once(SIZE // 2) == 1  # larger than the whole budget: alone, but done
    assert most_at_once(None) > 2


def test_a_killed_worker_leaves_no_raw_files(table, pipeline, observe):
    work = pipeline(replace(observe, kill_once="1.2.3"))
    results = list(run_batches(work, cut(table[:8], batch_count=8), ExecutorOptions("processes", workers=1)))
    assert [one.error for one in results] == [None, None]
    done = sorted(one.result for part in results for one in part.result)
    assert done == [f"1.2.{n}" for n in range(8)]
    assert _nothing_left(observe.scratch)
    assert max(note["disk"] for note in observe.notes()) <= 6 * SIZE


def test_a_defect_while_processing_ends_the_batch_and_cleans_up(table, pipeline, observe):
    with pytest.raises(ZeroDivisionError):
        pipeline(replace(observe, bug="1.2.5"))(Batch(tuple(table)))
    assert _nothing_left(observe.scratch)


def test_the_endpoint_goes_away(s3, table, pipeline, observe):
    work = pipeline()
    s3.server.shutdown()
    s3.server.server_close()
    with pytest.raises(EnvironmentProblem) as caught:
        work(Batch(tuple(table)))
    assert caught.value.code == "network-unavailable"
    assert _nothing_left(observe.scratch)


def test_cancel_ends_a_running_download(s3, table, pipeline, observe):
    s3.faults["bucket/u05/x.dcm"] = ["stall"] * 9
    work = pipeline()
    threading.Timer(0.5, work.cancel).start()
    start = time.monotonic()
    with pytest.raises(Canceled):
        work(Batch(tuple(table)))
    assert time.monotonic() - start < 15
    assert _nothing_left(observe.scratch)
    with pytest.raises(Canceled):
        work(Batch(tuple(table[:1])))
