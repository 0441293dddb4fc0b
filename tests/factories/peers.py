"""highdicom and dcmqi as second and third readers, and the comparison of any reading with what is right."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom

from tests.factories.case import Answer, Case

HEADER_TAGS = ["SegmentationType", "PixelPaddingValue"]
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Reading:
    """What a reader made of a file.

    Attributes
    ----------
    values : mapping of int to (k, j, i) ndarray
        Per segment: mask, or stored fraction.
    affines : mapping of int to (4, 4) ndarray
        (i, j, k, 1) to LPS mm of each segment's array.
    error : str or None
        Its refusal, or how it died.
    """

    values: Mapping[int, np.ndarray] = field(default_factory=dict)
    affines: Mapping[int, np.ndarray] = field(default_factory=dict)
    error: str | None = None


def read_with_highdicom(data: bytes, segments: tuple[int, ...] | None = None) -> Reading:
    """`segread` and `get_volume`."""
    import highdicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            seg = highdicom.seg.segread(io.BytesIO(data))
            label_map = seg.segmentation_type.value == "LABELMAP"
            numbers = list(segments) if segments else None
            volume = seg.get_volume(segment_numbers=numbers, combine_segments=label_map)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
            return Reading(error=f"{type(error).__name__}: {error}")
    array, maximum = volume.array, seg.get("MaximumFractionalValue")
    if maximum:
        array = np.rint(array * maximum).astype(np.uint16)
    if label_map:
        background = seg.get("PixelPaddingValue", 0 if 0 not in seg.segment_numbers else None)
        values = {int(n): array == n for n in np.unique(array) if n != background}
    else:
        values = {n: array[..., c] for c, n in enumerate(numbers or list(seg.segment_numbers))}
    affine = volume.affine[:, [2, 1, 0, 3]]
    return Reading(values, dict.fromkeys(values, affine))


def dcmqi_binary() -> Path | None:
    """`segimage2itkimage` beside this interpreter or on the path."""
    beside = Path(sys.executable).parent / "segimage2itkimage"
    if beside.exists():
        return beside
    found = shutil.which("segimage2itkimage")
    return Path(found) if found else None


def read_with_dcmqi(data: bytes, segments: tuple[int, ...] | None = None) -> Reading:
    """`segimage2itkimage` to NIfTI, one file per segment as by default."""
    binary = dcmqi_binary()
    assert binary is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.dcm")
        path.write_bytes(data)
        command = [
            str(binary),
            "--inputDICOM",
            str(path),
            "--outputDirectory",
            folder,
            "--prefix",
            "out",
            "-t",
            "nii",
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return Reading(error="no end within 60 s")
        if done.returncode < 0 or done.returncode > 128:
            signal = -done.returncode if done.returncode < 0 else 256 - done.returncode
            return Reading(error=f"CRASH: signal {signal}")
        if done.returncode:
            return Reading(error=_last_error(done.stdout + done.stderr))
        return _collect(Path(folder), segments)


def _last_error(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    told = [line for line in lines if "rror" in line or "ERROR" in line or line.startswith(("E:", "F:"))]
    named = [line for line in told if "Fatal error" not in line]
    return (named or told or lines or ["?"])[0]


def _collect(folder: Path, segments: tuple[int, ...] | None) -> Reading:
    import nibabel

    header = pydicom.dcmread(folder / "in.dcm", specific_tags=HEADER_TAGS, force=True)
    try:
        meta = json.loads((folder / "out-meta.json").read_text(errors="replace"))
    except (FileNotFoundError, json.JSONDecodeError):
        return Reading(error="return code 0, but no readable JSON")
    groups = meta["segmentAttributes"]
    values: dict[int, np.ndarray] = {}
    affines: dict[int, np.ndarray] = {}
    for index, group in enumerate(groups, 1):
        path = folder / f"out-{index}.nii.gz"
        if not path.exists():
            return Reading(error="return code 0, but no file")
        image = nibabel.load(path)
        array = np.asarray(image.dataobj).transpose(2, 1, 0)
        named = {int(segment["labelID"]) for segment in group}
        if header.get("SegmentationType") == "LABELMAP":
            background = header.get("PixelPaddingValue", 0)
            named |= {int(n) for n in np.unique(array) if n != background}
            values |= {n: array == n for n in named}
        else:
            values |= dict.fromkeys(named, array)
        affines |= dict.fromkeys(named, LPS_RAS @ image.affine)
    kept = [n for n in values if segments is None or n in segments]
    return Reading({n: values[n] for n in kept}, affines)


def difference(reading: Reading, answer: Answer, tolerance: float = 0.02) -> str | None:
    """What is wrong with a reading; None if it is right.

    Voxels are compared by where they are in space: a reader may orient and crop its array as it likes.

    Parameters
    ----------
    tolerance : float
        In voxels.
    """
    right = {**answer.masks, **answer.fractions}
    for number, expected in right.items():
        if number not in reading.values:
            if expected.any():
                return f"segment {number} is missing"
            continue
        got = reading.values[number]
        if np.count_nonzero(got) != np.count_nonzero(expected):
            return f"segment {number}: {np.count_nonzero(got)} for {np.count_nonzero(expected)} voxels"
        if answer.affine is None:
            continue
        placed = _placed(got, reading.affines[number], answer, tolerance)
        if placed is None:
            return f"segment {number} lies elsewhere"
        if number not in answer.fractions:
            placed, expected = placed != 0, expected != 0
        if not np.array_equal(placed, expected):
            return f"segment {number} has other voxels"
    extra = sorted(n for n, v in reading.values.items() if n not in right and n and np.any(v))
    return f"segments {extra} that there are not" if extra else None


def _placed(got: np.ndarray, affine: np.ndarray, answer: Answer, tolerance: float) -> np.ndarray | None:
    index = np.argwhere(got)[:, ::-1]
    ijk = np.linalg.inv(answer.affine) @ affine @ np.c_[index, np.ones(len(index))].T
    nearest = np.rint(ijk[:3]).astype(int)
    inside = (nearest >= 0).all(0) & (nearest < np.array(answer.shape[::-1])[:, None]).all(0)
    if not inside.all() or (np.abs(ijk[:3] - nearest) > tolerance).any():
        return None
    placed = np.zeros(answer.shape, got.dtype)
    placed[nearest[2], nearest[1], nearest[0]] = got[got != 0]
    return placed


def verdict(case: Case, reading: Reading) -> str:
    """One cell of the table: "ok", "refused: …", "CRASH: …" or "WRONG: …"."""
    if reading.error is not None:
        return reading.error if reading.error.startswith("CRASH") else f"refused: {reading.error}"
    if case.answer is None:
        return "WRONG: read without a word"
    told = difference(reading, case.answer, tolerance=max(0.02, case.tolerance_mm * 4))
    return "ok" if told is None else f"WRONG: {told}"
