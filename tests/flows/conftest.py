"""The command line as people run it: real processes, one demo for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from segtools.encode.phantom import write_archive
from segtools.index import build_index
from tests.flows.prefect_server import PrefectServer


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str


def idcseg(*arguments: object, cwd: Path | None = None, **environment: str) -> Ran:
    """Run the command line in a process of its own, with nobody's settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("IDCSEG_", "PREFECT_", "AWS_"))}
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        timeout=600,
        check=False,
    )
    return Ran(result.returncode, result.stdout, result.stderr)


@dataclass(frozen=True)
class Demo:
    """What `idcseg demo` left, and what it said."""

    folder: Path
    ran: Ran

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once, as the production flow on a Prefect server of its own."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return Demo(folder, idcseg("demo", "-o", folder))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server on loopback with a home of its own; the tests that use it share one xdist group."""
    with PrefectServer.started(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of a phantom archive of 12 series on this disk; one file is broken."""
    folder = tmp_path_factory.mktemp("phantom")
    write_archive(folder / "archive")
    build_index(folder / "archive", folder / "index")
    return folder / "index"
