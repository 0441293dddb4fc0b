"""`idcseg index` and `idcseg run` on a folder of real files, against what three readers found in them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import segtools
from tests.flows.conftest import idcseg

_SLIDE = "slide-microscopy"
_WITHOUT_ROWS = {"highdicom__data__test_files__seg_image_grayscale_labeled.dcm"}
"""A slide whose header names no segments: its series has a row, with the code, and no segment rows."""


def _index_and_run(files: list[Path], folder: Path) -> tuple[Path, list[str]]:
    """A dataset of the files, and those that the index left out as a second version of an instance."""
    source = folder / "in"
    source.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, source / file.name)
    (folder / "all.yaml").write_text("source: {idc: false}\n")
    made = idcseg("index", source, "-o", folder / "index", "--json")
    assert made.code == 0, made.err
    skipped = {item["path"]: item["code"] for item in json.loads(made.out)["skipped"]}
    assert set(skipped.values()) <= {"duplicate-instance"}
    ran = idcseg("run", folder / "all.yaml", "-o", folder / "out", "--index", folder / "index", "--direct")
    assert ran.code in (0, 1, 3), ran.err
    assert "internal" not in ran.err
    return folder / "out", sorted(skipped)


@pytest.mark.slow
def test_index_and_run(real_data: Path, tmp_path: Path) -> None:
    reference = json.loads((real_data / "reference.json").read_text())
    files = [real_data / name for name in sorted(reference)]
    by_md5 = {hashlib.md5(file.read_bytes()).hexdigest(): file.name for file in files}
    seen: set[str] = set()
    round_number = 0
    while files:
        # Some files are versions of one instance: an archive can hold one of them, so they take turns.
        dataset, later = _index_and_run(files, tmp_path / str(round_number))
        seen |= _compare(dataset, reference, by_md5)
        files = [real_data / name for name in later]
        round_number += 1
        assert round_number <= 5
    assert set(reference) - seen == _WITHOUT_ROWS


def _compare(folder: Path, reference: dict[str, dict], by_md5: dict[str, str]) -> set[str]:
    seen = set()
    with segtools.open(folder) as dataset:
        rows = dataset.segments().to_pylist()
        failed = {
            row["seg_series_uid"]: row["error_code"]
            for row in dataset.series("error_code IS NOT NULL").to_pylist()
        }
    for row in rows:
        name = by_md5[row["source_md5"]]
        seen.add(name)
        if row["status"] == "failed":
            assert failed[row["seg_series_uid"]] == row["error_code"] == _SLIDE
            assert row["voxel_count"] is None
            continue
        known = reference[name]
        agreed = known["highdicom"]["volume_ok"] and known["dcmqi"]["ok"] and not known["disagreements"]
        number = str(row["segment_number"])
        if "malformed" in known["expected"]["source"]:
            continue  # its own reading is in tests/decode/test_real_files.py
        right = known["expected"]["segments"].get(number, {"voxels": 0})
        assert row["voxel_count"] == right["voxels"], (name, number)
        if agreed and row["voxel_count"]:
            assert row["voxel_count"] == known["highdicom"]["segments"][number]["voxels"]
            assert row["voxel_count"] == known["dcmqi"]["segments"][number]["voxels"]
            x, y, z = known["highdicom"]["segments"][number]["centroid_lps"]
            ours = [row[f"centroid_{axis}_mm"] for axis in "ras"]
            assert np.allclose(ours, [-x, -y, z], atol=1e-3), (name, number)
    return seen
