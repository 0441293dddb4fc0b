"""Hostile files are refused at once, with a code, in memory bounded by their own size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.factories.hostile import LIMIT_CONSTANT, LIMIT_FACTOR, Hostile, hostile_files

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What each hostile file led to, all read in one process that they could bring down."""
    command = [sys.executable, "-m", "tests.decode.hostile_target"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died behind {records[-1:]}: {done.stderr[-2000:]}"
    return {record["id"]: record for record in records}


@pytest.mark.parametrize("hostile", hostile_files(), ids=lambda hostile: hostile.id)
def test_refused_with_a_code(hostile: Hostile, outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes[hostile.id]["outcome"] in hostile.codes


@pytest.mark.parametrize("hostile", hostile_files(), ids=lambda hostile: hostile.id)
def test_memory_is_bounded_by_the_file(hostile: Hostile, outcomes: dict[str, dict[str, Any]]) -> None:
    record = outcomes[hostile.id]
    assert record["growth"] <= LIMIT_FACTOR * record["bytes"] + LIMIT_CONSTANT


@pytest.mark.parametrize("hostile", hostile_files(), ids=lambda hostile: hostile.id)
def test_time_is_bounded_by_the_file(hostile: Hostile, outcomes: dict[str, dict[str, Any]]) -> None:
    """Against the slowest sound file of the same process: a runaway took hundreds of times as long."""
    record, sound = outcomes[hostile.id], outcomes["sound"]
    per_byte = sound["seconds"] / sound["bytes"]
    assert record["seconds"] < 50 * max(sound["seconds"], per_byte * record["bytes"])
