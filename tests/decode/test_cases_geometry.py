"""Edge cases of SEG: every row of the section geometry."""

from __future__ import annotations

import pytest

from segtools.decode import read, read_parts
from segtools.errors import SegError
from tests.factories.case import SHAPE, Case, answer, masks
from tests.factories.cases_geometry import concatenation, geometry_cases
from tests.factories.judge import judge, same_voxels
from tests.factories.seg import SegFactory


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
