"""49 public SEG files by many writers, against highdicom, dcmqi and a frame-by-frame count.

The files are no part of the project. They are looked for in the folder that the environment variable
IDCSEG_REAL_DATA names, or in ``../shared/data/seg`` beside the checkout; `reference.json` there holds
what the others read.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtools.decode import read, read_header
from segtools.decode.verify import verify
from segtools.errors import SegError

CENTROID_TOLERANCE_MM = 1e-3
FOLDER = Path(os.environ.get("IDCSEG_REAL_DATA") or Path(__file__).parents[2].parent / "shared/data/seg")

REFUSED = {
    # Slides: tiles of a total pixel matrix are no slices of a volume.
    "highdicom__data__test_files__seg_image_grayscale_labeled.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_control_0624d1c2.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_control_f04b83b2.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_dots.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_dots_109344ac.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_dots_tiled_full.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_numbers.dcm": "slide-microscopy",
    "highdicom__data__test_files__seg_image_sm_numbers_9abd8c50.dcm": "slide-microscopy",
}
"""Files that make no volume, and the code that says why; all others must be read."""

_PYDICOM, _SRC = "pydicom__pydicom__data__test_files__", "pydicom__src__pydicom__data__test_files__"
LIKE = {
    # One byte per voxel under BitsAllocated 1: the reference took the bytes for bits and found nothing.
    # The same liver, rightly packed, is another file.
    _PYDICOM + "liver_1frame.dcm": _SRC + "liver_1frame.dcm",
    _PYDICOM + "liver_expb_1frame.dcm": _SRC + "liver_expb_1frame.dcm",
}
"""Files whose own reference is known to be wrong, and the file that holds the same mask."""


@cache
def reference() -> dict[str, Any]:
    """The others' readings by file name; empty without the folder."""
    path = FOLDER / "reference.json"
    return json.loads(path.read_text()) if path.exists() else {}


NAMES = sorted(reference())
READ = [name for name in NAMES if name not in REFUSED]
AGREED = [
    name
    for name in READ
    if reference()[name]["highdicom"]["volume_ok"]
    and reference()[name]["dcmqi"]["ok"]
    and not reference()[name]["disagreements"]
]


def test_the_files_are_at_hand() -> None:
    if not NAMES:
        pytest.skip(f"no reference.json in {FOLDER.name}: name the folder in IDCSEG_REAL_DATA")
    for name in NAMES:
        digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
        assert digest == reference()[name]["sha256"], name
    assert REFUSED.keys() | LIKE.keys() <= set(NAMES)
    assert len(AGREED) >= 30


@pytest.mark.parametrize("name", READ)
def test_voxels_and_places(name: str) -> None:
    known = reference()[name]
    volume = read(FOLDER / name)
    expected = reference()[LIKE.get(name, name)]["expected"]["segments"]
    peers = [known["highdicom"], known["dcmqi"]] if name in AGREED else []
    for key, right in expected.items():
        mask = volume.mask(int(key))
        assert int(mask.sum()) == right["voxels"]
        for peer in peers:
            assert int(mask.sum()) == peer["segments"].get(key, {"voxels": 0})["voxels"]
        if "centroid_lps" in right:
            assert np.allclose(
                _centroid(mask, volume), right["centroid_lps"], atol=CENTROID_TOLERANCE_MM, rtol=0
            )
        if peers and mask.any():
            theirs = peers[0]["segments"][key]["centroid_lps"]
            assert np.allclose(_centroid(mask, volume), theirs, atol=CENTROID_TOLERANCE_MM, rtol=0)
    others = {s.number for s in volume.segments} - {int(key) for key in expected}
    assert not [n for n in others - {0} if volume.mask(n).any()]
    verify(FOLDER / name, volume)


def _centroid(mask: np.ndarray, volume: Any) -> np.ndarray:
    """Mean of the voxel centers, mm, LPS."""
    kji = np.array([index.mean() for index in np.nonzero(mask)])
    return (volume.grid.affine_lps @ (*kji[::-1], 1.0))[:3]


@pytest.mark.parametrize("name", [name for name in NAMES if name in REFUSED])
def test_refused(name: str) -> None:
    with pytest.raises(SegError) as refused:
        read(FOLDER / name)
    assert refused.value.code == REFUSED[name]


@pytest.mark.parametrize("name", [name for name in NAMES if "grayscale_labeled" not in name])
def test_header(name: str) -> None:
    meta = reference()[name]["meta"]
    header = read_header(FOLDER / name).header
    assert header.sop_class_uid == meta["SOPClassUID"]
    assert header.transfer_syntax_uid == meta["TransferSyntaxUID"]
    assert header.segmentation_type == meta["SegmentationType"]


@pytest.mark.skipif(not NAMES, reason="no real files")
def test_verify_notices_one_voxel() -> None:
    path = FOLDER / "highdicom__data__test_files__seg_image_ct_binary.dcm"
    volume = read(path)
    layer = volume.layers[0]
    layer.flags.writeable = True
    at = tuple(index[0] for index in np.nonzero(layer))
    layer[at] = 0
    with pytest.raises(SegError) as noticed:
        verify(path, volume)
    assert noticed.value.code == "verify-mismatch"
