"""Edge cases of SEG: every row of the section geometry."""

from __future__ import annotations

import numpy as np
import pytest

from segtools.decode import read, read_parts
from segtools.decode.geometry.source_grid import SourceGrid, onto
from segtools.decode.volume import SegVolume
from segtools.errors import SegError
from tests.factories.case import SHAPE, Case, answer, masks
from tests.factories.cases_geometry import concatenation, geometry_cases
from tests.factories.judge import judge, same_voxels
from tests.factories.seg import UID, SegFactory, source_uid


@pytest.mark.parametrize("case", geometry_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_concatenation_is_joined_in_any_order(order: tuple[int, int]) -> None:
    """E66."""
    of = masks()
    parts = concatenation(of)
    volume = read([parts[i].build() for i in order])
    same_voxels(volume, answer(SegFactory.of_masks(of), of))


def test_concatenation_wants_each_part_once() -> None:
    part = concatenation(masks())[0].build()
    with pytest.raises(SegError) as refused:
        read([part, part])
    assert refused.value.code == "incomplete-concatenation"


def test_seg_of_one_series_are_read_one_by_one() -> None:
    """E67."""
    for instance, seed in ((1, 3), (2, 4)):
        of = masks(seed=seed)
        seg = SegFactory.of_masks(of, instance=instance)
        volume = read(seg.build())
        same_voxels(volume, answer(seg, of))
        assert volume.header.sop_instance_uid.endswith(f".1.{instance}")


def test_a_sound_file_has_one_part() -> None:
    of = masks(SHAPE)
    seg = SegFactory.of_masks(of)
    (part,) = read_parts(seg.build())
    same_voxels(part, answer(seg, of))


# --- on the grid of the source images (E40, E41, E65) ------------------------------------------------


def source_of(seg: SegFactory, slices: int) -> SourceGrid:
    """The series that a recipe's slices are numbered by."""
    uids = tuple(source_uid(k) for k in range(slices))
    return SourceGrid((slices, *seg.shape), seg.affine, uids, f"{UID}.5", f"{UID}.4")


def codes(volume: SegVolume) -> set[str]:
    return {finding.code for finding in volume.findings}


def test_left_out_border_slices_come_back() -> None:
    """E40."""
    of = masks((6, 7, 9))
    for mask in of.values():
        mask[[0, 1, 5]] = False
    seg = SegFactory.of_masks(of)
    volume = onto(read(seg.build()), source_of(seg, 6))
    same_voxels(volume, answer(seg, of))
    assert "padded-to-source" in codes(volume)
    assert "cropped-to-source" not in codes(volume)


def test_every_fifth_slice_falls_on_its_source_slice() -> None:
    """E41: only the source tells that slices were left out throughout."""
    of = masks((11, 7, 9))
    for mask in of.values():
        mask[[k for k in range(11) if k % 5]] = False
    seg = SegFactory.of_masks(of, step=1.0, between=None, thickness=1.0)
    volume = onto(read(seg.build()), source_of(seg, 11))
    same_voxels(volume, answer(seg, of))


def test_what_lies_outside_the_source_is_cut_off_and_counted() -> None:
    """E65."""
    of = masks((4, 7, 9))
    seg = SegFactory.of_masks(of)
    shifted = seg.but(origin=tuple((seg.affine @ (2, -3, 1, 1))[:3].tolist()))
    inside = {n: m[1:, :4, 2:] for n, m in of.items()}
    volume = onto(read(seg.build()), SourceGrid((4, 7, 9), shifted.affine, ()))
    for number, mask in inside.items():
        expected = np.zeros((4, 7, 9), bool)
        expected[:3, 3:, :7] = mask
        assert np.array_equal(volume.mask(number), expected)
    lost = sum(int(m.sum()) for m in of.values()) - sum(int(m.sum()) for m in inside.values())
    (cut,) = (f for f in volume.findings if f.code == "cropped-to-source")
    assert cut.observed == str(lost)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
@pytest.mark.parametrize("flipped", [(), (0,), (2,), (0, 1, 2)])
def test_source_axes_may_be_permuted_and_flipped(axes: tuple[int, ...], flipped: tuple[int, ...]) -> None:
    """The affine of the source is that of the mask's array after NumPy's transpose and flip."""
    of = masks()
    seg = SegFactory.of_masks(of, orientation=(0.8, 0.6, 0.0, -0.36, 0.48, 0.8))
    shape = tuple(SHAPE[a] for a in axes)
    affine = np.eye(4)
    affine[:3, 3] = seg.affine[:3, 3]
    for to, a in enumerate(axes):  # (k, j, i) axis `to` of the source is axis `a` of the mask
        column = seg.affine[:3, 2 - a]
        affine[:3, 2 - to] = -column if to in flipped else column
        affine[:3, 3] += column * (shape[to] - 1) * (to in flipped)
    volume = onto(read(seg.build()), SourceGrid((shape[0], shape[1], shape[2]), affine, ()))
    for number, mask in of.items():
        assert np.array_equal(volume.mask(number), np.flip(mask.transpose(axes), flipped))


@pytest.mark.parametrize("change", [(0.5, 0, 0), (0, 0.3, 0), (0, 0, 0.5)])
def test_a_shift_by_part_of_a_voxel_is_refused(change: tuple[float, float, float]) -> None:
    seg = SegFactory.of_masks(masks())
    off = seg.but(origin=tuple((seg.affine @ (*change, 1))[:3].tolist()))
    with pytest.raises(SegError) as refused:
        onto(read(seg.build()), SourceGrid(SHAPE, off.affine, ()))
    assert refused.value.code == "grid-mismatch"
