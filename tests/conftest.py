"""Shared by all tests: offline, quiet, and nothing of the user's own settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

CHECKOUT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="run the tests that talk to the internet")


SAMPLE = 8
"""Cases of one test function that the short tier runs; the long tier runs the others."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _sample_families(items)
    if not config.getoption("--live"):
        skip = pytest.mark.skip(reason="needs --live")
        for item in items:
            if "live" in item.keywords:
                item.add_marker(skip)


def _sample_families(items: list[pytest.Item]) -> None:
    """Mark as slow all but an even spread of the cases of each large parametrized test."""
    families: dict[str, list[pytest.Item]] = {}
    for item in items:
        families.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for family in families.values():
        if len(family) > SAMPLE:
            kept = {round(n * (len(family) - 1) / (SAMPLE - 1)) for n in range(SAMPLE)}
            for number, item in enumerate(family):
                if number not in kept:
                    item.add_marker("slow")


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, and no setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("IDCSEG_", "AWS_", "GOOGLE_", "BIGQUERY_")) and name not in {
            "IDCSEG_REAL_DATA",
            "IDCSEG_SHARED_DATA",
            "IDCSEG_BQEMULATOR_PYTHON",
        }:
            monkeypatch.delenv(name)
    monkeypatch.setenv("DO_NOT_TRACK", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real SEG files with `reference.json`; skips where there is none."""
    named = os.environ.get("IDCSEG_REAL_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data" / "seg"
    if not (folder / "reference.json").is_file():
        pytest.skip("no folder of real SEG files (IDCSEG_REAL_DATA)")
    return folder
