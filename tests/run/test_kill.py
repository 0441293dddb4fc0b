"""Killed anywhere, or with a disk that fails at any call: running again gives the undisturbed bytes.

A few kills and failures in the short tier; IDCSEG_KILLS sets how many kills there are in the long one
(default 50; above that every call fails in turn).
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import time

import pytest

import segtools
from flows.s3_endpoint import serve_folder
from segtools.errors import DatasetError
from tests.run.whole import (
    KILLED,
    Steps,
    complete,
    content,
    ended,
    in_child,
    kill,
    make_place,
)

KILLS = int(os.environ.get("IDCSEG_KILLS", "50"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def goal(place):
    """The undisturbed dataset, and the seconds it takes when everything is imported."""
    complete(place.run(place.root / "warm"))
    start = time.monotonic()
    complete(place.run(place.root / "goal"))
    return content(place.root / "goal"), time.monotonic() - start


def reads_or_says_so(dataset):
    """The dataset is whole as its dataset.json says, absent, or says that a commit was cut short."""
    manifest = dataset / "dataset.json"
    if not manifest.exists():
        return True
    try:
        with segtools.open(dataset) as opened:
            rows = json.loads(manifest.read_bytes())["tables"]["segments"]["rows"]
            return opened.segments().num_rows == rows
    except DatasetError as error:
        return error.code == "dataset-invalid"


def killed_at(run, step, log):
    """Run in a child that kills its process group at its `step`-th call; whether it came to that."""

    def action():
        Steps(step, lambda: os.killpg(0, signal.SIGKILL)).install()
        complete(run)

    code = ended(in_child(action, log))
    assert code in (0, KILLED), log.read_text()
    return code == KILLED


def killed_after(run, seconds, log, *, only_the_flow=False):
    """Run in a child that is killed after some time, with all it started unless `only_the_flow`."""
    child = in_child(lambda: complete(run), log)
    time.sleep(seconds)
    if only_the_flow:
        os.kill(child, signal.SIGKILL)
    else:
        kill(child)
    code = ended(child)
    assert code in (0, KILLED), log.read_text()
    return code == KILLED


def steps_of(run, log):
    """The number of calls an undisturbed run makes."""
    steps = Steps(None, lambda: None)

    def action():
        steps.install()
        complete(run)
        print(f"steps {steps.count}", flush=True)

    assert ended(in_child(action, log)) == 0, log.read_text()
    return int(log.read_text().rpartition("steps ")[2])


@pytest.mark.parametrize(
    ("wanted", "seed"), [(5, 3), pytest.param(KILLS, 20_26, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_killed_at_random_points(place, goal, tmp_path, wanted, seed):
    """Again and again, one dataset after the other, at random times and at random calls."""
    expected, seconds = goal
    log = tmp_path / "log"
    calls = steps_of(place.run(tmp_path / "counted"), log)
    dice = random.Random(seed)
    kills = datasets = 0
    while kills < wanted:
        dataset = tmp_path / f"dataset-{datasets}"
        for _ in range(dice.randint(1, 8)):
            run = place.run(dataset, kind=dice.choice(("serial", "serial", "threads")))
            if dice.random() < 0.5:
                was_killed = killed_at(run, dice.randint(1, calls), log)
            else:
                was_killed = killed_after(run, dice.uniform(0, seconds), log)
            assert reads_or_says_so(dataset)
            if not was_killed:
                break
            kills += 1
        complete(place.run(dataset))
        assert content(dataset) == expected
        shutil.rmtree(dataset)
        datasets += 1
    assert datasets


@pytest.mark.parametrize("tries", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_killed_with_worker_processes(place, goal, tmp_path, tries):
    """The flow alone, whose workers must then end by themselves; or all of them."""
    expected, _ = goal
    dice = random.Random(7)
    dataset = tmp_path / "dataset"
    kills = 0
    for number in range(tries):
        run = place.run(dataset, kind="processes")
        alone = number % 2 == 0
        kills += killed_after(run, dice.uniform(0.2, 2.5), tmp_path / "log", only_the_flow=alone)
    complete(place.run(dataset, kind="processes"))
    assert content(dataset) == expected
    assert kills


@pytest.mark.parametrize("tries", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_while_s5cmd_transfers(tmp_path, tries):
    """From an S3 endpoint: the flow, its workers and s5cmd die together, or the flow alone."""
    place = make_place(tmp_path, url_base="s3://")
    dice = random.Random(11)
    with serve_folder(place.archive) as endpoint:
        complete(place.run(tmp_path / "goal", endpoint=endpoint))
        expected = content(tmp_path / "goal")
        dataset, kills = tmp_path / "dataset", 0
        for number in range(tries):
            kind = "processes" if number == 3 else "threads"
            run = place.run(dataset, kind=kind, endpoint=endpoint)
            alone = number % 2 == 0
            kills += killed_after(run, dice.uniform(0.3, 1.2), tmp_path / "log", only_the_flow=alone)
        complete(place.run(dataset, endpoint=endpoint))
    assert content(dataset) == expected
    assert kills


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("points", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_every_call_fails_in_turn(place, goal, tmp_path, error, points):
    """A failing write, fsync or rename is an error with a code, never data, and the next run completes."""
    expected, _ = goal
    calls = steps_of(place.run(tmp_path / "counted"), tmp_path / "log")
    # All of them take minutes: some by default, from another start for each error.
    stride = 1 if KILLS > 50 and points > 4 else max(1, calls // points)
    seen = set()
    for step in range(1 + error % stride, calls + 1, stride):
        dataset, log = tmp_path / f"dataset-{step}", tmp_path / f"log-{step}"
        code = ended(
            in_child(lambda step=step, dataset=dataset: failing(place.run(dataset), step, error), log)
        )
        said = log.read_text()
        call = re.findall(r"^at (\S+)$", said, re.MULTILINE)[0]
        # What cannot be removed need not end a run: it is removed by the next one.
        assert code == 4 or (call in ("unlink", "rmdir") and code == 0), f"step {step}: {code}: {said}"
        seen.add(call)
        assert reads_or_says_so(dataset)
        complete(place.run(dataset))
        assert content(dataset) == expected
        shutil.rmtree(dataset)
    assert len(seen) > 1
    assert points == 4 or {"file.write", "fsync", "replace"} <= seen


def failing(run, step, number):
    """Run with the disk failing at the `step`-th call, and from then on if it is full."""
    steps = Steps(step, lambda: None)

    def fail():
        print(f"at {steps.last}", flush=True)
        raise OSError(number, os.strerror(number))

    steps.happen = fail
    steps.install()
    complete(run)
