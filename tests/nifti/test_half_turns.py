"""Quaternions of half turns, and next to them: what we write and read, nibabel and ITK read too."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.nifti.reader import HALF_TURN, quaternion_affine, read
from segtools.nifti.writer import write_volume

SHAPE = (40, 512, 512)
"""(k, j, i): at 512 voxels from the origin, 5e-4 rad are a quarter of one."""
PLANES = {
    "axial": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]],
    "coronal": [[1.0, 0, 0], [0, 0, 1], [0, -1, 0]],
    "sagittal": [[0.0, 0, 1], [1, 0, 0], [0, -1, 0]],
}
SIGNS = [(a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]


def turned(axis: object, angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` around `axis` (Rodrigues)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def affine_of(axes: object, spacing: object = (0.7, 0.7, 3.0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, float) * spacing
    affine[:3, 3] = -180.25, 150.5, -700
    return affine


def miss(affine: np.ndarray, other: np.ndarray) -> float:
    """Distance of the far corners, in voxels."""
    corners = np.array(np.meshgrid(*((0, size - 1) for size in reversed(SHAPE)))).reshape(3, -1)
    there = np.linalg.norm((affine - other)[:3, :3] @ corners, axis=0).max()
    return float(there / np.linalg.norm(other[:3, :3], axis=0).min())


def written(path: object, affine: np.ndarray) -> nib.Nifti1Image:
    write_volume(path, np.zeros(SHAPE, np.uint8), affine)  # type: ignore[arg-type]
    return nib.load(path)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("signs", SIGNS)
def test_every_plane_has_a_qform_that_nibabel_reads(tmp_path, plane, signs):
    affine = affine_of(np.array(PLANES[plane]) * signs)
    image = written(tmp_path / "a.nii.gz", affine)
    assert image.header["qform_code"] == 1
    assert miss(image.get_qform(), affine) < 0.01


@pytest.mark.parametrize("axis", [(1, 1, 0), (1, 2, 3), (0, 1, -4), (5, -1, 1), (1e-4, 1, 1)])
@pytest.mark.parametrize("near", [0.0, 1e-7, 1e-4, 1e-3, 3e-3, 1e-2, 0.1])
def test_half_turns_and_next_to_them(tmp_path, axis, near):
    affine = affine_of(turned(axis, np.pi - near))
    image = written(tmp_path / "a.nii.gz", affine)
    if image.header["qform_code"]:
        ours = quaternion_affine(np.array(_quatern(image)), image.header["pixdim"], affine[:3, 3])
        assert miss(image.get_qform(), affine) < 0.06
        assert miss(ours, affine) < 0.06
    else:  # an a² of 1e-7 that readers take for 0 or for noise
        assert 1e-5 < near < 3e-3


def _quatern(image: nib.Nifti1Image) -> list[float]:
    return [float(image.header[f"quatern_{part}"]) for part in "bcd"]


@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1),
    angle=st.one_of(st.just(np.pi), st.floats(-np.pi, np.pi)),
)
def test_the_quaternion_alone_is_read_as_nibabel_reads_it(axis, angle):
    affine = affine_of(turned(axis, angle))
    record = nib.Nifti1Header()
    record.set_data_shape(tuple(reversed(SHAPE)))
    record.set_qform(affine, 1)
    quatern = [float(record[f"quatern_{part}"]) for part in "bcd"]
    found = quaternion_affine(np.array(quatern), record["pixdim"], affine[:3, 3])
    rest = 1 - float(np.dot(quatern, quatern))
    if not HALF_TURN <= rest < 4e-7:  # between the two, nibabel takes a for 0 and nifti1_io does not
        assert miss(found, record.get_qform()) < 1e-3


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("signs", SIGNS)
def test_a_file_with_a_qform_alone(tmp_path, plane, signs):
    affine = affine_of(np.array(PLANES[plane]) * signs)
    image = nib.Nifti1Image(np.zeros(SHAPE[::-1], np.uint8), affine)
    image.set_sform(None, 0)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "q.nii.gz")
    assert miss(read(tmp_path / "q.nii.gz").affine_ras_mm, affine) < 0.01


@pytest.mark.oracle
@pytest.mark.parametrize(
    "axes", [*PLANES.values(), turned((1, 2, 3), np.pi), turned((1, 2, 3), np.pi - 0.01)]
)
@pytest.mark.parametrize("signs", SIGNS)
def test_itk_reads_the_qform_where_we_wrote_it(tmp_path, axes, signs):
    sitk = pytest.importorskip("SimpleITK")
    affine = affine_of(np.array(axes) * signs)
    image = written(tmp_path / "a.nii.gz", affine)
    assert image.header["qform_code"] == 1
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "q.nii.gz")
    seen = sitk.ReadImage(str(tmp_path / "q.nii.gz"))
    lps = np.reshape(seen.GetDirection(), (3, 3)) * seen.GetSpacing()
    found = affine.copy()
    found[:3, :3] = np.diag([-1, -1, 1]) @ lps
    assert miss(found, affine) < 0.06
