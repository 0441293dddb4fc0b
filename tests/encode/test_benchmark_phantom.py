"""The benchmarks' byte writer writes what decode and highdicom read as the label map it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import highdicom as hd
import numpy as np
import pytest

from benchmarks.blobs import blobs
from benchmarks.phantom import (
    FRACTIONAL_SEGMENTS,
    KINDS,
    Phantom,
    file_name,
    write,
)
from segtools.decode import read
from segtools.nifti import reader

if TYPE_CHECKING:
    from pathlib import Path

DICOM_KINDS = [kind for kind in KINDS if kind != "nifti"]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return Phantom("small", blobs(FRACTIONAL_SEGMENTS + 2, (24, 96, 104), 9.0, width=4.0))


def test_blobs_do_not_vanish_or_leave_their_boxes(phantom: Phantom) -> None:
    labels = phantom.blobs.labels
    assert set(np.unique(labels)) == set(range(FRACTIONAL_SEGMENTS + 3))
    for number, box in enumerate(phantom.blobs.boxes, start=1):
        assert (labels[box] == number).sum() == (labels == number).sum()


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_each_kind_holds_the_label_map(phantom: Phantom, kind: str, tmp_path: Path) -> None:
    path = write(phantom, kind, tmp_path / file_name(kind))
    volume = read(path)
    labels = phantom.blobs.labels
    first = round((volume.grid.affine_ras[2, 3] - phantom.affine_ras[2, 3]) / volume.grid.spacing_mm[2])
    part = labels[first : first + volume.grid.shape[0]]
    assert np.allclose(volume.grid.affine_ras[:, :2], phantom.affine_ras[:, :2])
    if kind == "fractional":
        assert len(volume.fractions) == FRACTIONAL_SEGMENTS
        for number, fractions in volume.fractions.items():
            inside = part == number
            assert fractions[inside].min() > 0
            assert 0.7 < fractions.sum() / 255 / inside.sum() <= 1
            assert np.unique(fractions).size > 5  # soft edges
        return
    assert (labels != 0).sum() == (part != 0).sum()
    np.testing.assert_array_equal(volume.layers[0], part)
    peer = hd.seg.segread(path).get_volume(combine_segments=True)
    np.testing.assert_array_equal(peer.array[::-1], part)
    assert len(volume.segments) == len(phantom.blobs.boxes)


def test_producers_differ_in_their_sequences(phantom: Phantom, tmp_path: Path) -> None:
    undefined = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert undefined in write(phantom, "dcmqi", tmp_path / "a").read_bytes()
    assert undefined not in write(phantom, "highdicom", tmp_path / "b").read_bytes()


def test_the_nifti_twin(phantom: Phantom, tmp_path: Path) -> None:
    image = reader.read(write(phantom, "nifti", tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(image.array, phantom.blobs.labels)
    np.testing.assert_allclose(image.affine_ras_mm, phantom.affine_ras, atol=1e-5)


def test_the_same_kind_has_the_same_bytes(phantom: Phantom, tmp_path: Path) -> None:
    one, two = (write(phantom, "dcmqi", tmp_path / name).read_bytes() for name in "ab")
    assert one == two
