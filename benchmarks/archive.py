"""A phantom archive of IDC's sizes, laid out like its buckets: 200 small series and 20 large ones.

::

    <folder>/<bucket>/<series uuid>/<instance uuid>.dcm

The small ones follow IDC's segmentations other than TotalSegmentator's on NLST (1.4 MB at the median,
12.7 at the 95th percentile, 26 at the 99th), which a log-normal distribution fits; the large ones are
the main phantom. PatientIDs put them in one random order, always the same.
"""

from __future__ import annotations

import math
import shutil
from statistics import NormalDist
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from benchmarks.blobs import blobs
from benchmarks.phantom import Phantom, totalsegmentator, uid, write

if TYPE_CHECKING:
    from pathlib import Path

SMALL, LARGE = 200, 20
BUCKET = "phantoms"
_MEDIAN_MB, _SIGMA, _MOST_MB = 1.4, 1.3, 32.0
_FRAME_EXTRA_BYTES = 550
"""Of a frame's functional groups."""


def ensure_archive(folder: Path) -> Path:
    """The archive in `folder`; one that is already there is kept."""
    if folder.exists():
        return folder
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    rng = np.random.default_rng(7)
    quantiles = (np.arange(SMALL) + 0.5) / SMALL
    sizes = [min(_MOST_MB, _MEDIAN_MB * math.exp(_SIGMA * NormalDist().inv_cdf(q))) for q in quantiles]
    large = totalsegmentator().blobs
    for number, kind in enumerate(rng.permutation(SMALL + LARGE)):
        name = phantom_name(number, is_large=kind >= SMALL)
        made = Phantom(name, large) if kind >= SMALL else _small(name, 1e6 * sizes[kind], int(kind))
        series = unfinished / BUCKET / str(uuid5(NAMESPACE_OID, uid(name, "dcmqi", "series")))
        series.mkdir(parents=True)
        write(made, "dcmqi", series / f"{uuid5(NAMESPACE_OID, uid(name, 'dcmqi', 'instance'))}.dcm")
    unfinished.rename(folder)
    return folder


def phantom_name(number: int, *, is_large: bool) -> str:
    """Name of a phantom; ``phantom-<name>`` is its PatientID, by which a run is ordered."""
    return f"{number:03d}-{'large' if is_large else 'small'}"


def _small(name: str, size_bytes: float, seed: int) -> Phantom:
    """Some structures, one to six in most, in about as many frames as the size has room for."""
    side = 256 if size_bytes < 300_000 else 512
    frames = size_bytes / (side * side / 8 + _FRAME_EXTRA_BYTES)
    count = max(min(1 + seed % 6, int(frames / 4)), math.ceil(frames / 120))
    height = frames / count
    slices = max(12, int(3 * height))
    return Phantom(name, blobs(count, (slices, side, side), height, width=min(1.0, 40 / height), seed=seed))
