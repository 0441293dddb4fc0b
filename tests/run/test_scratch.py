"""The disk budget: shared, never exceeded, never stuck, recovered from the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segtools.errors import FetchError
from segtools.run.scratch import Canceled, Scratch


def test_a_lease_is_a_folder_and_its_bytes(tmp_path):
    scratch = Scratch(tmp_path, 100)
    with scratch.lease() as lease:
        assert lease.folder.parent == tmp_path
        (lease.folder / "x").write_bytes(b"x")
        lease.grow(60)
        lease.grow(40)
        lease.shrink(30)
        assert scratch.used_bytes() == 70
    assert scratch.used_bytes() == 0
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_more_than_the_budget_is_refused_at_once(tmp_path):
    with Scratch(tmp_path, 100).lease() as lease:
        lease.grow(100)
        with pytest.raises(FetchError) as caught:
            lease.grow(101)
        assert caught.value.code == "exceeds-disk-budget"
        assert lease.granted_bytes == 100


def test_waiting_ends_when_bytes_are_given_back(tmp_path):
    scratch = Scratch(tmp_path, 100)
    with scratch.lease() as one, scratch.lease() as two:
        one.grow(80)
        timer = threading.Timer(0.2, one.shrink, [50])
        timer.start()
        two.grow(60)
        assert scratch.used_bytes() == 90
        timer.join()


def test_waiting_can_be_canceled(tmp_path):
    scratch = Scratch(tmp_path, 100)
    cancel = threading.Event()
    with scratch.lease() as one, scratch.lease() as two:
        one.grow(80)
        threading.Timer(0.1, cancel.set).start()
        with pytest.raises(Canceled):
            two.grow(60, cancel)
        two.grow(20)  # and nothing is left locked


def test_a_large_claim_is_not_starved_by_small_ones(tmp_path):
    """Small leases come and go all the time; the large one gets its turn."""
    scratch = Scratch(tmp_path, 100)
    stop = threading.Event()

    def nibble():
        while not stop.is_set():
            with scratch.lease() as lease:
                try:
                    lease.grow(30, stop)
                except Canceled:
                    return
                time.sleep(0.01)

    nibblers = [threading.Thread(target=nibble) for _ in range(4)]
    for nibbler in nibblers:
        nibbler.start()
    try:
        with scratch.lease() as lease:
            lease.grow(100, None)
            assert scratch.used_bytes() == 100
    finally:
        stop.set()
        for nibbler in nibblers:
            nibbler.join()


def test_the_bytes_of_a_killed_process_come_back(tmp_path):
    code = (
        "from pathlib import Path; from segtools.run.scratch import Scratch; import time\n"
        f"with Scratch(Path({str(tmp_path)!r}), 100).lease() as lease:\n"
        "    lease.grow(90); (lease.folder / 'raw.dcm').write_bytes(b'x')\n"
        "    print(1, flush=True); time.sleep(99)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    scratch = Scratch(tmp_path, 100)
    assert scratch.used_bytes() == 90
    assert len(list(tmp_path.glob("*/raw.dcm"))) == 1
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    with scratch.lease() as lease:
        lease.grow(100)
        assert list(tmp_path.glob("*/raw.dcm")) == []


def _churn(folder: Path, seed: int, log: Path) -> None:
    scratch = Scratch(folder, 100)
    for turn in range(15):
        size = 10 + (seed * 37 + turn * 53) % 91
        with scratch.lease() as lease:
            lease.grow(size)
            (lease.folder / "bytes").write_bytes(b"x" * size)
            present = sum(path.stat().st_size for path in folder.glob("*/bytes") if path.exists())
            with log.open("a") as file:
                file.write(f"{os.getpid()} {present}\n")
            (lease.folder / "bytes").unlink()


def test_processes_together_never_exceed_the_budget(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_churn, args=(tmp_path / "scratch", seed, log)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    seen = [line.split() for line in log.read_text().splitlines()]
    assert len(seen) == 45
    assert len({pid for pid, _ in seen}) == 3
    assert max(int(size) for _, size in seen) <= 100
