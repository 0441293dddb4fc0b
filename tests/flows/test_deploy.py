"""Schedules, artifacts and shards: a real server, real workers, a real SIGKILL."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from segtools.dataset.layout import Layout
from segtools.dataset.lock import locked
from segtools.files import TEMPORARY_PREFIX
from segtools.run.ledger import latest
from tests.flows.conftest import idcseg
from tests.flows.prefect_server import CHECKOUT, PrefectServer, environment

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-server")]

SERIAL = ("--set", "run.kind=serial", "--set", "run.batch_series=1")


@pytest.fixture(scope="module")
def scheduled(prefect_server: PrefectServer, indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of a deployment that looks for news each minute; registered first, read last."""
    dataset = tmp_path_factory.mktemp("scheduled") / "Phantom_1"
    prefect_server.start_worker("watch")
    ran = idcseg(
        *(
            "deploy",
            "demo",
            "-o",
            dataset,
            "--index",
            indexed,
            "--cron",
            "* * * * *",
            "--pool",
            "watch",
            *SERIAL,
        ),
        **prefect_server.environment,
    )
    assert ran.code == 0, ran.err
    assert "idc-watch/Phantom_1" in ran.out
    return dataset


@pytest.fixture(scope="module")
def plain(indexed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cohort without Prefect."""
    dataset = tmp_path_factory.mktemp("plain") / "dataset"
    assert idcseg("run", "demo", "-o", dataset, "--index", indexed, "--direct", *SERIAL).code == 3
    return dataset


def _content(dataset: Path) -> dict[str, bytes]:
    """Every file of a dataset but the records of its runs, the report, and what the next run sweeps."""
    files = (
        path for path in dataset.rglob("*") if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    )
    return {
        str(path.relative_to(dataset)): path.read_bytes()
        for path in files
        if path.relative_to(dataset).parts[0] not in ("runs", "report")
    }


@pytest.mark.slow
def test_a_killed_shard_is_run_again(
    prefect_server: PrefectServer, scheduled: Path, plain: Path, indexed: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a shard: only what it had not recorded is repeated, and no byte differs."""
    dataset = tmp_path / "dataset"
    prefect_server.start_worker("shards")
    arguments = (
        *("run", "demo", "-o", str(dataset), "--index", str(indexed), *SERIAL, "--json"),
        *("--set", "run.shards=2", "--set", "run.shard_work_pool=shards"),
    )
    parent = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        env=environment(**prefect_server.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        victim, before = _kill_first_shard(prefect_server, dataset)
        out, err = parent.communicate(timeout=300)
    finally:
        parent.kill()
        parent.wait()
    assert parent.returncode == 3, err
    assert json.loads(out)["outcomes"]["failed"] == 1
    again = victim.removesuffix("1") + "2"
    runs = prefect_server.shards(dataset)
    assert {name: run["state_type"] for name, run in runs.items()} == {
        victim: "CRASHED",
        again: "COMPLETED",
        _other(victim): "COMPLETED",
    }
    assert 1 <= before < 6
    assert len(latest(Layout(dataset).ledger)) == 12
    assert not list(Layout(dataset).shards.glob("*.parquet"))
    assert _content(dataset) == _content(plain)
    assert _task_runs(prefect_server, flow="idc-cohort") < 50
    assert not [run for run in runs.values() if _task_runs_of(prefect_server, run["id"]) > 1]


def _kill_first_shard(server: PrefectServer, dataset: Path) -> tuple[str, int]:
    """Wait for a shard's first record, kill its process; its name, and how many series it had recorded."""
    ledger = Layout(dataset).ledger

    runs = server.wait(lambda: len(found := server.shards(dataset)) >= 2 and found, "two shards")
    deadline = time.monotonic() + 180
    while not (records := [path for path in ledger.glob("shard-*.jsonl") if path.stat().st_size]):
        assert time.monotonic() < deadline, "no shard's first record"
        time.sleep(0.002)
    name = f"shard-{records[0].stem.removeprefix('shard-')[:-3]}-1"
    os.kill(_process_of(runs[name]["id"]), signal.SIGKILL)  # not asking the server: a shard is soon done
    return name, records[0].read_bytes().count(b"\n")


def _process_of(flow_run: str) -> int:
    """Process id of a flow run under a worker."""
    wanted = f"PREFECT__FLOW_RUN_ID={flow_run}\0".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes():
                    return int(entry.name)
    raise AssertionError(f"no process of {flow_run}")


def _other(name: str) -> str:
    number = {"001": "002", "002": "001"}[name.split("-")[2]]
    return "-".join([*name.split("-")[:2], number, "1"])


def _task_runs(server: PrefectServer, flow: str) -> int:
    """Most task runs of any run of a flow."""
    runs = server.flow_runs(flows={"name": {"any_": [flow]}})
    assert runs
    return max(_task_runs_of(server, run["id"]) for run in runs)


def _task_runs_of(server: PrefectServer, flow_run: str) -> int:
    return server.post("/task_runs/count", task_runs={"flow_run_id": {"any_": [flow_run]}})


def test_a_scheduled_run_makes_the_dataset(
    prefect_server: PrefectServer, scheduled: Path, plain: Path
) -> None:
    """Nobody but the schedule and the worker; the result is what `--direct` gives, seen through the API."""
    run = prefect_server.wait(lambda: _finished(prefect_server, 1), "a scheduled run")[0]
    assert run["auto_scheduled"]
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    assert _content(scheduled) == _content(plain)
    table = json.loads(prefect_server.artifacts("series")[0]["data"])
    rows = {(row["status"], row["error_code"]): row["series"] for row in table}
    assert rows["ok", ""] + rows["warned", ""] == 11
    assert rows["failed", ""] == rows["failed", "truncated"] == 1
    (summary,) = _artifacts_of(prefect_server, scheduled, "summary")
    assert Layout(scheduled).report.as_uri() in summary["data"]
    assert "`truncated`" in summary["data"]
    (bar,) = _artifacts_of(prefect_server, scheduled, "progress")
    assert bar["data"] == 100.0
    assert _task_runs(prefect_server, flow="idc-watch") < 50


def _artifacts_of(server: PrefectServer, dataset: Path, what: str) -> list[dict[str, Any]]:
    from flows.artifacts import artifact_key

    return server.artifacts(artifact_key(str(dataset), what))


def _finished(server: PrefectServer, count: int) -> list[dict[str, Any]]:
    runs = server.flow_runs(flows={"name": {"any_": ["idc-watch"]}})
    done = [run for run in runs if run["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING")]
    return done if len(done) >= count else []


def test_nothing_new_runs_nothing_and_pausing_stops_the_schedule(
    prefect_server: PrefectServer, scheduled: Path
) -> None:
    prefect_server.wait(lambda: _finished(prefect_server, 1), "a scheduled run")
    deployment = prefect_server.get("/deployments/name/idc-watch/Phantom_1")
    (schedule,) = deployment["schedules"]
    assert deployment["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    prefect_server.prefect("deployment", "schedule", "pause", "idc-watch/Phantom_1", schedule["id"])
    deployment = prefect_server.get("/deployments/name/idc-watch/Phantom_1")
    assert [schedule["active"] for schedule in deployment["schedules"]] == [False]
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    before = _content(scheduled)
    prefect_server.post(f"/deployments/{deployment['id']}/create_flow_run")  # as the UI's Quick run
    last = prefect_server.wait(lambda: _finished(prefect_server, 2), "a run by hand")[-1]
    assert (last["state_type"], last["state_name"]) == ("COMPLETED", "Unchanged")
    assert _content(scheduled) == before


@pytest.mark.slow
def test_cancelling_a_run_cancels_its_shards(
    prefect_server: PrefectServer, scheduled: Path, idle_pool: None, tmp_path: Path
) -> None:
    """A run of a worker, which tells its process; the shards wait in a pool that no worker looks at."""
    deployment = prefect_server.get("/deployments/name/idc-watch/Phantom_1")
    dataset = tmp_path / "dataset"
    run = prefect_server.post(
        f"/deployments/{deployment['id']}/create_flow_run",
        parameters={
            "dataset": str(dataset),
            "overrides": ["run.shards=2", "run.shard_work_pool=idle"],
        },
    )
    prefect_server.wait(lambda: len(prefect_server.shards(dataset)) == 2, "two shards")
    prefect_server.cancel(run)

    def states() -> set[str]:
        runs = (prefect_server.get(f"/flow_runs/{run['id']}"), *prefect_server.shards(dataset).values())
        return {run["state_type"] for run in runs}

    prefect_server.wait(lambda: states() == {"CANCELLED"}, "the end of the run and its shards")
    with locked(Layout(dataset)):
        assert not (dataset / "dataset.json").exists()


@pytest.mark.slow
def test_prefect_yaml_deploys(
    prefect_server: PrefectServer, plain: Path, indexed: Path, tmp_path: Path
) -> None:
    """The file as it is, but that the image's folder is here: what workers get, and what a pod then does."""
    shutil.copytree(CHECKOUT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    text = (CHECKOUT / "prefect.yaml").read_text()
    assert text.count("directory: /opt/idc-cohort-pipeline ") == 1
    (tmp_path / "prefect.yaml").write_text(text.replace("/opt/idc-cohort-pipeline", str(CHECKOUT)))
    workers = prefect_server.get("/collections/views/aggregate-worker-metadata")
    kubernetes = workers["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]
    prefect_server.post("/work_pools/", name="vm", type="process", base_job_template=prefect_server.template)
    for pool in ("k8s", "k8s-shards"):
        prefect_server.post("/work_pools/", name=pool, type="kubernetes", base_job_template=kubernetes)
    places = {
        "idc-watch/watch-vm": tmp_path,
        "idc-watch/watch-k8s": CHECKOUT,
        "idc-cohort-shard/k8s-shards": CHECKOUT,
    }
    names = [option for name in places for option in ("--name", name.partition("/")[2])]
    prefect_server.prefect("--no-prompt", "deploy", *names, cwd=tmp_path)
    made = {name: prefect_server.get(f"/deployments/name/{name}") for name in places}
    for name, place in places.items():
        (step,) = made[name]["pull_steps"]
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(place)}}
        environment = made[name]["job_variables"]["env"]
        assert (environment["DO_NOT_TRACK"], environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) == ("1", "30")
        if name.startswith("idc-watch"):
            assert made[name]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
            assert made[name]["global_concurrency_limit"]["limit"] == 1
    watch, shards = made["idc-watch/watch-k8s"], made["idc-cohort-shard/k8s-shards"]
    assert watch["job_variables"] == shards["job_variables"]
    assert watch["job_variables"]["image"]
    assert watch["job_variables"].keys() <= kubernetes["variables"]["properties"].keys()
    assert f"run.shard_work_pool={shards['name']}" in watch["parameters"]["overrides"]
    assert shards["work_pool_name"] == shards["name"]
    assert _as_a_pod(prefect_server, watch, tmp_path, dataset=plain, index=indexed) == "Unchanged"


def _as_a_pod(
    server: PrefectServer, deployment: dict[str, Any], folder: Path, *, dataset: Path, index: Path
) -> str:
    """Run a deployment by the command that a Kubernetes job has; the name of the state it ends in."""
    parameters = {"cohort": "demo", "dataset": str(dataset), "index": [str(index)]}
    run = server.post(f"/deployments/{deployment['id']}/create_flow_run", parameters=parameters)
    (folder / "pod").mkdir()
    server.prefect("flow-run", "execute", run["id"], cwd=folder / "pod")
    return server.get(f"/flow_runs/{run['id']}")["state_name"]


@pytest.mark.slow
def test_serve_runs_what_falls_due_and_pauses_its_schedule_at_the_end(
    prefect_server: PrefectServer, plain: Path, indexed: Path, tmp_path: Path
) -> None:
    """Ended with Ctrl-C the deployment is paused; started again it is active."""
    dataset = tmp_path / "served"
    shutil.copytree(plain, dataset)
    with _serving(prefect_server, dataset, indexed, tmp_path / "first.log") as log:
        made = prefect_server.wait(lambda: _served(prefect_server), "the deployment")
        prefect_server.post(f"/deployments/{made['id']}/create_flow_run")
        ended = prefect_server.wait(lambda: _ended(prefect_server, made["id"]), "its run")
    assert ended["state_name"] == "Unchanged", log.read_text()
    paused = prefect_server.get(f"/deployments/{made['id']}")
    assert paused["paused"]
    with _serving(prefect_server, dataset, indexed, tmp_path / "second.log"):
        again = prefect_server.wait(lambda: _served(prefect_server, paused["last_polled"]), "it once more")
    assert again["id"] == made["id"]
    assert not _served(prefect_server)


@contextmanager
def _serving(server: PrefectServer, dataset: Path, index: Path, log: Path) -> Iterator[Path]:
    """`idcseg deploy --serve`, ended with Ctrl-C; what it said."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flows.cli", "deploy", "demo", "-o", str(dataset)),
                *("--index", str(index), "--serve", "--cron", "0 5 * * *", *SERIAL),
            ],
            env=environment(**server.environment, PREFECT_RUNNER_POLL_FREQUENCY="1"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(300)
    assert code in (0, 130), log.read_text()
    assert "Traceback" not in log.read_text()


def _served(server: PrefectServer, since: str = "") -> dict[str, Any] | None:
    """The deployment, if it is active and its process has asked for runs after `since`."""
    found = server.post("/deployments/filter", deployments={"name": {"any_": ["served"]}})
    return next((one for one in found if not one["paused"] and (one["last_polled"] or "") > since), None)


def _ended(server: PrefectServer, deployment: str) -> dict[str, Any] | None:
    runs = server.flow_runs(flow_runs={"deployment_id": {"any_": [deployment]}})
    return next((run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")), None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pool", "nowhere"), "nowhere"),
        (("--pool", "watch", "--cron", "each day"), "each day"),
        (("--pool", "watch", "--timezone", "Mars/Olympus"), "Mars/Olympus"),
        ((), "--pool"),
        (("--pool", "watch", "--serve"), "--pool"),
    ],
)
def test_what_cannot_be_deployed(
    prefect_server: PrefectServer, scheduled: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = idcseg("deploy", "demo", "-o", tmp_path / "d", *arguments, **prefect_server.environment)
    assert ran.code == 2, ran.err
    assert ran.err.splitlines()[-1].startswith("error [settings-invalid]")
    assert words in ran.err
    assert "Traceback" not in ran.err
