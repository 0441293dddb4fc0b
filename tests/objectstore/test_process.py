"""A child process that cannot outlive its use."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from segtools.errors import EnvironmentProblem
from segtools.objectstore import process
from segtools.objectstore.process import Progress, run_group
from tests.factories.processes import processes_of, until


def test_the_whole_group_is_killed(tmp_path):
    """Also what the child itself started."""
    log = tmp_path / "log"
    script = f"exec 3>{log}; sleep 100 & sleep 100; wait".encode()
    finished = run_group(["sh"], script, [], stall_timeout_s=0.3)
    assert finished.is_stalled
    assert finished.returncode is None
    until(lambda: not processes_of(tmp_path))


def test_output_and_growth_are_progress(tmp_path):
    script = b"for i in 1 2 3 4 5 6; do sleep 0.2; echo $i; done"
    assert run_group(["sh"], script, [], stall_timeout_s=0.9).stdout == b"1\n2\n3\n4\n5\n6\n"
    script = f"for i in 1 2 3 4 5 6; do sleep 0.2; echo $i >> {tmp_path}/x; done; echo end".encode()
    assert run_group(["sh"], script, [tmp_path], stall_timeout_s=0.9).stdout == b"end\n"


def test_large_output_on_both_pipes_does_not_block():
    script = b"yes out | head -c 3000000; yes err | head -c 3000000 >&2; exit 3"
    finished = run_group(["sh"], script, [], stall_timeout_s=20)
    assert (len(finished.stdout), len(finished.stderr), finished.returncode) == (3_000_000, 3_000_000, 3)


def test_the_pace_is_kept(tmp_path):
    script = f"for i in $(seq 40); do head -c 100000 /dev/zero >> {tmp_path}/x; sleep 0.01; done".encode()
    start = time.monotonic()
    run_group(["sh"], script, [tmp_path], stall_timeout_s=20, bandwidth_bytes_s=4_000_000)
    assert time.monotonic() - start > 0.7  # 4 MB at 4 MB/s, less what the last tick overshoots


def test_a_command_that_is_not_there():
    with pytest.raises(EnvironmentProblem) as caught:
        run_group(["/no/such/binary"], b"", [], stall_timeout_s=1)
    assert caught.value.code == "s5cmd-missing"


def test_a_trickle_is_no_progress(tmp_path):
    script = f"while :; do printf x >> {tmp_path}/x; sleep 0.05; done".encode()
    assert run_group(["sh"], script, [tmp_path], stall_timeout_s=0.5, min_bytes_s=1000).is_stalled


def test_a_file_that_is_begun_anew_is_progress():
    progress = Progress(window_s=10, min_bytes_s=100)
    sizes = [0, 50_000, 0, 600, 1200, 1800]  # s5cmd threw the first half away
    assert not any(progress.is_stalled(5.0 * tick, size) for tick, size in enumerate(sizes))
    assert progress.is_stalled(5.0 * len(sizes) + 10, 1900)


def test_pauses_of_our_own_are_no_stall():
    progress = Progress(window_s=1, min_bytes_s=100)
    assert not any(progress.is_stalled(float(tick), 0, is_paused=True) for tick in range(10))
    assert not progress.is_stalled(9.5, 0)
    assert progress.is_stalled(10.5, 0)


def test_lines_can_be_read_without_being_kept():
    seen = []
    script = b"for i in 1 2 3; do echo line $i; done; printf tail"
    finished = run_group(["sh"], script, [], stall_timeout_s=20, on_line=seen.append, keeps_lines=False)
    assert seen == [b"line 1", b"line 2", b"line 3"]
    assert finished.stdout == b"tail"


def test_output_has_an_end(monkeypatch):
    monkeypatch.setattr(process, "_MOST_OUTPUT_BYTES", 1 << 20)
    assert run_group(["yes"], b"", [], stall_timeout_s=20).is_overrun


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
@pytest.mark.parametrize("has_setpriv", [True, False])
def test_the_group_dies_with_a_killed_parent(tmp_path, has_setpriv):
    if has_setpriv and not process._has_setpriv():
        pytest.skip("no setpriv")
    log = tmp_path / "log"
    code = (
        "from segtools.objectstore import process\n"
        f"process._has_setpriv = lambda: {has_setpriv}\n"
        f"process.run_group(['sh'], b'exec 3>{log}; while :; do sleep 0.1; done', [], stall_timeout_s=99)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: processes_of(tmp_path))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not processes_of(tmp_path))


@pytest.mark.parametrize("has_setpriv", [True, False])
def test_the_leash_changes_no_answer(monkeypatch, has_setpriv):
    monkeypatch.setattr(process, "_has_setpriv", lambda: has_setpriv)
    finished = run_group(["sh"], b"cat >&2 <<E\nhi\nE\necho out; exit 3", [], stall_timeout_s=20)
    assert (finished.stdout, finished.stderr, finished.returncode) == (b"out\n", b"hi\n", 3)
