"""What a command starts ends with it, by SIGKILL too: real servers, workers and s5cmd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories.processes import until

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watcher reads /proc")


def marked(word: bytes) -> list[int]:
    """Processes whose environment holds `word`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word in (process / "environ").read_bytes() and (process / "exe").readlink():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def start(code: str, name: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "TEST_NAME": name, "DO_NOT_TRACK": "1"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_children_that_detach_end_with_us(tmp_path: Path, how: signal.Signals | None) -> None:
    name = f"children-{tmp_path.name}-{os.getpid()}"
    code = (
        "import subprocess, time\n"
        "from flows.children import end_children_with_us\n"
        "end_children_with_us()\n"
        "subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM HUP; sleep 300 & sleep 300'])\n"
        f"time.sleep({0.5 if how is None else 300})\n"
    )
    parent = start(code, name)
    until(lambda: len(marked(name.encode())) >= 4)  # parent, shell, its sleeps (and the watcher)
    if how is not None:
        parent.send_signal(how)
    parent.wait(30)
    until(lambda: not marked(name.encode()))


@pytest.mark.prefect
@pytest.mark.slow
def test_a_killed_run_leaves_no_prefect_server(tmp_path: Path) -> None:
    name = f"server-{tmp_path.name}-{os.getpid()}"
    code = (
        "import os, sys, time\n"
        "from flows.children import end_children_with_us\n"
        "end_children_with_us()\n"
        "from prefect.server.api.server import SubprocessASGIServer\n"
        "server = SubprocessASGIServer()\n"
        "server.start(timeout=120)\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').write(str(server.server_process.pid))\n"
        "time.sleep(300)\n"
    )
    os.environ["PREFECT_HOME"] = str(tmp_path / "home")
    try:
        parent = start(code, name)
    finally:
        del os.environ["PREFECT_HOME"]
    until(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text(), 150)
    server = int((tmp_path / "ready").read_text())
    assert server in marked(name.encode())
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    until(lambda: not marked(name.encode()))
