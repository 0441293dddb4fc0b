"""What importing costs: told by what it loads, which no noisy machine can change."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "cc3d",
    "cyclopts",
    "duckdb",
    "google",
    "highdicom",
    "jinja2",
    "nibabel",
    "numpy",
    "pandas",
    "PIL",
    "prefect",
    "pyarrow",
    "pydantic",
    "pydicom",
    "rich",
    "sqlglot",
}


def loaded_by(code: str) -> set[str]:
    """Heavy packages that `code` loads in a fresh interpreter."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1])) & HEAVY


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import segtools", set()),
        ("import segtools.dataset.reader", set()),
        ("import flows.cli", {"cyclopts"}),
        ("import segtools.decode", {"numpy"}),
        ("import segtools.select", set()),
        ("import segtools.fetch", set()),
    ],
)
def test_import_loads_only(code: str, allowed: set[str]) -> None:
    assert loaded_by(code) <= allowed


def test_help_imports_no_command() -> None:
    code = "import flows.cli, sys; sys.argv = ['idcseg', '--help']; flows.cli.app(['--help'])"
    assert loaded_by(code) <= {"cyclopts", "rich"}


def test_decode_command_needs_no_prefect() -> None:
    assert not loaded_by("import flows.commands.decode") & {"prefect", "google", "highdicom", "pydicom"}
