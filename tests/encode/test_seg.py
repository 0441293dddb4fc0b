"""What `encode` writes is read back by decode and by highdicom as what went in."""

from __future__ import annotations

import io

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from segtools.decode import Concept, Grid, Segment, read
from segtools.encode import Subject, encode, image_series
from segtools.errors import UsageError
from segtools.phantom.anatomy import LEFT, RIGHT, grid_around

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
KIDNEY = Concept("64033007", "SCT", "Kidney")
AFFINE = np.array([[2.0, 0, 0, -10.5], [0, 3, 0, -20], [0, 0, 4, 5], [0, 0, 0, 1]])
SHAPE = (5, 36, 34)
GRID = Grid(SHAPE, AFFINE)
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
ENCAPSULATED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def segment(number: int, **attributes) -> Segment:
    return Segment(number, f"Kidney {number}", category=ANATOMY, type=KIDNEY, **attributes)


def stored(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def labels(numbers: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, numbers + 1, SHAPE).astype(np.uint8)


@pytest.fixture(scope="module")
def source() -> list[Dataset]:
    return image_series(GRID, Subject("p1"))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("syntax", NATIVE + ENCAPSULATED, ids=lambda uid: uid.name)
def test_voxels_and_place_survive(kind: str, syntax: str, source: list[Dataset]) -> None:
    if kind == "BINARY" and syntax in ENCAPSULATED:
        with pytest.raises(UsageError, match="BINARY cannot be written"):
            encode(labels(), GRID, [segment(n) for n in (1, 2, 3)], source=source, transfer_syntax=syntax)
        return
    wanted = labels()
    segments = [segment(n) for n in (1, 2, 3)]
    raw = stored(encode(wanted, GRID, segments, source=source, kind=kind, transfer_syntax=syntax))
    volume = read(raw)
    assert volume.header.transfer_syntax_uid == syntax
    assert volume.header.segmentation_type == kind
    assert volume.header.source_series_uids == (source[0].SeriesInstanceUID,)
    assert {s.number for s in volume.segments} == {1, 2, 3}
    for number in (1, 2, 3):
        assert_same_voxels(volume.mask(number), volume.grid, wanted == number)
    peer = hd.seg.segread(io.BytesIO(raw)).get_volume(combine_segments=True)
    np.testing.assert_array_equal(peer.array[::-1], wanted)  # highdicom stacks from the top


def assert_same_voxels(mask: np.ndarray, grid: Grid, wanted: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """The masks have voxels at the same places in space, whatever their grids' order."""
    have = (grid.affine_lps @ _homogeneous(mask)).T
    want = (affine @ _homogeneous(wanted)).T
    assert len(have) == len(want)
    np.testing.assert_allclose(_ordered(have), _ordered(want), atol=1e-3)


def _homogeneous(mask: np.ndarray) -> np.ndarray:
    k, j, i = np.nonzero(mask)
    return np.stack([i, j, k, np.ones_like(i)])


def _ordered(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(2).T)]


@settings(max_examples=25)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    angle=st.floats(-1.2, 1.2),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    flip=st.booleans(),
)
def test_any_grid_round_trips(data, shape, angle, spacing, flip) -> None:
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    if flip:
        turn = turn[:, [1, 0, 2]]  # left-handed: slices run against the normal
    grid = grid_around((3.0, -40.0, 12.0), shape, spacing, turn)
    count = int(np.prod(shape))
    wanted = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), np.uint8)
    wanted = wanted.reshape(shape)
    made = encode(wanted, grid, [segment(1), segment(2)], subject=Subject("p"), omit_empty_frames=False)
    volume = read(stored(made))
    for number in (1, 2):
        assert_same_voxels(volume.mask(number), volume.grid, wanted == number, grid.affine_lps)


def test_overlap_becomes_layers(source: list[Dataset]) -> None:
    masks = {1: labels() > 0, 2: labels() == 2}
    made = encode(masks, GRID, [segment(1), segment(2)], source=source)
    assert made.SegmentsOverlap == "YES"
    volume = read(stored(made))
    assert len(volume.layers) == 2
    for number, mask in masks.items():
        assert volume.mask(number).sum() == mask.sum()


def test_fractions_keep_their_steps(source: list[Dataset]) -> None:
    wanted = {1: np.linspace(0, 1, labels().size).reshape(SHAPE)}
    made = encode(wanted, GRID, [segment(1)], source=source, kind="FRACTIONAL", maximum=200)
    volume = read(stored(made))
    assert volume.header.max_fractional_value == 200
    have = volume.fractions[1].astype(float) / 200
    assert abs(np.sort(have.ravel()) - np.sort(wanted[1].ravel())).max() <= 0.5 / 200 + 1e-6


def test_label_maps_take_any_number(source: list[Dataset]) -> None:
    wanted = labels().astype(np.uint16) * 300
    made = encode(wanted, GRID, [segment(n) for n in (300, 600, 900)], source=source, kind="LABELMAP")
    assert made.BitsAllocated == 16
    volume = read(stored(made))
    assert {s.number: int(volume.mask(s.number).sum()) for s in volume.segments} == {
        n: int((wanted == n).sum()) for n in (300, 600, 900)
    }


def test_meaning_survives(source: list[Dataset]) -> None:
    by_type = segment(
        1,
        description="the one on the right",
        type_modifiers=(RIGHT,),
        algorithm_type="AUTOMATIC",
        algorithm_name="Any Net",
        cielab=(40_000, 30_000, 20_000),
        tracking_id="lesion 1",
        tracking_uid="2.25.7",
    )
    by_region = segment(2, regions=(KIDNEY,), region_modifiers=(LEFT,), algorithm_type="MANUAL")
    volume = read(stored(encode(labels(2), GRID, [by_region, by_type], source=source)))
    assert volume.segments == (by_type, by_region)


def test_an_empty_segment_and_an_empty_mask_are_kept(source: list[Dataset]) -> None:
    made = read(stored(encode(labels(1), GRID, [segment(1), segment(2)], source=source)))
    assert not made.mask(2).any()
    nothing = read(stored(encode(np.zeros(SHAPE, np.uint8), GRID, [segment(1)], source=source)))
    assert [s.number for s in nothing.segments] == [1]
    assert not nothing.mask(1).any()


def test_without_images_it_refers_to_none() -> None:
    made = encode(labels(), GRID, [segment(n) for n in (1, 2, 3)], subject=Subject("p9"))
    assert made.PatientID == "p9"
    assert "ReferencedSeriesSequence" not in made
    assert not any("DerivationImageSequence" in item for item in made.PerFrameFunctionalGroupsSequence)
    assert read(stored(made)).header.source_instance_uids == ()


def test_a_seed_fixes_every_byte(source: list[Dataset]) -> None:
    call = {"masks": labels(), "grid": GRID, "segments": [segment(n) for n in (1, 2, 3)], "source": source}
    assert stored(encode(**call, seed="a")) == stored(encode(**call, seed="a"))
    first, second = encode(**call), encode(**call)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert encode(**call, seed="a").SOPInstanceUID != encode(**call, seed="b").SOPInstanceUID


SHEARED = Grid(SHAPE, AFFINE + np.array([[0, 0, 1.0, 0], [0] * 4, [0] * 4, [0] * 4]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"segments": []}, "at least one segment"),
        ({"segments": [segment(1), segment(3)]}, "must be 1 to n"),
        ({"segments": [segment(1), segment(1)]}, "must be 1 to n"),
        ({"segments": [segment(0)], "kind": "LABELMAP"}, "unique and 1 to 65535"),
        ({"segments": [Segment(1, "no codes")]}, "lacks its label, category or type"),
        ({"segments": [segment(1)]}, r"numbers \[2, 3\]"),
        ({"masks": labels()[:, :-1]}, "has shape"),
        ({"masks": labels().astype(float)}, "integers"),
        ({"masks": labels().astype(np.int16) - 1}, "integers from 0"),
        ({"masks": {1: labels()}}, "0 and 1 only"),
        ({"masks": {1: labels() / 2}, "kind": "FRACTIONAL"}, "must be 0 to 1"),
        ({"masks": {1: labels() * np.nan}, "kind": "FRACTIONAL"}, "must be 0 to 1"),
        ({"masks": {1: labels() > 0, 2: labels() > 1}, "kind": "LABELMAP"}, "share voxels"),
        ({"grid": SHEARED}, "not perpendicular"),
        ({"grid": Grid(SHAPE, AFFINE * 0)}, "not perpendicular"),
        ({"transfer_syntax": "1.2.840.10008.1.2.2"}, "cannot be written with transfer syntax"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_what_makes_no_segmentation_is_refused(change: dict, says: str, source: list[Dataset]) -> None:
    call = {
        "masks": labels(),
        "grid": GRID,
        "segments": [segment(n) for n in (1, 2, 3)],
        "source": source,
    } | change
    with pytest.raises(UsageError, match=says) as caught:
        encode(**call)
    assert caught.value.code == "invalid-mask"


def test_small_jpeg_2000_is_refused(source: list[Dataset]) -> None:
    small = Grid((2, 8, 8), AFFINE)
    with pytest.raises(UsageError, match=r"JPEG 2000 .* needs 32"):
        encode(
            np.ones((2, 8, 8), np.uint8),
            small,
            [segment(1)],
            source=source,
            kind="LABELMAP",
            transfer_syntax=JPEG2000Lossless,
        )
