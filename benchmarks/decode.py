"""How fast a DICOM SEG becomes a label map: us, the peers, and NIfTI. `python -m benchmarks decode`.

Everything is on the phantoms of `benchmarks.phantom`; see NOTES.md for the method.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.phantom import GROWTH_KINDS, KINDS, ODD_KINDS, ensure
from benchmarks.plain_loop import dcmqi_command
from benchmarks.plot import scatter
from benchmarks.timing import (
    OUT,
    PHANTOMS,
    command,
    in_turn,
    one_core,
    peak_memory,
    rows_of,
)
from segtools import native
from segtools.decode import read
from segtools.decode.measure import measure
from segtools.nifti.writer import write_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.decode import SegVolume

BIN = Path(sys.executable).parent
OURS = "segtools"


def run() -> list[dict[str, Any]]:
    """Rows of all parts."""
    files = ensure(PHANTOMS, (*KINDS, *ODD_KINDS, "one-large", *GROWTH_KINDS))
    rows: list[dict[str, Any]] = []
    with one_core():
        for part in (
            to_array,
            whole_process,
            measures_and_nifti,
            label_maps,
            fractional,
            one_segment,
            growth,
        ):
            rows += part(files)
    return rows


# --- the contenders -------------------------------------------------------------------------------


def _ours(path: Path, segments: list[int] | None = None) -> Callable[[], object]:
    return lambda: read(path, segments=segments)


def _with_numpy(path: Path) -> Callable[[], object] | str:
    """Our own reading without the native core."""
    if native.core() is None:
        return f"the same: {native.description()}"

    def run() -> object:
        with native.numpy_only():
            return read(path)

    return run


def _nibabel(path: Path) -> Callable[[], object] | str:
    if find_spec("nibabel") is None:
        return "missing"
    import nibabel

    return lambda: np.asanyarray(nibabel.load(path).dataobj)


def _simpleitk(path: Path) -> Callable[[], object] | str:
    if find_spec("SimpleITK") is None:
        return "missing"
    import SimpleITK

    return lambda: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def _highdicom(path: Path, *, combine: bool = True) -> Callable[[], object] | str:
    if find_spec("highdicom") is None:
        return "missing"
    import highdicom

    if combine:
        return lambda: highdicom.seg.segread(path).get_volume(combine_segments=True)
    return lambda: highdicom.seg.segread(path).get_volume(rescale_fractional=False)


# --- the parts ------------------------------------------------------------------------------------


def to_array(files: dict[str, Path]) -> list[dict[str, Any]]:
    """File to label map array, in a warm process."""
    rows = []
    for kind in ("dcmqi", "highdicom", "dcmqi-odd", "highdicom-odd"):
        nifti = files["nifti-odd" if kind.endswith("-odd") else "nifti"]
        times = in_turn(
            {
                OURS: _ours(files[kind]),
                f"{OURS}, NumPy": _with_numpy(files[kind]),
                "nibabel, nii.gz": _nibabel(nifti),
                "SimpleITK, nii.gz": _simpleitk(nifti),
                "highdicom": _highdicom(files[kind]),
            }
        )
        limits = {OURS: "≤ 0.4 × nibabel, ≤ SimpleITK"}
        rows += rows_of(f"{kind} BINARY → array", times, limits=limits)
    return rows


def whole_process(files: dict[str, Path]) -> list[dict[str, Any]]:
    """Interpreter start to files on disk."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "dcmqi").mkdir()
        ours = (BIN / "idcseg", "decode", files["dcmqi"], "-o", folder / "ours")
        dcmqi = dcmqi_command(files["dcmqi"], folder / "dcmqi")
        times = in_turn({OURS: command(*ours), "dcmqi": command(*dcmqi) if dcmqi else "missing"})
        rows = rows_of(
            "dcmqi BINARY → nii.gz, process",
            times,
            limits={OURS: "ratio of dcmqi ≥ 15; own memory ≤ 2.5 label maps"},
        )
        label_map_mb = read(files["dcmqi"]).layers[0].nbytes / 2**20
        for row, arguments in zip(rows, (ours, dcmqi), strict=True):
            if arguments is not None and "seconds" in row:
                whole, own = peak_memory(*arguments)
                row |= {"peak_mb": round(whole), "own_mb": round(own)}
                row["note"] = f"label map {label_map_mb:.0f} MB"
    return rows


def measures_and_nifti(files: dict[str, Path]) -> list[dict[str, Any]]:
    """What a catalog row costs beyond decoding."""
    volume = read(files["dcmqi"])
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "labels.nii.gz"
        layer, affine = volume.layers[0], volume.grid.affine_ras
        rows = rows_of(
            "measures of 80 segments",
            in_turn({OURS: lambda: measure(volume), f"{OURS}, NumPy": _measure_with_numpy(volume)}),
            limits={OURS: "≤ 0.02 s"},
        )
        written: dict[str, Any] = {OURS: lambda: write_volume(path, layer, affine)}
        if find_spec("nibabel") is not None:
            import nibabel

            written["nibabel"] = lambda: nibabel.save(nibabel.Nifti1Image(layer.T, affine), path)
        rows += rows_of("array → nii.gz", in_turn(written), limits={OURS: "≤ 0.05 s"})
    return rows


def _measure_with_numpy(volume: SegVolume) -> Callable[[], object]:
    def run() -> object:
        with native.numpy_only():
            return measure(volume)

    return run


def label_maps(files: dict[str, Path]) -> list[dict[str, Any]]:
    """The same voxels as LABELMAP, in three encodings."""
    rows = []
    for kind in ("labelmap", "labelmap-rle", "labelmap-jls"):
        times = in_turn(
            {
                OURS: _ours(files[kind]),
                "segtools, BINARY": _ours(files["dcmqi"]),
                "highdicom": _highdicom(files[kind]),
            }
        )
        rows += rows_of(f"{kind} → array", times, limits={OURS: "≤ BINARY"})
    return rows


def fractional(files: dict[str, Path]) -> list[dict[str, Any]]:
    """Ten FRACTIONAL segments."""
    path = files["fractional"]
    times = in_turn({OURS: _ours(path), "highdicom": _highdicom(path, combine=False)})
    return rows_of("FRACTIONAL × 10 → arrays", times, limits={OURS: "ratio of highdicom ≥ 5"})


def one_segment(files: dict[str, Path]) -> list[dict[str, Any]]:
    """One segment of 20 MB among 100; it should cost its own frames."""
    path = files["one-large"]
    times = in_turn({"large": _ours(path, [1]), "small": _ours(path, [50]), "all 100": _ours(path)})
    rows = rows_of("one segment of 100", times, reference="all 100")
    rows[0]["note"] = f"640 frames, {640 * 512 * 512 // 8 / 1e6:.0f} MB of {path.stat().st_size / 1e6:.0f} MB"
    return rows


def growth(files: dict[str, Path]) -> list[dict[str, Any]]:
    """Up to 1,000 segments in 60,000 frames: linear in bytes."""
    points = []
    rows = []
    for kind in GROWTH_KINDS:
        path = files[kind]
        row = rows_of(f"{kind} → array", in_turn({OURS: _ours(path)}))[0]
        megabytes = path.stat().st_size / 1e6
        if "seconds" in row:
            points.append((megabytes, row["seconds"]))
            whole, own = peak_memory(sys.executable, "-c", _READ, path)
            row |= {"peak_mb": round(whole), "own_mb": round(own)}
            row["note"] = f"{megabytes:.0f} MB, {row['seconds'] / megabytes * 1e3:.2f} s/GB"
        rows.append(row)
    if points:
        scatter(OUT / "growth.svg", points, x="file, MB", y="read, s", title="Decoding time and file size")
    return rows


_READ = "import sys; from segtools.decode import read; read(sys.argv[1])"


PARTS = (to_array, whole_process, measures_and_nifti, label_maps, fractional, one_segment, growth)
