"""The commit: staged parts of many series become one catalog.

Parts as a run of TotalSegmentator on NLST stages them (64 series of 75 segments), made up here; then the
commit in a process of its own, its time and its highest memory. `python -m benchmarks.commit 10000000`
does as many segment rows as the largest cohort has; the limits are 3 minutes and 4 GB for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.dataset.pages import find_all
from segtools.dataset.place import FolderPlace
from segtools.dataset.stage import part_id, read_table, staged
from segtools.dataset.verify import verify
from segtools.schema import (
    DATASET_TABLES,
    FILES,
    FINDINGS,
    SEGMENTS,
    SELECTION,
    SERIES,
    Table,
)

ROWS = 1_000_000
LIMIT_ROWS, LIMIT_S, LIMIT_MB = 10_000_000, 180, 4000
SERIES_PER_PART, SEGMENTS_PER_SERIES = 64, 75
_COMMIT = "import sys; from benchmarks.commit import commit; commit(sys.argv[1])"


def run(rows: int = ROWS) -> list[dict[str, Any]]:
    """Time a first commit of `rows` segment rows, and one on top of it that changes one part."""
    with tempfile.TemporaryDirectory() as made:
        layout = Layout(Path(made) / "dataset")
        transaction.prepare(layout)
        count = -(-rows // (SERIES_PER_PART * SEGMENTS_PER_SERIES))
        for number in range(count):
            _stage(layout, 1, number)
        found = [_committed(layout, "first commit")]
        transaction.prepare(layout)
        _stage(layout, 2, count // 2)
        found.append(_committed(layout, "commit of one part more"))
    return found


def commit(dataset: str) -> None:
    """Commit what is staged in `dataset`, and what is committed, as one cohort."""
    layout = Layout(dataset)
    place = FolderPlace(layout)
    base = verify(place, dataset)
    if base.manifest:
        paths = find_all(layout.root, base.manifest, [SERIES.name])[SERIES.name]
    else:
        paths = [layout.part(part, SERIES.name) for part in staged(layout)]
    current = pa.concat_tables([read_table(path, SELECTION.names) for path in paths])
    cohort = transaction.Cohort("name: made-up\n", current, "made-up", 25)
    transaction.publish(place, transaction.merge(layout, base, cohort))


def _committed(layout: Layout, what: str) -> dict[str, Any]:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMIT, str(layout.root)], cwd=Path(__file__).parents[1]
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"{what} ended with {process.returncode}")
    rows = json.loads(layout.manifest.read_bytes())["tables"][SEGMENTS.name]["rows"]
    share = rows / LIMIT_ROWS
    return {
        "what": f"{what}, {rows:,} segment rows",
        "seconds": round(seconds, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "limit": f"{LIMIT_S * share:.0f} s, {LIMIT_MB} MB",
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _stage(layout: Layout, run_number: int, number: int) -> None:
    """Write part `number` as `segtools.dataset.stage` would, from columns instead of rows."""
    random = np.random.default_rng(number)
    first = number * SERIES_PER_PART
    uids = [
        f"1.2.276.0.7230010.3.1.3.313263360.{n:08d}.{n * 7919}" for n in range(first, first + SERIES_PER_PART)
    ]
    series = _columns(SERIES, SERIES_PER_PART, random) | {
        "collection_id": ["nlst"] * SERIES_PER_PART,
        "patient_id": [f"{n // 5:08d}" for n in range(first, first + SERIES_PER_PART)],
        "seg_series_uid": uids,
        "status": ["ok"] * SERIES_PER_PART,
    }
    repeated = np.repeat(np.arange(SERIES_PER_PART), SEGMENTS_PER_SERIES)
    numbers = np.tile(np.arange(1, SEGMENTS_PER_SERIES + 1), SERIES_PER_PART)
    segments = _columns(SEGMENTS, len(repeated), random)
    for name in ("collection_id", "patient_id", "study_uid", "seg_series_uid"):
        segments[name] = [series[name][n] for n in repeated]
    segments |= {
        "segment_id": [f"{first + n:08x}/{m}" for n, m in zip(repeated, numbers, strict=True)],
        "seg_sop_uid": [f"{uids[n]}.9" for n in repeated],
        "segment_number": numbers,
        "structure": [f"structure_{m}" for m in numbers],
        "volume_path": [
            f"volumes/nlst/{series['patient_id'][n]}/{uids[n]}/{first + n:08x}_dseg.nii.gz" for n in repeated
        ],
        "mask_path": [None] * len(repeated),
        "fraction_path": [None] * len(repeated),
    }
    findings = _columns(FINDINGS, SERIES_PER_PART, random) | {
        "finding_id": [f"{first + n:032x}" for n in range(SERIES_PER_PART)],
        "seg_series_uid": uids,
    }
    part = part_id(run_number, f"{number:016x}")
    files = _columns(FILES, SERIES_PER_PART, random) | {
        "path": [segments["volume_path"][n * SEGMENTS_PER_SERIES] for n in range(SERIES_PER_PART)],
        "seg_series_uid": uids,
        "kind": ["dseg"] * SERIES_PER_PART,
        "size_bytes": [0] * SERIES_PER_PART,
    }
    for path in files["path"]:  # a run looks for every file before it builds on a commit
        layout.absolute(path).parent.mkdir(parents=True, exist_ok=True)
        if not layout.absolute(path).exists():
            layout.absolute(path).touch()
    made_up = {SEGMENTS: segments, FINDINGS: findings, FILES: files, SERIES: series}
    for table in DATASET_TABLES:
        columns = made_up.get(table) or {column.name: [] for column in table.columns}
        made = pa.table([pa.array(columns[c.name], c.type) for c in table.columns], schema=table.arrow)
        order = [(name, "ascending") for name in table.order]
        pq.write_table(made.sort_by(order), layout.part(part, table.name), compression="zstd")


def _columns(table: Table, rows: int, random: np.random.Generator) -> dict[str, Any]:
    """Made-up columns: numbers that do not repeat, texts that do."""
    columns: dict[str, Any] = {}
    for column in table.columns:
        if pa.types.is_floating(column.type):
            columns[column.name] = random.random(rows).astype(column.type.to_pandas_dtype())
        elif pa.types.is_boolean(column.type):
            columns[column.name] = random.random(rows) < 0.5
        elif pa.types.is_integer(column.type):
            columns[column.name] = random.integers(1, 120, rows).astype(column.type.to_pandas_dtype())
        elif pa.types.is_string(column.type):
            columns[column.name] = random.choice([f"{column.name} {n}" for n in range(40)], rows).tolist()
        else:
            columns[column.name] = random.random((rows, 16)).tolist()
    return columns


if __name__ == "__main__":
    for line in run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS):
        sys.stdout.write(f"{line}\n")
