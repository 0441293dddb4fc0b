"""What a series costs before any work is done: cut, dispatched, answered, recorded durably.

As many no-op series as the largest cohort of IDC has (TotalSegmentator on NLST), through each executor
and into the ledger. The limit is 1 ms per series, and memory of this process that does not grow. Then a
whole run of 100,000 series whose files are nothing: selected, planned, staged, committed, checked and
reported, within ten minutes; and once more, when nothing is new.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.dataset.home import FolderHome
from segtools.dataset.stage import Stage, part_id
from segtools.run.batches import cut
from segtools.run.cohort import CohortRun, RunConfig
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from segtools.run.ledger import Ledger, Outcome
from segtools.run.pipeline import PipelineOptions
from segtools.run.process import process_series
from segtools.run.worker import stage_part
from segtools.schema import IDC_INSTANCES, IDC_SEGMENTATIONS, IDC_SERIES
from segtools.select import LocalEngine, Sources
from segtools.select.cohort_file import parse_spec
from segtools.series import FetchedSeries, SelectedSeries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.dataset.layout import Layout
    from segtools.run.batches import Batch
    from segtools.run.executors.base import Kind
    from segtools.run.process import Job

SERIES = 126_051
KINDS: tuple[Kind, ...] = ("threads", "processes", "dask")
RUN_SERIES = 100_000
_COHORT = "collections: [made-up]\nsource: {idc: false}\n"
_WHOLE = "import sys; from benchmarks.dispatch import whole_run; whole_run(sys.argv[1])"


def run() -> list[dict[str, Any]]:
    """Time each executor, then reading the ledger back and compacting it."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        for kind in KINDS:
            folder = Path(made) / kind
            rows.append(_dispatched(kind, folder))
        start = time.perf_counter()
        with Ledger(folder) as ledger:
            count = ledger.compact()
        rows.append({"what": f"compact a ledger of {count:,}", "seconds": time.perf_counter() - start})
        _write_index(Path(made) / "index")
        rows += [_whole(Path(made), what) for what in ("whole run", "run with nothing new")]
    return [{**row, "seconds": round(row["seconds"], 2)} for row in rows]


def _whole(folder: Path, what: str) -> dict[str, Any]:
    start = time.perf_counter()
    command = [sys.executable, "-c", _WHOLE, str(folder)]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True
    )
    return {
        "what": f"{what} of {RUN_SERIES:,} no-op series",
        "seconds": time.perf_counter() - start,
        "limit": "600 s",
        "note": ended.stdout.strip(),
    }


def whole_run(folder: str) -> None:
    """Run all stages on the made-up index; the highest memory after each one to stdout."""
    root = Path(folder)
    spec = parse_spec(_COHORT, "made-up")
    sources = Sources.of(spec, indexes=(root / "index",))
    config = RunConfig(sources, LocalEngine(), PipelineOptions(root / "scratch"))
    peaks = []
    home = FolderHome(root / "dataset")
    with CohortRun(spec, _COHORT, home, config) as run, Ledger(run.layout.ledger) as ledger:
        pending = run.plan()
        peaks.append(("selected", _peak_mb()))
        for completed in run_batches(
            _Staging(run.job, run.layout), cut(pending), ExecutorOptions("processes", 2)
        ):
            if completed.error is not None:
                raise completed.error
            ledger.append(completed.result or [])
        peaks.append(("processed", _peak_mb()))
        for stage in (run.commit, run.check, run.report):
            stage()
            peaks.append((stage.__name__, _peak_mb()))
    sys.stdout.write("peak MB: " + ", ".join(f"{name} {peak:.0f}" for name, peak in peaks))


class _Staging:
    """A worker that finds no files, and stages the rows that say so."""

    def __init__(self, job: Job, layout: Layout) -> None:
        self.job, self.layout = job, layout

    def __call__(self, batch: Batch) -> list[Outcome]:
        stage = Stage(self.layout)
        done = [process_series(FetchedSeries(one), self.job, stage) for one in batch.series]
        stage_part(stage, part_id(self.job.run, batch.id), done)
        return [one.outcome for one in done]


def _write_index(folder: Path) -> None:
    """An index of `RUN_SERIES` segmentations, as `idcseg index` would write it."""
    folder.mkdir()
    numbers = range(RUN_SERIES)
    uids = [f"1.2.276.0.7230010.3.1.3.313263360.{n}.{n * 7919}" for n in numbers]
    known = {
        "collection_id": ["made-up"] * RUN_SERIES,
        "PatientID": [f"{n // 5}" for n in numbers],
        "StudyInstanceUID": [f"{uid}.1" for uid in uids],
        "SeriesInstanceUID": uids,
        "crdc_series_uuid": [f"{n:08x}-0000-4000-8000-000000000000" for n in numbers],
        "Modality": ["SEG"] * RUN_SERIES,
        "SOPClassUID": ["1.2.840.10008.5.1.4.1.1.66.4"] * RUN_SERIES,
        "series_aws_url": [f"s3://made-up/{n:08x}/" for n in numbers],
        "series_size_bytes": [10_000_000] * RUN_SERIES,
        "instance_count": [1] * RUN_SERIES,
    }
    columns = [pa.array(known.get(c.name, [None] * RUN_SERIES), c.type) for c in IDC_SERIES.columns]
    pq.write_table(pa.table(columns, schema=IDC_SERIES.arrow), folder / "series_index.parquet")
    for table in (IDC_SEGMENTATIONS, IDC_INSTANCES):
        pq.write_table(table.empty(), folder / f"{table.name}.parquet")


def _dispatched(kind: Kind, folder: Path) -> dict[str, Any]:
    before = _peak_mb()
    count = 0
    start = time.perf_counter()
    with Ledger(folder) as ledger:
        for completed in run_batches(no_op, cut(_table()), ExecutorOptions(kind, workers=2)):
            if completed.error is not None:
                raise completed.error
            outcomes = completed.result or []
            ledger.append(outcomes)
            count += len(outcomes)
    seconds = time.perf_counter() - start
    if count != SERIES:
        raise AssertionError(f"{kind}: {count} of {SERIES} series came back")
    return {
        "what": f"dispatch {SERIES:,} no-op series",
        "who": kind,
        "seconds": seconds,
        "limit": f"{SERIES / 1000:.0f} s",
        "own_mb": round(_peak_mb() - before, 1),
        "note": f"{1000 * seconds / SERIES:.3f} ms per series",
    }


def no_op(batch: Batch) -> list[Outcome]:
    """Outcomes without work."""
    return [Outcome(one.seg_series_uid, one.crdc_series_uuid, "0" * 16, "ok") for one in batch.series]


def _table() -> Iterator[SelectedSeries]:
    for n in range(SERIES):
        uid = f"1.2.276.0.7230010.3.1.3.313263360.{n}.{n * 7919}"
        uuid = f"{n:08x}-0000-4000-8000-000000000000"
        yield SelectedSeries(
            "nlst", f"{n // 5}", f"{uid}.1", uid, uuid, f"s3://idc-open-data/{uuid}/", 10_000_000, 1
        )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
