"""Image series as volumes, against highdicom and by hand."""

from __future__ import annotations

import json

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from segtools.decode.geometry.source_grid import source_grid_from_files
from segtools.errors import CorruptSegError, SegtoolsError, UnsupportedSegError
from segtools.images import ImageOptions, image_sidecar, read_images, write_images
from segtools.images.stored import stored_values
from tests.factories.images import (
    SHAPE,
    axial,
    enhanced,
    rotated,
    series,
)

RNG = np.random.default_rng(5)
STORED = RNG.integers(-1000, 3000, SHAPE).astype(np.int16)


def test_slices_come_in_order_of_position_whatever_the_files_are_called(tmp_path):
    series(tmp_path, STORED, order=[3, 0, 4, 2, 1])
    volume = read_images(tmp_path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, STORED)
    np.testing.assert_allclose(volume.grid.affine_lps, axial(), atol=1e-6)
    assert volume.unit == "[hnsf'U]"


@pytest.mark.parametrize("affine", [axial(), rotated(), rotated(2.1), rotated(-1.2, (1, 1, 1))])
def test_grid_is_the_masks_grid_to_the_bit(tmp_path, affine):
    paths = series(tmp_path, STORED, affine=affine)
    assert read_images(paths).grid.affine_lps.tobytes() == source_grid_from_files(paths).affine_lps.tobytes()


@pytest.mark.parametrize("affine", [axial(), rotated()])
def test_every_voxel_is_where_highdicom_has_it(tmp_path, affine):
    paths = series(tmp_path, STORED, affine=affine, changes={"RescaleSlope": 2, "RescaleIntercept": -7})
    ours = read_images(paths)
    theirs = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    to_ours = np.linalg.inv(ours.grid.affine_lps) @ theirs.affine
    for index in ((0, 0, 0), (1, 3, 5), (4, 11, 13), (2, 7, 1)):
        i, j, k, _ = np.round(to_ours @ (*index, 1)).astype(int)
        assert ours.array[k, j, i] == theirs.array[index]


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        (1, -1024, np.int16),
        (2, 5, np.int16),
        (-1, 0, np.int16),
        (0.5, 0, np.float32),
        (1, 0.25, np.float32),
        (40, 0, np.float32),
    ],
)
def test_rescale_is_exact(tmp_path, slope, intercept, dtype):
    changes = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    volume = read_images(series(tmp_path, STORED, changes=changes))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, STORED * float(slope) + intercept)


def test_one_slice_that_needs_float_makes_the_volume_float_and_loses_nothing(tmp_path):
    def by_slice(image, k):
        image.RescaleSlope = 30 if k == 3 else 1

    volume = read_images(series(tmp_path, STORED, by_slice=by_slice))
    expected = STORED.astype(float)
    expected[3] *= 30
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, expected)


@pytest.mark.parametrize(
    ("cell", "stored", "high", "signed", "value"),
    [
        (0xAF38, 12, 11, True, -200),
        (0xAF38, 12, 11, False, 0xF38),
        (0xF380, 12, 15, True, -200),
        (0x8000, 16, 15, True, -32768),
        (0xFFFF, 16, 15, False, 65535),
        (0x0001, 1, 0, False, 1),
        (0x07FF, 12, 11, True, 2047),
    ],
)
def test_bits_outside_the_value_do_not_count(cell, stored, high, signed, value):
    raw = np.full((1, 1), cell, np.uint16)
    assert stored_values(raw, stored, high + 1 - stored, signed)[0, 0] == value


def test_overlays_in_the_upper_bits_and_unsigned_values(tmp_path):
    values = RNG.integers(0, 4096, SHAPE).astype(np.uint16)
    changes = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleIntercept": -1024}
    volume = read_images(series(tmp_path, values | np.uint16(0x8000), changes=changes))
    np.testing.assert_array_equal(volume.array, values.astype(int) - 1024)


def test_no_rescale_at_all_is_the_stored_value(tmp_path):
    def by_slice(image, _):
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            if keyword in image:
                del image[keyword]

    volume = read_images(series(tmp_path, STORED, modality="MR", by_slice=by_slice))
    np.testing.assert_array_equal(volume.array, STORED)
    assert volume.unit == "1"


def test_enhanced_multi_frame_has_a_rescale_for_each_frame(tmp_path):
    slopes = [1.0, 2.0, 0.5, 3.0, 1.0]
    volume = read_images(enhanced(tmp_path, STORED, slopes, frames=[2, 0, 1, 4, 3]))
    np.testing.assert_array_equal(volume.array, STORED * np.array(slopes)[:, None, None] - 3)
    assert [rescale.slope for rescale in volume.rescales] == slopes


def pet(image, k):
    del k
    image.Modality, image.Units, image.DecayCorrection = "PT", "BQML", "START"
    image.CorrectedImage = ["ATTN", "DECY", "SCAT"]
    image.PatientWeight, image.SeriesDate, image.SeriesTime = 70, "20200101", "101500"
    item = pydicom.Dataset()
    item.RadiopharmaceuticalStartTime = "091500.00"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = 3.7e8, 6586.2
    image.RadiopharmaceuticalInformationSequence = [item]


def test_suv_is_activity_over_the_dose_left_at_the_series_start(tmp_path):
    paths = series(tmp_path, np.abs(STORED), by_slice=pet)
    assert read_images(paths).unit == "Bq/mL"
    volume = read_images(paths, ImageOptions(quantity="suvbw"))
    dose_at_start = 3.7e8 * 0.5 ** (3600 / 6586.2)
    np.testing.assert_allclose(volume.array, np.abs(STORED.astype(float)) * 70_000 / dose_at_start, rtol=1e-6)
    assert volume.unit == "g/mL"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Units", "CNTS"), ("PatientWeight", None), ("CorrectedImage", ["ATTN"]), ("DecayCorrection", "NONE")],
)
def test_suv_is_refused_rather_than_guessed(tmp_path, keyword, value):
    def by_slice(image, k):
        pet(image, k)
        setattr(image, keyword, value)

    paths = series(tmp_path, STORED, by_slice=by_slice)
    with pytest.raises(UnsupportedSegError) as refused:
        read_images(paths, ImageOptions(quantity="suvbw"))
    assert refused.value.code == "suv-unavailable"


def color(image, _):
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0


def packed(image, _):
    image.BitsAllocated = image.BitsStored = 12


def no_slope(image, k):
    image.RescaleSlope = 0 if k == 2 else 1


def too_many_bits(image, _):
    image.BitsStored, image.HighBit = 16, 11


def cut_short(image, k):
    if k == 4:
        image.PixelData = image.PixelData[:-20]


def no_pixels(image, k):
    if k == 1:
        del image["PixelData"]


@pytest.mark.parametrize(
    ("by_slice", "code"),
    [
        (color, "image-unsupported"),
        (packed, "image-unsupported"),
        (no_slope, "invalid-attribute"),
        (too_many_bits, "invalid-attribute"),
        (cut_short, "frame-count-mismatch"),
        (no_pixels, "missing-attribute"),
    ],
)
def test_what_is_no_volume_is_refused_by_a_code(tmp_path, by_slice, code):
    paths = series(tmp_path, STORED, by_slice=by_slice)
    with pytest.raises(SegtoolsError) as refused:
        read_images(paths)
    assert refused.value.code == code


def test_fewer_groups_than_frames_are_refused(tmp_path):
    path = enhanced(tmp_path, STORED, [1.0] * 5)
    image = pydicom.dcmread(path)
    image.NumberOfFrames = 6
    image.save_as(path)
    with pytest.raises(CorruptSegError):
        read_images(path)


def test_nifti_holds_the_values_and_says_what_they_are(tmp_path):
    volume = read_images(series(tmp_path / "in", STORED, affine=rotated()))
    write_images(tmp_path / "ct.nii.gz", volume)
    image = nib.load(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.array.transpose(2, 1, 0))
    np.testing.assert_allclose(image.affine, volume.grid.affine_ras, atol=1e-5)
    assert image.header.get_intent()[0] == "none"
    side = json.loads(image_sidecar(volume, converter="segtools/0", extra={"License": "CC BY 4.0"}))
    assert side["Units"] == "[hnsf'U]"
    assert side["RescaleSlope"] == 1
    assert side["SOPInstanceUIDs"] == list(volume.sop_uids)
    assert side["License"] == "CC BY 4.0"
