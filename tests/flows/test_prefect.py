"""A Prefect server that is away, wrong or broken: one line, exit 4; and where tracebacks go."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.flows.conftest import Ran, idcseg
from tests.flows.prefect_server import PrefectServer

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-server")]


def complains(ran: Ran) -> str:
    assert ran.code == 4, ran.err
    last = ran.err.splitlines()[-1]
    assert last.startswith("error [server-unavailable] Prefect")
    assert "Traceback" not in ran.err
    return last


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/api", "nonsense", "http://[::1/api", "http://x\N{SNOWMAN}..y/api"]
)
@pytest.mark.parametrize("command", [("run", "demo"), ("deploy", "demo", "--serve")])
def test_no_server_there(tmp_path: Path, indexed: Path, command: tuple[str, ...], url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, not listening: nobody else answers there meanwhile
        url = url.format(port=free.getsockname()[1])
        ran = idcseg(
            *command,
            "-o",
            tmp_path / "d",
            "--index",
            indexed,
            PREFECT_API_URL=url,
            PREFECT_HOME=str(tmp_path),
        )
    complains(ran)
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "d").exists()


def test_a_schedule_needs_a_server_that_stays(tmp_path: Path) -> None:
    ran = idcseg("deploy", "demo", "-o", tmp_path / "d", "--serve", PREFECT_HOME=str(tmp_path))
    assert "PREFECT_API_URL" in complains(ran)


def test_no_api_at_that_address(prefect_server: PrefectServer, tmp_path: Path, indexed: Path) -> None:
    url = prefect_server.url.removesuffix("/api")
    command = ("run", "demo", "-o", tmp_path / "d", "--index", indexed)
    ran = idcseg(*command, PREFECT_API_URL=url, PREFECT_HOME=str(tmp_path))
    assert "ends in /api" in complains(ran)


@pytest.mark.slow
def test_an_ephemeral_server_that_cannot_start(tmp_path: Path, indexed: Path) -> None:
    (tmp_path / "file").touch()
    ran = idcseg(
        *("run", "demo", "-o", tmp_path / "d", "--index", indexed),
        PREFECT_HOME=str(tmp_path / "home"),
        PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{tmp_path / 'file' / 'prefect.db'}",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="5",
    )
    complains(ran)


def test_tracebacks_are_in_the_servers_log_only(
    prefect_server: PrefectServer, indexed: Path, tmp_path: Path
) -> None:
    cohort = tmp_path / "c.yaml"
    cohort.write_text("structures: [liver]\nsource: {idc: false}\n")
    output = tmp_path / "theirs"
    output.mkdir()
    (output / "thesis.docx").touch()
    ran = idcseg("run", cohort, "-o", output, "--index", indexed, **prefect_server.environment)
    assert ran.code == 2
    assert ran.err.splitlines() == [ran.err.strip()]
    assert ran.err.startswith("error [output-not-ours]")
    failed = prefect_server.flow_runs(flow_runs={"state": {"type": {"any_": ["FAILED"]}}})
    (run,) = [run for run in failed if run["parameters"].get("dataset") == str(output)]

    def log() -> str:
        filters = {"flow_run_id": {"any_": [run["id"]]}}
        return "\n".join(entry["message"] for entry in prefect_server.post("/logs/filter", logs=filters))

    assert prefect_server.wait(lambda: "Traceback" in log() and log(), "the traceback in the server's log")
    assert "thesis.docx" in log()
