"""What decoding and measuring cost as one thing grows: `python -m benchmarks scaling`.

One axis at a time, on both cores. CPU seconds in a warm process, the best of three; memory is the
highest of a process of its own, without mapped files. The exponent is the slope of log CPU over log
size: 1 is linear; fixed costs make it less. Rows of one pair (odd sizes, order of frames) are compared
with the usual file instead.
"""

from __future__ import annotations

import gc
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import scaling_files as files
from benchmarks.timing import OUT, one_core, peak_memory
from segtools import native
from segtools.decode import read
from segtools.decode.measure import measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = OUT / "scaling"
Point = tuple[str, float, "Callable[[], files.Recipe]"]
"""Name, size along the axis, and the file."""

AXES: dict[str, tuple[Point, ...]] = {
    "voxels, 4,000 frames": tuple((f"{s}²", s * s, lambda s=s: files.discs(s)) for s in (128, 256, 512)),  # type: ignore[misc]
    "frames of 64²": tuple((f"{n}", n, lambda n=n: files.small_frames(n)) for n in (1024, 4096, 16384)),  # type: ignore[misc]
    "segments": tuple((f"{n}", n, lambda n=n: files.many_segments(n)) for n in (100, 1000, 10_000)),  # type: ignore[misc]
    "overlapping (layers × voxels)": tuple(
        (f"{n}", n, lambda n=n: files.overlapping(n))
        for n in (25, 80, 250)  # type: ignore[misc]
    ),
    "scattered labels": tuple((f"{n}", n, lambda n=n: files.scattered(n)) for n in (100, 1000, 10_000)),  # type: ignore[misc]
    "grid around a small segment": tuple(
        (f"{k}×{s}²", k * s * s, lambda k=k, s=s: files.corners(k, s))  # type: ignore[misc]
        for k, s in ((250, 500), (500, 1000), (1000, 2000))
    ),
    "noise, slices of 512²": tuple((f"{k}", k, lambda k=k: files.noise(k)) for k in (25, 50, 100)),  # type: ignore[misc]
}
PAIRS: dict[str, Callable[[], files.Recipe]] = {
    "512², frames by segment": lambda: files.discs(512),
    "511²": lambda: files.discs(511),
    "510²": lambda: files.discs(510),
    "512², frames by slice": lambda: files.discs(512, by_slice=True),
}


def run() -> list[dict[str, Any]]:
    """Rows of all axes, on each core."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with one_core():
        for core in ("native", "numpy") if native.core() is not None else ("numpy",):
            with native.numpy_only() if core == "numpy" else nullcontext():
                for axis, points in AXES.items():
                    rows += _axis(axis, points, core)
                rows += _pairs(core)
    return rows


def _axis(axis: str, points: tuple[Point, ...], core: str) -> list[dict[str, Any]]:
    rows, sizes, costs = [], [], []
    for name, size, recipe in points:
        row = _row(f"{axis}: {name}", _file(f"{axis}-{name}", recipe), core)
        rows.append(row)
        sizes.append(size)
        costs.append(row["cpu_s"])
    slope = float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
    rows[-1] |= {"exponent": round(slope, 2), "limit": "exponent ≤ 1.1"}
    return rows


def _pairs(core: str) -> list[dict[str, Any]]:
    rows = [_row(name, _file(name, recipe), core) for name, recipe in PAIRS.items()]
    for row in rows[1:]:
        row |= {"ratio": round(row["read_s"] / rows[0]["read_s"], 2), "limit": "read ≤ 1.3 × 512²"}
    return rows


def _file(name: str, recipe: Callable[[], files.Recipe]) -> Path:
    path = FOLDER / "".join(c if c.isalnum() else "-" for c in f"{name}.dcm").removesuffix("-dcm")
    path = path.with_name(path.name + ".dcm")
    return path if path.exists() else recipe().write(path)


def _row(what: str, path: Path, core: str) -> dict[str, Any]:
    best_read = best_measure = float("inf")
    for _ in range(3):
        gc.collect()
        start = time.process_time()
        volume = read(path)
        middle = time.process_time()
        measure(volume)
        end = time.process_time()
        best_read, best_measure = min(best_read, middle - start), min(best_measure, end - middle)
        del volume
    _, own = peak_memory(sys.executable, "-c", _ONCE, path, core)
    return {
        "what": what,
        "who": core,
        "cpu_s": round(best_read + best_measure, 4),
        "own_mb": round(own),
        "read_s": round(best_read, 4),
        "measure_s": round(best_measure, 4),
    }


_ONCE = """
import sys
from contextlib import nullcontext
from segtools import native
from segtools.decode import read
from segtools.decode.measure import measure
with native.numpy_only() if sys.argv[2] == "numpy" else nullcontext():
    measure(read(sys.argv[1]))
"""
