"""Whatever the bytes are: a volume within its own claims, or a `SegError`. Nothing else, ever.

Mutations by a seeded generator run always; atheris (coverage-guided, group `oracle`) where installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.decode.fuzz_target import check_one, corpus

ROOT = Path(__file__).parents[2]
ROUNDS = 60
INTERESTING = (0, 1, 2, 7, 8, 16, 127, 128, 254, 255)
SEEDS = corpus()


@pytest.mark.parametrize("name", SEEDS)
def test_random_damage(name: str) -> None:
    seed = SEEDS[name]
    rng = np.random.default_rng(list(name.encode()))
    for _ in range(ROUNDS):
        check_one(damaged(seed, rng))


def damaged(seed: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes replaced, a stretch removed, repeated or cut off."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(132, len(data)))
        data[at] = int(rng.choice(INTERESTING)) if rng.random() < 0.5 else int(rng.integers(256))
    kind = rng.random()
    start = int(rng.integers(132, len(data)))
    end = min(len(data), start + int(rng.integers(1, 64)))
    if kind < 0.15:
        del data[start:end]
    elif kind < 0.3:
        data[start:start] = data[start:end]
    elif kind < 0.4:
        del data[start:]
    return bytes(data)


@pytest.mark.parametrize("name", SEEDS)
def test_every_ending(name: str) -> None:
    """Cut off anywhere."""
    seed = SEEDS[name]
    for size in np.linspace(0, len(seed) - 1, 40).astype(int):
        check_one(seed[: int(size)])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_chosen_damage(name: str, data: st.DataObject) -> None:
    """Hypothesis chooses where and what, so that a failure is shrunk to few bytes."""
    mutant = bytearray(SEEDS[name])
    places = st.tuples(st.integers(132, len(mutant) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(places, min_size=1, max_size=4)):
        mutant[at] = value
    check_one(bytes(mutant))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check_one(data)
    check_one(b"\0" * 128 + b"DICM" + data)


@pytest.mark.slow
@pytest.mark.oracle
def test_coverage_guided() -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    command = [sys.executable, "-m", "tests.decode.fuzz_target", "-max_total_time=15", "-seed=7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr, done.stderr[-3000:]
