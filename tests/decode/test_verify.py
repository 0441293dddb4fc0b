"""The second reading: right by itself, and not to be fooled."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest

from segtools.decode import read
from segtools.decode.verify import Verification, count_voxels, verify
from segtools.errors import CorruptSegError, SegError, UnsupportedSegError
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.cases import all_cases
from tests.factories.hostile import hostile_files
from tests.factories.seg import SegFactory
from tests.faults import FAULTS

WHOLE = [
    case for case in all_cases() if case.answer is not None and case.error is None and case.segments is None
]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.id)
def test_agrees_on_every_case(case, tmp_path):
    from segtools.decode import DecodeOptions

    data = case.build()
    parts = [data] if isinstance(data, bytes) else list(data)
    if len(parts) > 1 or case.options:
        pytest.skip("one file, read as it is")
    volume = read(parts[0], options=DecodeOptions())
    agreement = verify(parts[0], volume)
    assert agreement.voxels == sum(int(volume.mask(s.number).sum()) for s in volume.segments if s.number)
    assert agreement.segments == len([s for s in volume.segments if s.number])
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


def test_it_says_what_agrees():
    of = masks((4, 5, 7))
    data = SegFactory.of_masks(of).build()
    voxels = sum(int(mask.sum()) for mask in of.values())
    assert str(verify(data, read(data))) == f"{voxels} voxels of {len(of)} segments agree"


def test_some_segments_are_compared_alone():
    of = masks((4, 5, 7))
    data = SegFactory.of_masks(of).build()
    first = min(of)
    agreement = verify(data, read(data, segments=[first]), segments=[first])
    assert agreement == Verification(int(of[first].sum()), 1)
    with pytest.raises(CorruptSegError, match="other voxel counts"):
        verify(data, read(data, segments=[first]))


def test_a_codec_without_a_second_decoder_is_not_said_to_agree():
    labels = labelled((2, 16, 16), (1,)) * np.uint8(200)
    data = SegFactory.of_masks({1: labels}, kind="FRACTIONAL", syntax="1.2.840.10008.1.2.4.50").build()
    with pytest.raises(UnsupportedSegError, match="cannot be decoded a second way"):
        verify(data, read(data))


@pytest.mark.parametrize("hostile", hostile_files(), ids=lambda hostile: hostile.id)
def test_hostile_files_are_counted_or_refused(hostile):
    """What the first reading refuses, the second may count; it raises nothing but our errors."""
    with contextlib.suppress(SegError):
        count_voxels(hostile.build())


def test_a_deflated_data_set_is_inflated_as_far_as_its_header_accounts_for():
    bomb = next(hostile for hostile in hostile_files() if hostile.id == "deflate-bomb").build()
    with pytest.raises(CorruptSegError) as caught:
        count_voxels(bomb)
    assert caught.value.code in ("inflate-limit", "verify-unreadable")
    of = {1: np.zeros((20, 2000, 2100), bool)}
    of[1][3, 4, 5] = True
    large = SegFactory.of_masks(of, kind="FRACTIONAL", syntax=S.DEFLATED, empty=True)
    assert len(large.build()) < 1 << 20
    assert count_voxels(large.build()) == {1: 1}


FILES = sorted([*FAULTS.glob("*.dcm"), *FAULTS.glob("verify_exceptions/*.dcm")]) if FAULTS else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_that_went_wrong(path):
    """Where the first reading succeeds, the second agrees with it."""
    try:
        volume = read(path)
    except SegError:
        return
    assert verify(path, volume).segments


def test_real_files(real_data):
    names = [
        "dcmqi__data__segmentations__partial_overlaps.dcm",
        "highdicom__data__test_files__seg_image_ct_binary.dcm",
    ]
    for name in names:
        verify(real_data / name, read(real_data / name))
