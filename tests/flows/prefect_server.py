"""A real Prefect server and real workers, as processes of the test; asked over HTTP, not through Prefect."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
_START_S = 180.0
T = TypeVar("T")


def environment(**changes: str) -> dict[str, str]:
    """Nobody's settings, this checkout, no telemetry."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("IDCSEG_", "PREFECT_", "AWS_"))}
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(CHECKOUT))))
    offline = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return clean | {"PYTHONPATH": path} | offline | changes


@dataclass
class PrefectServer:
    """A running server.

    Attributes
    ----------
    home : Path
        Its PREFECT_HOME, and that of everything that talks to it.
    url : str
        ``http://127.0.0.1:<port>/api``.
    """

    home: Path
    url: str
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def environment(self) -> dict[str, str]:
        return {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.url}

    @classmethod
    @contextlib.contextmanager
    def started(cls, home: Path) -> Iterator[PrefectServer]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = cls(home, f"http://127.0.0.1:{port}/api")
        with server._stack:
            arguments = ("server", "start", "--no-ui", "--host", "127.0.0.1", "--port", str(port))
            server.start("server.log", *arguments)
            server.wait(server.is_healthy, "the server")
            yield server

    def start(self, log: str, *arguments: str, **changes: str) -> subprocess.Popen[bytes]:
        """Start `prefect …`; it is stopped, by its own id, with the server."""
        file = self._stack.enter_context((self.home / log).open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=self.home,
            env=environment(**self.environment, **changes),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(_stop, process)
        return process

    def start_worker(self, pool: str) -> None:
        """A process work pool, and a worker for it that looks often."""
        self.post("/work_pools/", name=pool, type="process", base_job_template=self.template)
        self.start(f"worker-{pool}.log", "worker", "start", "--pool", pool, PREFECT_WORKER_QUERY_SECONDS="1")

    @property
    def template(self) -> dict[str, Any]:
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()

    def prefect(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run `prefect …` to its end; what it said."""
        ran = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=cwd or self.home,
            env=environment(**self.environment, PWD=str(cwd or self.home)),  # as a shell does
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        return False

    def post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return self._ask(request)

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self.url + path))

    def _ask(self, request: urllib.request.Request) -> Any:
        """The answer; 503 is "database is locked", and asked again, as Prefect's own client does."""
        for pause in (0.5, 1, 2, 4, 8, None):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

    def flow_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Flow runs, the earliest first."""
        return self.post("/flow_runs/filter", sort="EXPECTED_START_TIME_ASC", limit=200, **filters)

    def shards(self, dataset: Path) -> dict[str, dict[str, Any]]:
        """Flow runs of the shards of a dataset's runs, by name."""
        runs = self.flow_runs(flows={"name": {"any_": ["idc-cohort-shard"]}})
        return {run["name"]: run for run in runs if run["parameters"]["dataset"] == str(dataset)}

    def heartbeats(self, run: dict[str, Any]) -> int:
        """How often a flow run has said that it lives."""
        wanted = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run['id']}"]},
        }
        return self.post("/events/filter", filter=wanted)["total"]

    def cancel(self, run: dict[str, Any]) -> None:
        """As `prefect flow-run cancel`, and the button in the UI."""
        self.post(f"/flow_runs/{run['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})

    def artifacts(self, key: str) -> list[dict[str, Any]]:
        """Artifacts whose key ends in `key`, the newest first."""
        made = self.post(
            "/artifacts/filter", artifacts={"key": {"like_": f"%{key}"}}, sort="CREATED_DESC", limit=50
        )
        return [item for item in made if item["key"].endswith(key)]

    def wait(self, ask: Callable[[], T], what: str) -> T:
        """The first true answer."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if answer := ask():
                return answer
            time.sleep(0.2)  # each question is work for a small database
        logs = "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self.home.glob("*.log"))
        raise AssertionError(f"no sign of {what} in {_START_S:.0f} s\n{logs}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
