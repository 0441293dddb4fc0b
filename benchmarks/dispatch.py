"""What a series costs before any work is done: cut, dispatched, answered, recorded durably.

As many no-op series as the largest cohort of IDC has (TotalSegmentator on NLST), through each executor
and into the ledger. The limit is 1 ms per series, and memory of this process that does not grow.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.run.batches import cut
from segtools.run.executor import ExecutorOptions, run_batches
from segtools.run.ledger import Ledger, Outcome
from segtools.series import SelectedSeries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.run.batches import Batch
    from segtools.run.executor import Kind

SERIES = 126_051
KINDS: tuple[Kind, ...] = ("threads", "processes", "dask")


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
    return [{**row, "seconds": round(row["seconds"], 2)} for row in rows]


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
