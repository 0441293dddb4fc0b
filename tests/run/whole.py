"""Whole runs on a tiny archive: made, run, killed, made to fail."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.run_factory import run_stages
from segtools.dataset.home import FolderHome
from segtools.dataset.pages import REPLACED_PAGES
from segtools.errors import EnvironmentProblem, WriteError
from segtools.index import build_index
from segtools.objectstore.s5cmd import FetchOptions
from segtools.run.cohort import CohortRun, RunConfig
from segtools.run.executors.base import ExecutorOptions
from segtools.run.pipeline import PipelineOptions
from segtools.run.status import read_status
from segtools.select import LocalEngine, Sources
from segtools.select.cohort_file import parse_spec
from tests.factories.seg import SegFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    from segtools.dataset.home import Home
    from segtools.report.summary import Summary
    from segtools.run.executors.base import Kind
    from segtools.run.status import Status

COHORT = "collections: [tiny]\nsource: {idc: false}\n"
KILLED = -signal.SIGKILL
STRANGE = 77
"""Exit code of a child whose run raised what is none of our errors."""


@dataclass(frozen=True)
class Place:
    """An archive, its index, and where datasets and raw files go."""

    root: Path

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def index(self) -> Path:
        return self.root / "index"

    def file(self, number: int) -> Path:
        """The only object of series `number`."""
        return self.archive / "tiny-bucket" / f"{number:02d}" / "one.dcm"

    def series(self, number: int, *, seed: int = 0, keep: float = 1.0) -> Path:
        """Write series `number`, anew with another `seed`; of the file only the first part `keep`."""
        labels = np.zeros((3, 6, 7), np.uint8)
        labels[1, 1:4, 1:5], labels[2, 4:, 5:] = 1, 2
        labels[np.random.default_rng((number, seed)).integers(0, 2, labels.shape) > 0] = 0
        labels[0, 0, 0] = 1 + (labels[1, 1, 1] == 1)

        def identify(ds: Dataset) -> None:
            ds.PatientID = f"P{number % 3}"
            ds.SeriesInstanceUID, ds.SOPInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"

        masks = {1: labels == 1, 2: labels == 2}
        content = SegFactory.of_masks(masks, empty=True, edit=identify).build()
        path = self.file(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[: round(len(content) * keep)])
        return path

    def reindex(self, url_base: str | None = None) -> None:
        """Index what is there now."""
        build_index(self.archive, self.index, collection="tiny", url_base=url_base, workers=1)

    def run(
        self,
        dataset: Path | Home,
        *,
        kind: Kind = "serial",
        cohort: str = COHORT,
        endpoint: str | None = None,
        retry: tuple[str, ...] = (),
        **changes: Any,
    ) -> CohortRun:
        """A run that is ready to be entered."""
        spec = parse_spec(cohort, "tiny")
        config = RunConfig(
            sources=Sources.of(spec, indexes=(self.index,)),
            engine=LocalEngine(),
            pipeline=PipelineOptions(self.root / "scratch"),
            fetch=FetchOptions(endpoint=endpoint, attempts=2, backoff_s=0.01),
            executor=ExecutorOptions(kind, workers=2),
            batch_series=2,
            grace=timedelta(0),
        )
        home = FolderHome(dataset) if isinstance(dataset, Path) else dataset
        return CohortRun(spec, cohort, home, replace(config, **changes), retry)


def make_place(root: Path, count: int = 5, url_base: str | None = None) -> Place:
    """An archive of `count` series, the last one cut short, and its index."""
    place = Place(root)
    for number in range(count):
        place.series(number, keep=0.97 if number == count - 1 else 1.0)
    place.reindex(url_base)
    return place


def content(dataset: Path) -> dict[str, str]:
    """SHA-256 of every file that is part of the dataset: all but the records of runs, and the lock."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*"))
        if path.is_file()
        and not (name := path.relative_to(dataset).as_posix()).startswith(("runs/", ".lock", REPLACED_PAGES))
    }


def status_of(dataset: Path) -> Status:
    """Where a dataset stands."""
    return read_status(FolderHome(dataset), nullcontext)


def in_child(action: Callable[[], object], log: Path) -> int:
    """Start `action` in a process group of its own; its process id."""
    child = os.fork()
    if child:
        return child
    status = STRANGE
    try:
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
        action()
        status = 0
    except (WriteError, EnvironmentProblem) as error:
        traceback.print_exc()
        status = error.exit_code
    except BaseException:  # noqa: BLE001 - nothing of this process may go on as a second pytest
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child: int) -> int:
    """Exit code of a child, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def descendants(pid: int) -> list[int]:
    """A process and all below it, s5cmd with its own group too."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill(pid: int) -> None:
    """SIGKILL a process and all below it."""
    for one in descendants(pid):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


class Steps:
    """Counts the calls that change a disk, in this process; something happens at one of them.

    The writes of `segtools.files.replacing` are counted under their buffer.
    """

    NAMES = ("write", "pwrite", "fsync", "replace", "ftruncate", "unlink")

    def __init__(self, at: int | None, happen: Callable[[], None]) -> None:
        self.at, self.happen = at, happen
        self.count = 0
        self.last = ""

    def step(self, name: str) -> None:
        """One call is about to be made."""
        self.count += 1
        self.last = name
        if self.count == self.at:
            self.happen()

    def install(self) -> None:
        """Hook the calls; for good, so only in a child."""
        for name in self.NAMES:
            setattr(os, name, self._counted(name, getattr(os, name)))
        steps, real = self, Path.open

        class Raw(io.FileIO):
            def write(self, data: Any, /) -> int:
                steps.step("file.write")
                return super().write(data)

        def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            if mode == "xb":
                return io.BufferedWriter(Raw(path, "xb"))
            return real(path, mode, *args, **options)

        Path.open = opened  # type: ignore[method-assign, assignment]

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            self.step(name)
            return call(*args, **options)

        return wrapper


def complete(run: CohortRun) -> Summary:
    """All stages in order, as `idcseg run --direct`."""
    return run_stages(run)
