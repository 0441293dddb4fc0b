"""Grids from positions: what is found, what is refused, what is noted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.decode.geometry.frame_table import FrameTable
from segtools.decode.geometry.grid import Placement, place_frames
from segtools.decode.geometry.orientation import orientation_groups
from segtools.errors import CorruptSegError, SegError, UnsupportedSegError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


def table_of(
    heights: object,
    *,
    between: float = np.nan,
    thickness: float = np.nan,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (0.7, 0.7),
    quantum: float = 0.0,
) -> FrameTable:
    """Frames at these distances along the normal, mm."""
    along = np.asarray(heights, float)
    count = len(along)
    normal = np.cross(orientation[:3], orientation[3:])
    return FrameTable(
        count=count,
        position=np.array([-100.0, 50.0, 7.0]) + along[:, None] * normal / np.linalg.norm(normal),
        quantum_mm=quantum,
        orientation=np.tile(orientation, (count, 1)),
        pixel_spacing=np.tile(spacing, (count, 1)).astype(float),
        slice_spacing=np.full(count, between),
        slice_thickness=np.full(count, thickness),
        segment=np.ones(count, np.int64),
        stack=np.zeros(count, "S1"),
        is_slide=False,
    )


def placed(*args: object, **knobs: object) -> Placement:
    return place_frames(table_of(*args, **knobs), 4, 5)  # type: ignore[arg-type]


def codes(placement: Placement) -> set[str]:
    return {finding.code for finding in placement.findings}


@given(
    step=st.floats(0.1, 20),
    index=st.lists(st.integers(0, 60), min_size=2, max_size=40, unique=True),
    orientation=st.sampled_from([AXIAL, OBLIQUE, (0.0, 1, 0, 0, 0, -1), (1.0, 0, 0, 0, -1, 0)]),
    stated=st.sampled_from([1.0, -1.0, 0.9995]),
)
def test_stated_spacing_places_any_subset_of_slices(step, index, orientation, stated):
    placement = placed(np.array(index) * step, between=stated * step, orientation=orientation)
    first, last = min(index), max(index)
    assert placement.grid.shape == (last - first + 1, 4, 5)
    assert placement.slice_of_frame.tolist() == [i - first for i in index]
    assert placement.grid.spacing_mm[2] == pytest.approx(step, rel=1e-6)
    normal = np.cross(orientation[:3], orientation[3:])
    assert placement.grid.affine_lps[:3, 2] == pytest.approx(step * normal, abs=1e-5)
    assert placement.grid.affine_lps[:3, 3] == pytest.approx(
        np.array([-100, 50, 7]) + first * step * normal, abs=1e-5
    )
    assert np.linalg.det(placement.grid.affine_lps[:3, :3]) > 0  # row × column is the third axis


@given(
    step=st.floats(0.2, 10),
    slices=st.integers(3, 60),
    seed=st.integers(0, 999),
    stated=st.booleans(),
)
def test_positions_within_one_percent_are_one_slice(step, slices, seed, stated):
    noise = np.random.default_rng(seed).uniform(-0.004, 0.004, (3, slices)) * step
    heights = (np.arange(slices) * step + noise).reshape(-1)
    placement = placed(heights, between=step if stated else np.nan, spacing=(step / 2, step / 2))
    assert placement.grid.shape[0] == slices
    assert placement.slice_of_frame.tolist() == list(range(slices)) * 3
    assert placement.grid.spacing_mm[2] == pytest.approx(step, rel=0.004)
    assert codes(placement) >= {"position-jitter"}


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_rounded_positions_are_fitted(decimals):
    heights = np.round(np.arange(200) * 0.703125, decimals)
    placement = placed(heights, quantum=10.0**-decimals)
    assert placement.grid.shape[0] == 200
    assert placement.grid.spacing_mm[2] == pytest.approx(0.703125, rel=1e-4)


def test_rounding_of_a_stated_spacing_does_not_add_up():
    heights = np.array([0, 1, 2, 150, 151, 399]) * 0.703125
    placement = placed(heights, between=0.7)
    assert placement.slice_of_frame.tolist() == [0, 1, 2, 150, 151, 399]


@pytest.mark.parametrize(
    ("heights", "knobs", "slices", "spacing", "noted"),
    [
        ([0, 1, 2], {"between": 5.0}, 3, 1.0, {"spacing-contradicts-positions"}),
        ([0, 5, 10], {"between": 1.0}, 11, 1.0, {"missing-slices"}),
        ([0, 5, 10], {"thickness": 5.0}, 3, 5.0, set()),
        ([0, 5, 10], {"thickness": 1.0}, 3, 5.0, {"ambiguous-spacing"}),
        ([0, 5, 10], {}, 3, 5.0, {"ambiguous-spacing"}),
        ([0, 5, 10, 12.5], {"thickness": 2.5}, 6, 2.5, {"missing-slices"}),
        ([0, 0.5, 1], {"thickness": 5.0}, 3, 0.5, set()),
        ([0, 0, 0], {"between": 2.0}, 1, 2.0, set()),
        ([0, 1e-6], {"thickness": 2.0}, 1, 2.0, {"spacing-assumed"}),
        ([0], {}, 1, 1.0, {"spacing-assumed"}),
        ([0, 20], {"between": 1.0}, 21, 1.0, {"missing-slices"}),
        ([0, 20.4], {"between": 1.0}, 2, 20.4, {"spacing-contradicts-positions"}),
        ([0, 1000, 2000], {"between": 0.01}, 200001, 0.01, {"missing-slices"}),
        ([0, 1, 2], {"between": np.inf, "thickness": 1.0}, 3, 1.0, set()),
    ],
)
def test_which_spacing_is_believed(heights, knobs, slices, spacing, noted):
    placement = placed(heights, **knobs)
    assert placement.grid.shape[0] == slices
    assert placement.grid.spacing_mm[2] == pytest.approx(spacing, abs=1e-6)
    assert codes(placement) == noted


@pytest.mark.parametrize("heights", [[0, 1, 2.5], [0, 2, 5], [0, 2.5, 5, 7.5, 8.5, 9.5], [0, 1, 2, 3.05, 4]])
@pytest.mark.parametrize("quantum", [0.0, 1.0])
def test_irregular_slices_are_refused(heights, quantum):
    with pytest.raises(UnsupportedSegError) as refused:
        placed(heights, quantum=quantum)
    assert refused.value.code == "irregular-spacing"


def test_strict_refuses_what_tolerant_repairs():
    jitter = table_of([0, 1.001, 2, 3], between=1.0)
    contradiction = table_of([0, 1, 2], between=5.0)
    for table in (jitter, contradiction):
        place_frames(table, 4, 5)
        with pytest.raises(UnsupportedSegError) as refused:
            place_frames(table, 4, 5, "strict")
        assert refused.value.code == "irregular-spacing"
    assert place_frames(table_of([0, 1, 2], between=1.0), 4, 5, "strict").grid.shape == (3, 4, 5)


LESIONS = [0.0, 0.6, 1.2, 1.8, 1200.0, 1200.6, 1201.2, 1201.8]
"""Two lesions, far apart, in slices of 0.6 mm."""


@pytest.mark.parametrize("between", [np.nan, 0.6, 5.0], ids=["unstated", "stated", "wrong"])
@pytest.mark.parametrize("segments", [[1] * 8, list(range(1, 9))], ids=["one", "many"])
def test_positions_far_apart_keep_their_spacing(between, segments):
    table = replace(table_of(LESIONS, between=between), segment=np.array(segments))
    placement = place_frames(table, 4, 5)
    assert placement.grid.spacing_mm[2] == pytest.approx(0.6)
    assert placement.slice_of_frame.tolist() == [0, 1, 2, 3, 2000, 2001, 2002, 2003]


@pytest.mark.parametrize("segments", [[1] * 8, list(range(1, 9))], ids=["one", "many"])
def test_a_gap_of_no_whole_slices_is_no_excuse_for_a_looser_spacing(segments):
    heights = [*LESIONS[:4], *(h + 0.3 for h in LESIONS[4:])]
    with pytest.raises(UnsupportedSegError) as refused:
        place_frames(replace(table_of(heights), segment=np.array(segments)), 4, 5)
    assert refused.value.code == "irregular-spacing"


def test_space_between_positions_is_bounded_by_the_memory_allowed():
    table = table_of(LESIONS)
    assert place_frames(table, 400, 500, max_bytes=2 * 2000 * 400 * 500).grid.shape[0] == 2004
    with pytest.raises(UnsupportedSegError, match=r"span 2004 slices 0\.6 mm apart") as refused:
        place_frames(table, 400, 500, max_bytes=2 * 1990 * 400 * 500)
    assert refused.value.code == "memory-limit"


@pytest.mark.parametrize(("segments", "merged"), [([1, 2, 1, 2, 1, 2], True), ([1, 1, 1, 1, 1, 1], False)])
def test_distinct_positions_of_one_segment_never_share_a_slice(segments, merged):
    """40 micrometres off, of slices of 5 mm: jitter between segments, but not within one."""
    heights = [0.0, 0.04, 5.0, 5.04, 10.0, 10.04]
    table = replace(table_of(heights, between=5.0), segment=np.array(segments))
    if merged:
        assert place_frames(table, 4, 5).slice_of_frame.tolist() == [0, 0, 1, 1, 2, 2]
        return
    try:
        slices = place_frames(table, 4, 5).slice_of_frame.tolist()
    except UnsupportedSegError as error:
        slices = [error.code]
    assert len(set(slices)) in (1, 6)


def test_sheared_slices_are_refused():
    table = table_of(np.arange(5) * 2.0)
    table.position[:, 0] += np.arange(5) * 0.4
    with pytest.raises(UnsupportedSegError) as refused:
        place_frames(table, 4, 5)
    assert refused.value.code == "sheared-positions"


def test_orientations():
    table = table_of(np.arange(6) * 2.0)
    table.orientation[3:] = OBLIQUE
    table.orientation[1] += 1e-5
    assert orientation_groups(table).tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(UnsupportedSegError) as refused:
        place_frames(table, 4, 5)
    assert refused.value.code == "multiple-orientations"


def test_orientation_is_made_orthonormal():
    placement = placed(np.arange(3), orientation=(2.0, 0, 0, 0.1, 1.0, 0), between=1.0)
    assert "orientation-normalised" in codes(placement)
    axes = placement.grid.affine_lps[:3, :3] / placement.grid.spacing_mm
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"orientation": np.zeros((3, 6))}, "invalid-attribute"),
        ({"orientation": np.tile([1.0, 0, 0, 1, 0, 0], (3, 1))}, "invalid-attribute"),
        ({"orientation": np.full((3, 6), np.nan)}, "missing-attribute"),
        ({"pixel_spacing": np.zeros((3, 2))}, "invalid-attribute"),
        ({"pixel_spacing": np.full((3, 2), -1.0)}, "invalid-attribute"),
        ({"pixel_spacing": np.full((3, 2), 1e300)}, "invalid-attribute"),
        ({"pixel_spacing": np.full((3, 2), np.nan)}, "missing-attribute"),
        ({"pixel_spacing": np.array([[1.0, 1], [1, 1], [2, 2]])}, "irregular-spacing"),
        ({"position": np.full((3, 3), 1e300)}, "invalid-attribute"),
        ({"position": np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, np.nan]])}, "invalid-attribute"),
        ({"position": np.full((3, 3), np.nan)}, "no-geometry"),
    ],
)
def test_numbers_that_make_no_grid(change, code):
    with pytest.raises(SegError) as refused:
        place_frames(replace(table_of(np.arange(3)), **change), 4, 5)
    assert refused.value.code == code


@given(
    st.lists(st.floats(-9e6, 9e6), min_size=1, max_size=6),
    st.one_of(st.just(np.nan), st.floats(0, 1e3)),
    st.sampled_from([0.0, 1e-6, 0.1, 1.0]),
)
def test_any_positions_give_a_bounded_grid_or_a_refusal(heights, between, quantum):
    try:
        placement = placed(heights, between=between, quantum=quantum)
    except (UnsupportedSegError, CorruptSegError):
        return
    gaps = placement.grid.shape[0] - len(np.unique(placement.slice_of_frame))
    assert gaps * 4 * 5 <= (8 << 30) // 8
    assert placement.slice_of_frame.min() >= 0
    assert placement.slice_of_frame.max() < placement.grid.shape[0]


def test_origin_is_the_position_as_written():
    placement = placed([7.300000000000001, 4.8, 2.3], between=2.5)
    assert placement.grid.affine_lps[:3, 3].tolist() == [-100.0, 50.0, 9.3]
