"""The second reading: right by itself, and not to be fooled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtools.decode import read
from segtools.decode.verify import count_voxels, verify
from segtools.errors import CorruptSegError
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.cases import all_cases
from tests.factories.seg import SegFactory

SLOW = "E102"
"""17,388 frames: half a minute for pydicom, and nothing that smaller files lack."""
WHOLE = [
    case
    for case in all_cases()
    if case.answer is not None
    and case.error is None
    and case.segments is None
    and case.id != SLOW
    and case.second_reading
]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.id)
def test_agrees_on_every_case(case, tmp_path):
    from segtools.decode import DecodeOptions

    data = case.build()
    parts = [data] if isinstance(data, bytes) else list(data)
    if len(parts) > 1 or case.options:
        pytest.skip("one file, read as it is")
    volume = read(parts[0], options=DecodeOptions())
    verify(parts[0], volume)
    path = tmp_path / "seg.dcm"
    path.write_bytes(parts[0])
    assert count_voxels(path) == count_voxels(parts[0])


def test_counts():
    of = masks((4, 5, 7))
    expected = {n: int(mask.sum()) for n, mask in of.items()}
    assert count_voxels(SegFactory.of_masks(of).build()) == expected


@pytest.mark.parametrize("syntax", [S.EXPLICIT, S.RLE])
def test_tampered_volumes_are_found(syntax):
    labels = labelled((3, 34, 37), (1, 2, 3))
    data = SegFactory.of_labels(labels, syntax=syntax).build()
    volume = read(data)
    verify(data, volume)
    wrong = volume.layers[0].copy()
    wrong[tuple(np.argwhere(wrong == 2)[0])] = 3
    with pytest.raises(CorruptSegError, match="2 segments have other voxel counts") as caught:
        verify(data, replace(volume, layers=(wrong,)))
    assert caught.value.code == "verify-mismatch"
    assert set(caught.value.attrs["segments"]) == {2, 3}


def test_real_files(real_data):
    names = [
        "dcmqi__data__segmentations__partial_overlaps.dcm",
        "highdicom__data__test_files__seg_image_ct_binary.dcm",
    ]
    for name in names:
        verify(real_data / name, read(real_data / name))
