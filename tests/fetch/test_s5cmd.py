"""The s5cmd binary: found, quoted to, ended with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.s3_endpoint import serve_folder
from segtools.errors import EnvironmentProblem
from segtools.fetch.transfer import fetch_batch
from segtools.objectstore.process import run_group
from segtools.objectstore.s5cmd import FetchOptions, S5cmd, binary
from segtools.objectstore.s5cmd_errors import classify


def _processes_of(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`, or which have a file open below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(str(folder)) for link in links) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def _until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_the_binary_is_no_python_wrapper():
    assert binary().read_bytes()[:4] in (b"\x7fELF", b"\xcf\xfa\xed\xfe")


def test_it_works_with_somebody_elses_server(tmp_path, select):
    one = select("one")
    served = tmp_path / "served"
    (served / "bucket" / "one").mkdir(parents=True)
    (served / "bucket" / "one" / "a.dcm").write_bytes(b"A" * 5000)
    with serve_folder(served) as endpoint:
        there = FetchOptions(endpoint=endpoint)
        listed = replace(one, objects=())
        missing = replace(listed, series_url="s3://bucket/none/")
        elsewhere = replace(listed, series_url="s3://no-bucket/one/")
        fetched = fetch_batch([one, listed, missing, elsewhere], tmp_path / "out", there)
    codes = [each.error and each.error.code for each in fetched]
    assert codes == [None, None, "object-missing", "bucket-missing"]
    assert fetched[0].md5s == fetched[1].md5s == (one.objects[0].md5,)
    with pytest.raises(EnvironmentProblem, match="refused"):  # it is gone with the block
        fetch_batch([one], tmp_path / "out", replace(there, retries=0, backoff_s=0.01))


def test_a_line_that_s5cmd_does_not_understand_is_no_success(options, tmp_path):
    """What is not accounted for has failed, whatever the exit code."""
    finished = S5cmd(options)._run(["s3://bucket/one/a.dcm"])
    error = S5cmd(options)._unaccounted(finished, "s3://bucket/one/a.dcm")
    assert error.code == "transfer-failed"
    assert "no account" in error.message


def test_cancel_ends_a_transfer_at_once(s3, options, select, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["stall"] * 9
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    start = time.monotonic()
    (fetched,) = fetch_batch([select("large")], tmp_path, options, cancel)
    assert time.monotonic() - start < options.stall_timeout_s
    assert "canceled" in fetched.error.message
    assert _processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is the Linux kernel's")
def test_s5cmd_dies_with_a_killed_parent(s3, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["stall"] * 9
    code = (
        "from pathlib import Path; from segtools.objectstore.s5cmd import *;"
        f"S5cmd(FetchOptions(endpoint={s3.url!r})).copy("
        f"[('s3://bucket/large/d.dcm', Path({str(tmp_path / 'd.dcm')!r}))])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    _until(lambda: _processes_of(tmp_path))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not _processes_of(tmp_path))
    assert not (tmp_path / "d.dcm").exists()


def test_the_whole_group_is_killed(tmp_path):
    """Also what the child itself started."""
    log = tmp_path / "log"
    script = f"exec 3>{log}; sleep 100 & sleep 100; wait".encode()
    finished = run_group(["sh"], script, [], stall_timeout_s=0.3)
    assert finished.is_stalled
    assert finished.returncode is None
    _until(lambda: not _processes_of(tmp_path))


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("write /scratch/x.dcm123: no space left on device", "disk-full"),
        ("open /scratch/x.dcm: read-only file system", "write-failed"),
        ("dial tcp: lookup s3.amazonaws.com on 10.0.0.1:53: no such host", "network-unavailable"),
        ("dial tcp 52.1.2.3:443: i/o timeout", "network-unavailable"),
        ("read tcp 10.0.0.2:5000->52.1.2.3:443: i/o timeout", "transfer-failed"),
        ("read: connection reset by peer", "transfer-failed"),
        ("unexpected EOF", "transfer-failed"),
        ("SlowDown: Please reduce your request rate. status code: 503", "throttled"),
        ("RequestTimeTooSkewed: … status code: 403, request id: X", "access-denied"),
        ("NoSuchBucket: The specified bucket does not exist status code: 404", "bucket-missing"),
        ("NoSuchKey: The specified key does not exist. status code: 404", "object-missing"),
    ],
)
def test_what_error_texts_mean(text, code):
    error = classify(text, "s3://bucket/key")
    assert error.code == code
    assert error.message.startswith("s3://bucket/key: ")


def test_a_full_disk_ends_the_run_not_the_series(s3, tmp_path):
    """A file size limit stands in for a full disk: both stop s5cmd's write half-way."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from pathlib import Path\n"
        "from segtools.objectstore.s5cmd import FetchOptions\n"
        "from segtools.fetch.transfer import fetch_batch\n"
        "from segtools.series import SelectedSeries\n"
        "series = SelectedSeries('c', 'p', 's', 'u', 'v', 's3://bucket/large/', 3_072_000, 1)\n"
        "try:\n"
        f"    fetch_batch([series], Path({str(tmp_path)!r}), FetchOptions(endpoint={s3.url!r}))\n"
        "except OSError as error:\n"
        "    print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("disk-full\n", "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
