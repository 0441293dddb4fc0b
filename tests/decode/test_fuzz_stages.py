"""Damaged files through index, read, verify, measure and write: a few here, more in the long tier.

`python -m tests.decode.fuzz_stages --inputs 1000000` runs a million of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.decode.fuzz_stages import GROWTH_BYTES, SECONDS, STAGES

ROOT = Path(__file__).parents[2]


def fuzzed(inputs: int, seed: int, *options: str) -> dict[str, Any]:
    """What came of it, in a process of its own that the inputs could bring down."""
    command = [sys.executable, "-m", "tests.decode.fuzz_stages", "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def holds(summary: dict[str, Any], inputs: int) -> None:
    """No stage let a foreign exception through, ran on, or grew."""
    assert summary["inputs"] == inputs
    assert summary["kinds"] == {}
    assert all(seconds < SECONDS for seconds in summary["slowest_s"].values())
    assert summary["peak_bytes"] < GROWTH_BYTES
    for stage in STAGES:  # damage that nothing survives would prove nothing
        assert summary["outcomes"][stage]["done"] > inputs // 20, stage


@pytest.mark.parametrize("options", [[], ["--slim"]], ids=["all kinds", "small"])
def test_some(options: list[str]) -> None:
    holds(fuzzed(400, 11, *options), 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [21, 22])
def test_many(seed: int) -> None:
    holds(fuzzed(10_000, seed), 10_000)
