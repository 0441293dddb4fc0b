"""`idcseg doctor`: each line is true, and says what to do."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.commands.doctor import doctor
from flows.commands.options import Where


@pytest.fixture
def lines(capsys, monkeypatch, tmp_path):
    """Run it and give its lines by name, and the exit code."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))

    def run(*settings, offline=True):
        code = doctor(where=Where(set=(f"run.scratch={tmp_path}", *settings)), offline=offline, json=True)
        return {row["what"]: row for row in json.loads(capsys.readouterr().out)}, code

    return run


def test_a_machine_that_has_everything_needed_exits_with_0(lines):
    rows, code = lines()
    assert code == 0
    assert rows["Python"]["state"] == rows["s5cmd"]["state"] == rows["scratch folder"]["state"] == "ok"
    assert all(row["what_to_do"] for row in rows.values() if row["state"] != "ok")


def test_an_index_that_is_none_is_named(lines, tmp_path):
    rows, code = lines(f"sources.index=[{tmp_path}]")
    assert code == 4
    assert rows["own index"]["state"] == "wrong"
    assert str(tmp_path) in rows["own index"]["detail"]


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ((), "ok"),
        (("engine.kind=bigquery",), "wrong"),
        (("engine.kind=bigquery", "engine.project=p"), "ok"),
        (("engine.kind=bigquery", "engine.project=p", "engine.credentials_file=/nowhere.json"), "wrong"),
    ],
)
def test_bigquery_needs_a_project_and_credentials_that_exist(lines, settings, state):
    assert lines(*settings)[0]["BigQuery"]["state"] == state


def test_a_server_that_does_not_answer_is_wrong(lines, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{unused.getsockname()[1]}/api")
    rows, code = lines("fetch.endpoint=http://127.0.0.1:1", offline=False)
    assert code == 4
    assert rows["Prefect"]["state"] == "wrong"
    assert rows["object storage"]["state"] == "missing"


@pytest.mark.parametrize(
    ("date", "state"), [("Thu, 01 Jan 2015 00:00:00 GMT", "wrong"), (None, "ok")], ids=["2015", "now"]
)
def test_the_clock_is_compared_with_the_endpoints(lines, date, state):
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(403)
            self.send_header("Date", date or self.date_time_string())
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows, _ = lines(f"fetch.endpoint=http://127.0.0.1:{server.server_port}", offline=False)
        server.shutdown()
    assert rows["object storage"]["state"] == "ok"
    assert rows["clock"]["state"] == state
