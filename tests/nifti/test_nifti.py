"""Our NIfTI against nibabel's, both ways."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.errors import DatasetError
from segtools.nifti.reader import read
from segtools.nifti.writer import header, write_volume


def rotation(a, b, c):
    (sa, sb, sc), (ca, cb, cc) = np.sin([a, b, c]), np.cos([a, b, c])
    return (
        np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]])
        @ np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
        @ np.array([[1, 0, 0], [0, cc, -sc], [0, sc, cc]])
    )


def affine_of(turn, spacing, origin=(0, 0, 0), flip=1):
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing * (1, 1, flip)
    affine[:3, 3] = origin
    return affine


AXIAL_LPS = affine_of(np.diag([-1.0, -1, 1]), (0.7, 0.7, 5), (180.0, 150.0, -700.0))


@pytest.fixture
def label_map():
    return np.random.default_rng(0).integers(0, 60, (7, 6, 5)).astype(np.uint8)


def reference(path, array, affine):
    image = nib.Nifti1Image(array.T, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_intent("label", (), allow_unknown=True)
    image.header["intent_code"] = 1002
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return nib.load(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("flip", [1, -1])
def test_nibabel_reads_ours_as_its_own(tmp_path, label_map, dtype, flip):
    array = label_map.astype(dtype)
    affine = affine_of(rotation(0.3, -0.2, 0.1), (0.7, 0.8, 3), (-120.5, 80, 33), flip)
    write_volume(tmp_path / "ours.nii.gz", array, affine, description="DICOM SEG 1.2.3")
    ours, theirs = nib.load(tmp_path / "ours.nii.gz"), reference(tmp_path / "theirs.nii.gz", array, affine)

    np.testing.assert_array_equal(np.asanyarray(ours.dataobj), np.asanyarray(theirs.dataobj))
    assert ours.get_data_dtype() == theirs.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    for form in ("get_sform", "get_qform"):
        mine, code = getattr(ours, form)(coded=True)
        its, its_code = getattr(theirs, form)(coded=True)
        np.testing.assert_allclose(mine, its, atol=1e-5)
        assert code == its_code == 1
    for name in ("intent_code", "xyzt_units", "dim", "datatype", "bitpix", "vox_offset", "magic", "regular"):
        np.testing.assert_array_equal(ours.header[name], theirs.header[name], err_msg=name)
    np.testing.assert_allclose(ours.header["pixdim"], theirs.header["pixdim"], rtol=1e-6)
    assert ours.header["descrip"].item() == b"DICOM SEG 1.2.3"
    assert ours.header["intent_code"] == 1002


@given(
    turn=st.tuples(*[st.floats(-np.pi, np.pi)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    flip=st.sampled_from([1, -1]),
)
def test_any_rigid_affine_comes_back(turn, spacing, origin, flip):
    affine = affine_of(rotation(*turn), spacing, origin, flip)
    shape = (40, 50, 60)
    record = nib.Nifti1Header.from_fileobj(_file(header(shape, np.dtype(np.uint8), affine)))
    np.testing.assert_allclose(record.get_sform(), affine, rtol=1e-6, atol=1e-4)
    if record["qform_code"]:
        corner = np.array([*reversed(shape), 1])
        miss = np.linalg.norm((record.get_qform() - affine) @ corner)
        assert miss < 0.2 * min(spacing)
    else:  # only where float32 cannot hold the angle: next to half a turn
        assert abs(np.trace(rotation(*turn)) + 1) < 1e-3


def test_axial_dicom_is_half_a_turn_and_has_a_qform():
    record = nib.Nifti1Header.from_fileobj(_file(header((5, 6, 7), np.dtype(np.uint8), AXIAL_LPS)))
    assert record["qform_code"] == 1
    np.testing.assert_allclose(record.get_qform(), AXIAL_LPS, rtol=1e-6)


def test_shear_has_no_qform(tmp_path, label_map):
    affine = np.eye(4)
    affine[0, 2] = 0.5
    write_volume(tmp_path / "a.nii.gz", label_map, affine)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.header["qform_code"] == 0
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").affine_ras_mm, affine)


def test_a_side_above_int16_becomes_nifti2(tmp_path):
    array = np.zeros((1, 1, 40_000), np.uint8)
    array[0, 0, 39_999] = 3
    write_volume(tmp_path / "a.nii.gz", array, AXIAL_LPS)
    image = nib.load(tmp_path / "a.nii.gz")
    assert isinstance(image, nib.Nifti2Image)
    assert image.shape == (40_000, 1, 1)
    np.testing.assert_allclose(image.affine, AXIAL_LPS)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, array)
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").array, array)


def test_fractions_are_stored_as_integers_with_a_slope(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    write_volume(tmp_path / "a.nii.gz", stored, AXIAL_LPS, is_label_map=False, slope=1 / 255)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(image.get_fdata().T, stored / 255, atol=1e-6)
    assert image.header["intent_code"] == 0
    ours = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(ours.array, stored)
    assert ours.slope == pytest.approx(1 / 255)


def test_same_input_gives_same_bytes(tmp_path, label_map):
    for name in "ab":
        write_volume(tmp_path / f"{name}.nii.gz", label_map, AXIAL_LPS)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == bytes(4), "gzip's modification time"


def test_layout_of_the_input_does_not_matter(tmp_path, label_map):
    write_volume(tmp_path / "c.nii.gz", label_map, AXIAL_LPS)
    write_volume(tmp_path / "f.nii.gz", np.asfortranarray(label_map), AXIAL_LPS)
    assert (tmp_path / "c.nii.gz").read_bytes() == (tmp_path / "f.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<u1", "<i2", ">u2", "<f4", "<f8", ">i4"])
def test_we_read_nibabel(tmp_path, label_map, suffix, kind, dtype):
    affine = affine_of(rotation(0.3, -0.2, 0.1), (0.7, 0.8, 3), (-120.5, 80, 33))
    array = label_map.astype(dtype)
    head = kind.header_class(endianness=dtype[0] if dtype[0] == ">" else "<")
    head.set_data_dtype(array.dtype)
    image = kind(array.T, affine, head)
    nib.save(image, tmp_path / f"a{suffix}")
    ours = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(ours.array, array)
    np.testing.assert_allclose(ours.affine_ras_mm, affine, rtol=1e-6)
    assert (ours.slope, ours.intercept) == (1, 0)


def test_qform_alone_is_read(tmp_path, label_map):
    affine = affine_of(rotation(0.3, -0.2, 0.1), (0.7, 0.8, 3), (-120.5, 80, 33), -1)
    image = nib.Nifti1Image(label_map.T, affine)
    image.set_qform(affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read(tmp_path / "a.nii").affine_ras_mm, affine, atol=1e-5)


def test_header_extensions_and_several_gzip_members_are_passed_over(tmp_path, label_map):
    image = nib.Nifti1Image(label_map.T, AXIAL_LPS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 3000))
    nib.save(image, tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").array, label_map)


def damaged(kind, content):
    if kind == "cut":
        return content[: len(content) // 2]
    if kind == "flipped":
        return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]
    if kind == "no header":
        return gzip.compress(b"x" * 1000)
    raw = bytearray(gzip.decompress(content))
    if kind == "huge":
        raw[42:48] = np.array([30000] * 3, "<i2").tobytes()
    elif kind == "negative":
        raw[42:44] = np.array(-3, "<i2").tobytes()
    elif kind == "datatype":
        raw[70:72] = np.array(32, "<i2").tobytes()
    elif kind == "offset":
        raw[108:112] = np.array(-5e8, "<f4").tobytes()
    elif kind == "short":
        del raw[-1]
    return gzip.compress(bytes(raw))


@pytest.mark.parametrize(
    "kind", ["cut", "flipped", "no header", "huge", "negative", "datatype", "offset", "short"]
)
def test_broken_files_are_refused(tmp_path, label_map, kind):
    path = tmp_path / "a.nii.gz"
    write_volume(path, label_map, AXIAL_LPS)
    path.write_bytes(damaged(kind, path.read_bytes()))
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert caught.value.code == "dataset-invalid"


def _file(content):
    import io

    return io.BytesIO(content)


def claiming(path, array, *, shape, padding):
    """A file of `array` whose header names another shape, with bytes behind its gzip stream."""
    write_volume(path, array, np.eye(4))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[40:56] = np.array([3, *reversed(shape), 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)) + bytes(padding))


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path, label_map):
    path = tmp_path / "a.nii.gz"
    claiming(path, label_map, shape=(1100, 1024, 1024), padding=2 << 20)
    with pytest.raises(DatasetError, match="would unpack to") as caught:
        read(path)
    assert caught.value.code == "memory-limit"
    claiming(path, label_map, shape=(20, 30, 40), padding=4096)
    with pytest.raises(DatasetError, match="24000; 10000 are allowed"):
        read(path, max_bytes=10_000)


def test_another_shape_than_asked_for_is_refused_before_unpacking(tmp_path, label_map):
    path = tmp_path / "a.nii.gz"
    write_volume(path, label_map, np.eye(4))
    np.testing.assert_array_equal(read(path, shape=label_map.shape).array, label_map)
    with pytest.raises(DatasetError, match="the tables say") as caught:
        read(path, shape=(1, *label_map.shape[1:]))
    assert caught.value.code == "dataset-invalid"


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, 1e30])
def test_no_place_for_voxels(tmp_path, label_map, offset):
    path = tmp_path / "a.nii"
    write_volume(tmp_path / "a.nii.gz", label_map, np.eye(4))
    content = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    content[108:112] = np.float32(offset).tobytes()
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert caught.value.code == "dataset-invalid"
