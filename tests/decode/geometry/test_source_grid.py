"""Source grids from image headers, and segmentations moved onto them."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from segtools.decode.geometry.source_grid import SourceGrid, onto, source_grid_from_files
from segtools.decode.volume import Grid, SegHeader, Segment, SegVolume
from segtools.errors import MissingError, NotSegError, SegError, UnsupportedSegError
from segtools.finding import Finding

AFFINE = np.array([[0.8, 0, 0, -20.0], [0, 0.6, 0.8, 5.0], [0, -0.8, 0.6, 3.0], [0, 0, 0, 1.0]]) @ np.diag(
    [0.7, 0.9, 2.5, 1]
)
AFFINE[:3, 0] /= 0.8  # columns of unit length before scaling
FULL = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)


def grid_of(shape=FULL.shape, affine=AFFINE, frame="2.25.9"):
    return SourceGrid(shape, affine, tuple("abcdefgh"[: shape[0]]), frame_of_reference_uid=frame)


def volume_of(labels, affine, frame="2.25.9", findings=(), fractions=None):
    header = SegHeader("1", "1", "1", "1", "1", "p", frame, "BINARY", 1, 1)
    segments = tuple(Segment(n) for n in (1, 2, 3))
    layers = () if fractions else (labels,)
    return SegVolume(
        layers,
        dict.fromkeys((1, 2, 3), 0),
        segments,
        Grid(labels.shape, affine),
        header,
        findings,
        fractions or {},
    )


def part_of(start, stop, order=(0, 1, 2), flips=(1, 1, 1)):
    """A part of `FULL`, its axes permuted and flipped, with the affine that says so."""
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part = FULL[inside].transpose(order)
    affine = AFFINE.copy()
    affine[:, 3] = AFFINE @ [start[2], start[1], start[0], 1]
    columns = affine[:3, [2, 1, 0]][:, list(order)]  # in array order
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:3, 3] += columns[:, axis] * (part.shape[axis] - 1)
            columns[:, axis] *= -1
            part = np.flip(part, axis)
    affine[:3, :3] = columns[:, [2, 1, 0]]
    return np.ascontiguousarray(part), affine


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_any_permutation_and_flip(order, flips):
    part, affine = part_of((1, 2, 1), (4, 6, 5), order, flips)
    moved = onto(volume_of(part, affine), grid_of())
    expected = np.zeros_like(FULL)
    expected[1:4, 2:6, 1:5] = FULL[1:4, 2:6, 1:5]
    np.testing.assert_array_equal(moved.layers[0], expected)
    assert moved.layers[0].flags.c_contiguous
    np.testing.assert_array_equal(moved.grid.affine_lps, AFFINE)
    assert [finding.code for finding in moved.findings] == ["padded-to-source"]


def test_same_grid():
    moved = onto(volume_of(FULL, AFFINE), grid_of())
    np.testing.assert_array_equal(moved.layers[0], FULL)
    assert moved.findings == ()


def test_flipped_whole_grid_is_not_padded():
    part, affine = part_of((0, 0, 0), FULL.shape, flips=(-1, 1, -1))
    moved = onto(volume_of(part, affine), grid_of())
    np.testing.assert_array_equal(moved.layers[0], FULL)
    assert moved.findings == ()


def test_cropped():
    small = AFFINE.copy()
    small[:, 3] = AFFINE @ [1, 2, 1, 1]
    moved = onto(volume_of(FULL, AFFINE), grid_of((3, 3, 4), small))
    np.testing.assert_array_equal(moved.layers[0], FULL[1:4, 2:5, 1:5])
    (finding,) = moved.findings
    assert finding.code == "cropped-to-source"
    assert int(finding.observed) == np.count_nonzero(FULL) - np.count_nonzero(FULL[1:4, 2:5, 1:5])


def test_outside_altogether():
    far = AFFINE.copy()
    far[:, 3] = AFFINE @ [100, 0, 0, 1]
    moved = onto(volume_of(FULL, far), grid_of())
    assert not moved.layers[0].any()
    assert {finding.code for finding in moved.findings} == {"cropped-to-source", "padded-to-source"}


def test_fractions_move_too():
    part, affine = part_of((1, 2, 1), (4, 6, 5))
    moved = onto(volume_of(part, affine, fractions={1: part}), grid_of())
    np.testing.assert_array_equal(moved.fractions[1][1:4, 2:6, 1:5], part)
    assert moved.layers == ()


def test_single_slice_of_any_thickness():
    part, affine = part_of((2, 0, 0), (3, 6, 7))
    affine[:3, 2] *= 0.4
    moved = onto(volume_of(part, affine), grid_of())
    np.testing.assert_array_equal(moved.layers[0][2], FULL[2])


def test_every_second_slice_only_where_the_distance_is_in_doubt():
    affine = AFFINE.copy()
    affine[:3, 2] *= 2
    part = np.ascontiguousarray(FULL[::2])
    doubt = Finding("ambiguous-spacing", "nothing states the spacing")
    moved = onto(volume_of(part, affine, findings=(doubt,)), grid_of())
    np.testing.assert_array_equal(moved.layers[0][::2], part)
    assert not moved.layers[0][1::2].any()
    with pytest.raises(UnsupportedSegError):
        onto(volume_of(part, affine), grid_of())


def _moved(shift=(0, 0, 0), scale=(1, 1, 1), turn=0.0):
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    change = rotation @ np.diag([*scale, 1.0])
    change[:3, 3] = shift
    return AFFINE @ change


@pytest.mark.parametrize(
    "affine", [_moved((0.4, 0, 0)), _moved(scale=(1.1, 1, 1)), _moved(turn=0.2), _moved(scale=(1, 1, 2))]
)
def test_never_resampled(affine):
    with pytest.raises(UnsupportedSegError) as caught:
        onto(volume_of(FULL, affine), grid_of())
    assert caught.value.code == "grid-mismatch"


def test_tolerance():
    moved = onto(volume_of(FULL, _moved((0.05, -0.03, 0.02))), grid_of())
    np.testing.assert_array_equal(moved.layers[0], FULL)


def test_other_frame_of_reference():
    with pytest.raises(UnsupportedSegError, match="FrameOfReferenceUID"):
        onto(volume_of(FULL, AFFINE, frame="2.25.8"), grid_of())
    assert onto(volume_of(FULL, AFFINE, frame=None), grid_of()).layers
    moved = onto(volume_of(FULL, AFFINE, frame="2.25.8"), grid_of(), any_frame_of_reference=True)
    np.testing.assert_array_equal(moved.layers[0], FULL)
    assert [finding.code for finding in moved.findings] == ["frame-of-reference-differs"]
    with pytest.raises(UnsupportedSegError, match="voxels off"):  # it is still no resampling
        onto(volume_of(FULL, _moved((0.4, 0, 0)), frame="2.25.8"), grid_of(), any_frame_of_reference=True)


# --- headers -------------------------------------------------------------------------------------


def image(k, step=2.5, **attributes):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"2.25.1{k}"
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.5", "2.25.9"
    ds.Rows, ds.Columns = 6, 7
    ds.PixelSpacing, ds.SliceThickness = [0.9, 0.7], 5
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [-3, 4, 10 + step * k]
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def write(folder, images):
    for n, ds in enumerate(images):
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    return folder


EXPECTED = np.array([[0.7, 0, 0, -3], [0, 0.9, 0, 4], [0, 0, 2.5, 10], [0, 0, 0, 1]])


def test_single_frames_in_any_order(tmp_path):
    grid = source_grid_from_files(write(tmp_path, [image(k) for k in (2, 0, 3, 1)]))
    assert grid.shape == (4, 6, 7)
    np.testing.assert_allclose(grid.affine_lps, EXPECTED)
    assert grid.sop_uids == ("2.25.10", "2.25.11", "2.25.12", "2.25.13")
    assert (grid.series_uid, grid.frame_of_reference_uid) == ("2.25.5", "2.25.9")
    assert source_grid_from_files(sorted(tmp_path.iterdir())).sop_uids == grid.sop_uids


def test_one_image_has_its_thickness(tmp_path):
    grid = source_grid_from_files(write(tmp_path, [image(0)]))
    np.testing.assert_allclose(grid.affine_lps[:3, 2], [0, 0, 5])


def test_enhanced(tmp_path):
    ds = image(0, PixelSpacing=None, ImageOrientationPatient=None, ImagePositionPatient=None)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.9, 0.7]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in (1, 0, 2):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [-3, 4, 10 + 2.5 * k]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.NumberOfFrames = 3
    grid = source_grid_from_files(write(tmp_path, [ds]))
    assert (grid.shape, grid.sop_uids) == ((3, 6, 7), ("2.25.10",) * 3)
    np.testing.assert_allclose(grid.affine_lps, EXPECTED)


@pytest.mark.parametrize(
    ("images", "code"),
    [
        ([image(0), image(1), image(3)], "irregular-spacing"),
        ([image(0), image(1), image(1)], "temporal-frames"),
        ([image(0), image(1, ImageOrientationPatient=[0, 1, 0, 1, 0, 0])], "multiple-orientations"),
        ([image(0), image(1, ImagePositionPatient=[0, 4, 12.5])], "sheared-positions"),
        ([image(0), image(1, Rows=8)], "invalid-attribute"),
        ([image(0, ImagePositionPatient=None)], "missing-attribute"),
        ([image(0, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])], "invalid-attribute"),
        ([image(0, PixelSpacing=[0, 1])], "invalid-attribute"),
    ],
)
def test_no_volume(images, code, tmp_path):
    with pytest.raises(SegError) as caught:
        source_grid_from_files(write(tmp_path, images))
    assert caught.value.code == code


def test_no_files(tmp_path):
    with pytest.raises(MissingError):
        source_grid_from_files(tmp_path)
    with pytest.raises(MissingError):
        source_grid_from_files(tmp_path / "none.dcm")
    (tmp_path / "text").write_text("not DICOM")
    with pytest.raises(NotSegError) as caught:
        source_grid_from_files(tmp_path)
    assert caught.value.code == "not-dicom"
