"""How much memory a file will take: by its header, not by its bytes."""

from __future__ import annotations

import pytest

from segtools.decode.memory import estimate_memory
from tests.factories.case import masks
from tests.factories.seg import SegFactory

BASE = 60_000_000


def test_the_grid_counts_not_the_bytes():
    small, large = (
        estimate_memory(SegFactory.of_masks(masks(shape)).build()) for shape in ((4, 64, 64), (4, 256, 256))
    )
    assert small == BASE + 4 * 64 * 64 + int(1.5 * 64 * 64)
    assert large == BASE + 4 * 256 * 256 + int(1.5 * 256 * 256)


def test_numbers_above_255_take_two_bytes():
    shape = (4, 64, 64)
    assert estimate_memory(SegFactory.of_masks(masks(shape, (1, 300))).build()) == (
        BASE + 2 * 4 * 64 * 64 + int(1.5 * 2 * 64 * 64)
    )


@pytest.mark.parametrize("data", [b"", b"no DICOM at all" * 20])
def test_what_cannot_be_read_takes_no_label_map(data):
    assert estimate_memory(data) == BASE
