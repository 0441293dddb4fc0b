"""The ledger: torn, zeroed, killed, full, shared, compacted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from segtools.errors import DatasetError, EnvironmentProblem
from segtools.run.ledger import Ledger, latest


def test_what_was_appended_is_read_back(tmp_path, outcome):
    failed = outcome(2, status="failed", error_code="truncated", error_message='ä\n"x"', segment_count=None)
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(1, bytes_in=2**40, seconds_fetch=0.25, part="p-1"), failed])
        assert ledger.latest() == {
            "1.2.1": outcome(1, bytes_in=2**40, seconds_fetch=0.25, part="p-1"),
            "1.2.2": failed,
        }


def test_nothing_yet(tmp_path):
    assert latest(tmp_path / "none") == {}


def test_the_last_record_of_a_series_counts(tmp_path, outcome):
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(1, status="failed"), outcome(1, attempts=2)])
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(1, attempts=3)])
        assert ledger.latest() == {"1.2.1": outcome(1, attempts=3)}


def test_a_later_run_under_another_name_wins(tmp_path, outcome):
    """By the number of the opening: file names and clocks have no say."""
    for number, name in enumerate(("shard-9", "shard-1", "shard-5")):
        with Ledger(tmp_path, name) as ledger:
            ledger.append([outcome(1, attempts=number)])
    assert latest(tmp_path)["1.2.1"].attempts == 2


def test_every_cut_of_the_file_costs_only_the_torn_record(tmp_path, outcome):
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(n) for n in range(2)])
    whole = ledger.path.read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]
    edges = {n for end in (0, *ends) for n in range(end - 2, end + 4) if 0 <= n <= len(whole)}
    for length in sorted(edges | set(range(0, len(whole), 17))):
        ledger.path.write_bytes(whole[:length])
        complete = sum(end < length for end in ends)
        assert len(latest(tmp_path)) == complete
        with Ledger(tmp_path) as again:
            again.append([outcome(9)])
            assert set(again.latest()) == {*(f"1.2.{n}" for n in range(complete)), "1.2.9"}


@pytest.mark.parametrize(
    "junk", [b"\0" * 300 + b"\n", b"{}\n", b"[1]\n", b'{"epoch":', b"\xff\xfe\n", b"nan\n"]
)
def test_damage_in_the_middle_costs_only_its_records(tmp_path, outcome, junk):
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(1), outcome(2), outcome(3)])
    first, second, third = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(first + junk + (b"" if junk.endswith(b"\n") else b"\n") + third)
    assert set(latest(tmp_path)) == {"1.2.1", "1.2.3"}
    assert len(second) > 0


def test_fields_of_a_later_version_are_ignored(tmp_path, outcome):
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(1)])
    record = json.loads(ledger.path.read_text()) | {"color": "red"}
    ledger.path.write_text(json.dumps(record) + "\n")
    assert latest(tmp_path) == {"1.2.1": outcome(1)}


def test_one_writer_per_name(tmp_path):
    with Ledger(tmp_path):
        with pytest.raises(DatasetError) as caught:
            Ledger(tmp_path)
        assert caught.value.code == "dataset-locked"
        Ledger(tmp_path, "other").close()
    Ledger(tmp_path).close()


def test_a_killed_writer_leaves_its_records_and_no_lock(tmp_path, outcome):
    code = (
        "from pathlib import Path; from segtools.run.ledger import *\n"
        f"ledger = Ledger(Path({str(tmp_path)!r})); n = 0\n"
        "while True:\n"
        "    ledger.append([Outcome(f'1.2.{n}', 'u', 'abc', 'ok')]); print(n, flush=True); n += 1\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(20)][-1]
    writer.send_signal(signal.SIGKILL)
    told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait()
    writer.stdout.close()
    with Ledger(tmp_path) as ledger:
        assert {f"1.2.{n}" for n in range(told + 1)} <= set(ledger.latest())


def test_a_write_that_ends_half_way_leaves_whole_records(tmp_path):
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "from pathlib import Path; from segtools.run.ledger import *\n"
        f"ledger = Ledger(Path({str(tmp_path)!r}))\n"
        "ledger.append([Outcome('1.2.1', 'u', 'abc', 'ok')])\n"
        "try: ledger.append([Outcome(f'1.3.{n}', 'u', 'abc', 'ok') for n in range(100)])\n"
        "except OSError as error: print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("write-failed\n", "")
    assert set(latest(tmp_path)) == {"1.2.1"}
    assert (tmp_path / "main.jsonl").read_bytes().count(b"\n") == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Cannot write") as caught:
        Ledger(tmp_path / "file" / "ledger")
    assert caught.value.code == "write-failed"
    assert not isinstance(caught.value, EnvironmentProblem)


def test_compaction_keeps_the_latest_and_takes_more(tmp_path, outcome):
    for name in ("shard-1", "shard-2"):
        with Ledger(tmp_path, name) as ledger:
            ledger.append([outcome(n, part=name) for n in range(5)])
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(4, part="main")])
        before = ledger.latest()
        assert ledger.compact() == 5
        assert ledger.latest() == before
        ledger.append([outcome(0, part="after")])
        assert ledger.latest() == before | {"1.2.0": outcome(0, part="after")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compacted.jsonl", "main.jsonl"]
    assert (tmp_path / "compacted.jsonl").read_bytes().count(b"\n") == 5


def test_a_compaction_that_was_killed_half_way_loses_nothing(tmp_path, outcome, monkeypatch):
    with Ledger(tmp_path, "shard-1") as shard:
        shard.append([outcome(1), outcome(2)])
    with Ledger(tmp_path) as ledger:
        ledger.append([outcome(2, attempts=5)])
        before = ledger.latest()
        monkeypatch.setattr("pathlib.Path.unlink", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ledger.compact()
        monkeypatch.undo()
    with Ledger(tmp_path) as ledger:
        assert ledger.latest() == before
        ledger.append([outcome(1, attempts=9)])
        assert ledger.latest() == before | {"1.2.1": outcome(1, attempts=9)}
