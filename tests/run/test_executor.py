"""Batches over threads and processes that get killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from segtools.errors import EnvironmentProblem, RunError
from segtools.run.batches import cut
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from tests.run.functions import Unpicklable, Work

PROCESSES = ExecutorOptions("processes", workers=2)


def _run(work, batches, options):
    """Results and errors by UID; an error of a whole batch is fatal here."""
    done: list[str] = []
    errors = {}
    for completed in run_batches(work, batches, options):
        if completed.error is None:
            done += completed.result
        else:
            assert len(completed.batch) == 1
            errors[completed.batch.series[0].seg_series_uid] = completed.error
    return done, errors


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_every_series_once(kind, series, tmp_path):
    work = Work(tmp_path)
    done, errors = _run(work, cut(map(series, range(50)), batch_count=4), ExecutorOptions(kind, workers=3))
    assert Counter(done) == Counter(f"1.2.{n}" for n in range(50))
    assert errors == {}
    assert set(work.executions().values()) == {1}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_no_batches(kind, tmp_path):
    assert list(run_batches(Work(tmp_path), [], ExecutorOptions(kind))) == []


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_batches_are_taken_as_workers_become_free(kind, series, tmp_path):
    taken = []

    def source():
        for batch in cut(map(series, range(100)), batch_count=1):
            taken.append(batch)
            yield batch

    results = run_batches(Work(tmp_path), source(), ExecutorOptions(kind, workers=2))
    for number, _ in enumerate(results, 1):
        assert len(taken) <= number + 10  # two in flight, four times as many to see the end coming
    assert len(taken) == 100


@pytest.mark.parametrize("sizes", [[130_000_000] * 20, [1_000_000] * 130 + [130_000_000] * 10])
def test_the_last_batches_are_shared_out(sizes, series):
    table = [series(n, size) for n, size in enumerate(sizes)]
    results = run_batches(_nothing, cut(table), ExecutorOptions("threads", workers=2))
    batches = sorted((completed.batch for completed in results), key=lambda b: table.index(b.series[0]))
    assert [one for batch in batches for one in batch.series] == table
    left = sum(batch.cost_bytes for batch in batches)
    busy = [0, 0]
    for batch in batches:
        assert len(batch) == 1 or batch.cost_bytes <= max(100_000_000, left / 2 / 2)
        left -= batch.cost_bytes
        busy[busy.index(min(busy))] += batch.cost_bytes
    assert max(busy) - min(busy) <= max(batches[-1].cost_bytes, batches[-2].cost_bytes)
    assert len(batches) <= 20


def test_small_batches_and_those_of_one_worker_stay_whole(series):
    small, large = [series(n) for n in range(20)], [series(n, 130_000_000) for n in range(15)]
    for table, workers in ((small, 2), (large, 1)):
        options = ExecutorOptions("threads", workers)
        (completed,) = run_batches(_nothing, cut(table), options)
        assert completed.batch.series == tuple(table)


def _nothing(batch):
    return []


def test_a_poison_series_is_found_and_the_rest_finishes(series, tmp_path):
    work = Work(tmp_path, poison="1.2.37")
    done, errors = _run(work, cut(map(series, range(64)), batch_count=16), PROCESSES)
    assert Counter(done) == Counter(f"1.2.{n}" for n in range(64) if n != 37)
    assert [error.code for error in errors.values()] == ["worker-lost"]
    assert errors["1.2.37"].attrs["seg_series_uid"] == "1.2.37"
    assert "-9" in errors["1.2.37"].message
    executions = work.executions()
    assert executions["1.2.37"] == 1 + 4 + 1  # in 16, 8, 4, 2, 1 and once more
    assert all(executions[f"1.2.{n}"] == 1 for n in range(64) if not 32 <= n < 48)  # others' work is kept


def test_several_poisons_in_one_batch(series, tmp_path):
    work = Work(tmp_path, poison="1.2.3", bug="1.2.5")
    done, errors = _run(work, cut(map(series, range(8)), batch_count=8), PROCESSES)
    assert sorted(done) == [f"1.2.{n}" for n in (0, 1, 2, 4, 6, 7)]
    assert {uid: error.code for uid, error in errors.items()} == {"1.2.3": "worker-lost", "1.2.5": "internal"}


def test_a_worker_that_died_of_something_else_blames_nobody(series, tmp_path):
    done, errors = _run(Work(tmp_path, kill_once="1.2.0"), cut([series(0)]), PROCESSES)
    assert (done, errors) == (["1.2.0"], {})


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_a_defect_costs_its_own_series_and_keeps_its_traceback(kind, series, tmp_path):
    work = Work(tmp_path, bug="1.2.2")
    done, errors = _run(work, cut(map(series, range(4)), batch_count=4), ExecutorOptions(kind))
    assert sorted(done) == ["1.2.0", "1.2.1", "1.2.3"]
    assert errors["1.2.2"].code == "internal"
    assert "ZeroDivisionError: a defect" in errors["1.2.2"].attrs["traceback"]


def test_an_error_of_ours_passes_as_it_is(series, tmp_path):
    done, errors = _run(Work(tmp_path, own="1.2.1"), cut(map(series, range(3)), batch_count=3), PROCESSES)
    assert sorted(done) == ["1.2.0", "1.2.2"]
    assert errors["1.2.1"].code == "no-match"


def test_the_environment_is_nobodys_fault(series, tmp_path):
    work = Work(tmp_path, full_disk="1.2.1")
    (completed,) = run_batches(work, cut(map(series, range(3)), batch_count=3), PROCESSES)
    assert isinstance(completed.error, EnvironmentProblem)
    assert len(completed.batch) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux only")
def test_a_series_beyond_the_memory_limit(series, tmp_path):
    work = Work(tmp_path, hungry="1.2.1")
    options = ExecutorOptions("processes", workers=1, memory_bytes=2_000_000_000)
    done, errors = _run(work, cut(map(series, range(3)), batch_count=3), options)
    assert sorted(done) == ["1.2.0", "1.2.2"]
    assert errors["1.2.1"].code == "memory-limit"


def test_workers_that_do_not_start(series):
    with pytest.raises(RunError, match="do not start") as caught:
        list(run_batches(Unpicklable(), cut([series(0)]), PROCESSES))
    assert caught.value.code == "internal"


def test_giving_up_ends_the_workers(series, tmp_path):
    results = run_batches(
        Work(tmp_path, seconds=0.01), cut(map(series, range(1000)), batch_count=10), PROCESSES
    )
    next(results)
    results.close()
    pids = {int(pid) for path in tmp_path.glob("1.2.*") for pid in path.read_text().splitlines()}
    assert pids
    assert not any(_is_alive(pid) for pid in pids)


def test_giving_up_cancels_what_runs_on_threads(series):
    class Endless:
        def __init__(self):
            self.stop = threading.Event()

        def __call__(self, batch):
            if batch.series[0].seg_series_uid != "1.2.0":
                assert self.stop.wait(20)

        def cancel(self):
            self.stop.set()

    work = Endless()
    results = run_batches(work, cut(map(series, range(9)), batch_count=1), ExecutorOptions("threads", 2))
    next(results)
    results.close()
    assert work.stop.is_set()


def test_workers_die_with_a_killed_parent(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from segtools.run.batches import cut\n"
        "from segtools.run.executors.scheduler import *\n"
        "from segtools.series import SelectedSeries\n"
        "from tests.run.functions import Work\n"
        "if __name__ == '__main__':\n"
        "    table = [SelectedSeries('c', 'p', 's', f'1.2.{n}', 'v', 'u', 1, 1) for n in range(99)]\n"
        f"    work = Work(Path({str(tmp_path)!r}), seconds=0.5)\n"
        "    list(run_batches(work, cut(table), ExecutorOptions('processes', workers=2)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": os.getcwd()})  # noqa: PTH109
    deadline = time.monotonic() + 60
    while not (pids := {int(path.read_text().split()[0]) for path in tmp_path.glob("1.2.*")}):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
