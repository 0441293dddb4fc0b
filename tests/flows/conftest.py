"""The command line as people run it: real processes, one demo for all tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segtools.index import build_index
from segtools.phantom.archive import write_archive
from tests.flows.prefect_server import CHECKOUT, PrefectServer, environment


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


def idcseg(*arguments: object, cwd: Path | None = None, **environment: str) -> Ran:
    """Run the command line in a process of its own, with nobody's settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("IDCSEG_", "PREFECT_", "AWS_"))}
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        timeout=600,
        check=False,
    )
    return Ran(result.returncode, result.stdout, result.stderr)


@dataclass(frozen=True)
class Demo:
    """What `idcseg demo` left, and what it said."""

    folder: Path
    ran: Ran

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once, as the production flow on a Prefect server of its own."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return Demo(folder, idcseg("demo", "-o", folder))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server on loopback with a home of its own; the tests that use it share one xdist group."""
    with PrefectServer.started(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of a phantom archive of 12 series on this disk; one file is broken."""
    folder = tmp_path_factory.mktemp("phantom")
    write_archive(folder / "archive")
    build_index(folder / "archive", folder / "index")
    return folder / "index"


@dataclass(frozen=True)
class WaitingRun:
    """`idcseg run` in shards that nobody runs: it waits until something ends it."""

    dataset: Path
    log: Path
    process: subprocess.Popen[bytes]

    def seen(self, server: PrefectServer) -> dict[str, Any] | None:
        """Its flow run."""
        runs = server.flow_runs(flows={"name": {"any_": ["idc-cohort"]}})
        return next((run for run in runs if run["parameters"]["dataset"] == str(self.dataset)), None)


@pytest.fixture(scope="session")
def idle_pool(prefect_server: PrefectServer) -> None:
    """The work pool `idle`, which has no worker."""
    template = prefect_server.template
    prefect_server.post("/work_pools/", name="idle", type="process", base_job_template=template)


@pytest.fixture(scope="module")
def dead_and_alive(
    prefect_server: PrefectServer, idle_pool: None, indexed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WaitingRun, WaitingRun]]:
    """Two runs that wait for shards nobody runs; one of them is killed."""
    folder = tmp_path_factory.mktemp("waiting")
    server = prefect_server
    server.prefect("automation", "create", "--from-file", "docs/zombie-automation.yaml", cwd=CHECKOUT)
    with ExitStack() as stack:
        dead, alive = (_wait_for_nobody(server, stack, indexed, folder / name) for name in ("dead", "alive"))

        def are_heard() -> bool:
            runs = [run.seen(server) for run in (dead, alive)]
            return all(run and server.heartbeats(run) for run in runs)

        server.wait(are_heard, "two runs' heartbeats")
        dead.process.send_signal(signal.SIGKILL)
        yield dead, alive


def _wait_for_nobody(server: PrefectServer, stack: ExitStack, index: Path, dataset: Path) -> WaitingRun:
    log = dataset.with_suffix(".log")
    shards = ("--set", "run.shards=2", "--set", "run.shard_work_pool=idle")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "flows.cli", "run", "demo", "-o", str(dataset)),
            *("--index", str(index), *shards),
        ],
        env=environment(**server.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stack.enter_context(log.open("wb")),
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return WaitingRun(dataset, log, process)
