"""Runs that died without a word, hang or are cancelled: on a real server, as processes.

The automation takes 90 s by its documented settings: its test is run where IDCSEG_PATIENT is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import WaitingRun
from tests.flows.prefect_server import CHECKOUT, PrefectServer, environment

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-server")]


@pytest.mark.slow
def test_a_shard_that_stays_pending_is_given_up(
    prefect_server: PrefectServer, idle_pool: object, tmp_path: Path
) -> None:
    """Started again as often as one that crashed; then the run ends, and nothing goes on without it."""
    dataset = tmp_path / "dataset"
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.impatient", str(tmp_path)],
        cwd=CHECKOUT,
        env=environment(**prefect_server.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for attempt, state in enumerate(("PENDING", "CRASHED", "PENDING"), start=1):
            made = prefect_server.wait(
                lambda wanted=attempt: len(runs := prefect_server.shards(dataset)) == wanted and runs,
                f"attempt {attempt}",
            )
            (run,) = (run for name, run in made.items() if name.endswith(f"-{attempt}"))
            prefect_server.post(f"/flow_runs/{run['id']}/set_state", state={"type": state})
        _, said = parent.communicate(timeout=300)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == 1, said
    assert "was lost 3 times, 2 series are left" in said
    runs = prefect_server.shards(dataset)
    assert [runs[name]["state_type"] for name in sorted(runs)] == ["CANCELLED", "CRASHED", "CANCELLED"]
    assert [runs[name]["parameters"]["attempt"] for name in sorted(runs)] == [1, 2, 3]


@pytest.mark.skipif("IDCSEG_PATIENT" not in os.environ, reason="IDCSEG_PATIENT is not set")
def test_a_silent_run_is_crashed_by_the_automation(
    prefect_server: PrefectServer, dead_and_alive: tuple[WaitingRun, WaitingRun]
) -> None:
    """docs/zombie-automation.yaml as it is; a run that still speaks is left alone."""
    dead, alive = dead_and_alive

    def crashed() -> dict | None:
        run = dead.seen(prefect_server)
        return run if run and run["state_type"] != "RUNNING" else None

    state = prefect_server.wait(crashed, "the automation")["state"]
    assert (state["type"], state["message"]) == ("CRASHED", "No heartbeat for 90 s.")
    run = alive.seen(prefect_server)
    assert run is not None
    assert run["state_type"] == "RUNNING"
    assert prefect_server.heartbeats(run) >= 3
    assert alive.process.poll() is None


@pytest.mark.slow
def test_a_cancelled_shard_ends_the_run(
    prefect_server: PrefectServer, dead_and_alive: tuple[WaitingRun, WaitingRun]
) -> None:
    _, alive = dead_and_alive
    prefect_server.wait(lambda: len(prefect_server.shards(alive.dataset)) == 2, "two shards")
    first, second = sorted(prefect_server.shards(alive.dataset))
    prefect_server.cancel(prefect_server.shards(alive.dataset)[first])
    assert alive.process.wait(60) == 1
    last = alive.log.read_text().splitlines()[-1]
    assert last.startswith(f"error [shard-failed] Shard {first.removeprefix('shard-')[:-2]}: Cancelled.")
    runs = prefect_server.shards(alive.dataset)
    assert {name: run["state_type"] for name, run in runs.items()} == {
        first: "CANCELLED",
        second: "CANCELLED",
    }
    run = alive.seen(prefect_server)
    assert run is not None
    assert run["state_type"] == "FAILED"
