"""A real scheduler and worker processes on loopback, killed while they work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest

from segtools.errors import EnvironmentProblem
from segtools.run.batches import cut
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from tests.run.functions import Work

pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.xdist_group("dask"),
    # Of distributed itself, where a peer was killed: sockets it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Cluster:
    """A scheduler and its workers, each with its nanny in a process group of its own."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.stack = stack
        self.file = folder / "scheduler.json"
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"
        )
        self.workers = [self.worker() for _ in range(2)]

    @property
    def address(self):
        return f"{self.file}"

    def worker(self):
        return self._start("dask_worker", "--nthreads", "1", "--nworkers", "1", "--host", "127.0.0.1")

    def _start(self, name, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{name}", *arguments, "--no-dashboard"]
        command += ["--scheduler-file", str(self.file)]
        if name == "dask_worker":
            command += ["--local-directory", str(self.folder)]
        process = subprocess.Popen(
            command,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            },
        )
        self.stack.callback(process.wait)
        self.stack.callback(self.kill, process)
        return process

    def kill(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def wait(self):
        from distributed import Client

        with Client(scheduler_file=str(self.file), set_as_default=False, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            return client.scheduler.address


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One for all tests here: the first replaces the worker it kills, the last kills the scheduler."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("dask"), stack)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Work(folder)


def test_workers_are_killed_and_a_poison_is_found(cluster, series, work):
    work = replace(work, seconds=0.05, poison="1.2.47")
    options = ExecutorOptions("dask", address=cluster.wait())
    batches = cut(map(series, range(60)), batch_count=2)
    done, lost = [], {}
    for number, completed in enumerate(run_batches(work, batches, options)):
        if completed.error is None:
            done += completed.result
        else:
            lost[completed.batch.series[0].seg_series_uid] = completed.error.code
        if number == 10:
            cluster.kill(cluster.workers[0])  # its nanny with it: nothing restarts it
            before = set(done)
            cluster.worker()
    assert Counter(done) == Counter(f"1.2.{n}" for n in range(60) if n != 47)
    assert lost == {"1.2.47": "worker-lost"}
    executions = work.executions()
    again = {uid for uid, count in executions.items() if count > 1}
    assert again.isdisjoint(before)  # what was recorded is never repeated
    assert len(again) <= 4 * 2 * 4  # four deaths, four batches of two in flight at each


def test_a_cluster_on_this_machine(series, work):
    batches = cut(map(series, range(20)), batch_count=4)
    results = list(run_batches(work, batches, ExecutorOptions("dask", workers=2)))
    assert [one.error for one in results] == [None] * 5
    assert sorted(uid for one in results for uid in one.result) == sorted(f"1.2.{n}" for n in range(20))
    assert set(work.executions().values()) == {1}


def test_the_scheduler_is_lost(cluster, series, work):
    options = ExecutorOptions("dask", address=cluster.wait())
    results = run_batches(replace(work, seconds=0.2), cut(map(series, range(100)), batch_count=1), options)
    next(results)
    cluster.kill(cluster.scheduler)
    with pytest.raises(EnvironmentProblem) as caught:
        list(results)
    assert caught.value.code == "network-unavailable"


def test_nobody_listens(series, work, monkeypatch):
    monkeypatch.setattr("segtools.run.executors.dask._CONNECT_S", 1)
    start = time.monotonic()
    with pytest.raises(EnvironmentProblem) as caught:
        list(run_batches(work, cut([series(1)]), ExecutorOptions("dask", address="tcp://127.0.0.1:9")))
    assert caught.value.code == "network-unavailable"
    assert time.monotonic() - start < 60
