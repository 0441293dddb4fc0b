"""Edge cases of SEG: every row of the section structure."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from segtools.decode import read
from tests.factories.case import Case, answer, masks
from tests.factories.cases import ROWS, all_cases
from tests.factories.cases_structure import stamped_header, structure_cases
from tests.factories.judge import judge, same_voxels
from tests.factories.seg import SegFactory


@pytest.mark.parametrize("case", structure_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)


def test_every_row_has_a_case() -> None:
    assert {case.id.split(":")[0] for case in all_cases()} == set(ROWS)
    assert len(ROWS) == len(set(ROWS))


def test_case_ids_are_unique() -> None:
    ids = [case.id for case in all_cases()]
    assert len(set(ids)) == len(ids)


def test_a_file_is_read_alike_from_wherever(tmp_path: Path) -> None:
    of = masks()
    seg = SegFactory.of_masks(of)
    data = seg.build()
    path = tmp_path / "seg.dcm"
    path.write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), path, str(path), io.BytesIO(data)):
        same_voxels(read(source), answer(seg, of))


def test_frames_beyond_two_gibibytes(tmp_path: Path) -> None:
    """E100: the length of PixelData is a 32-bit number, unsigned. The file is sparse: it takes no room."""
    rows = columns = 4096
    count = (2**31 // (rows * columns // 8)) + 2
    dot = np.zeros((1, rows, columns), bool)
    dot[0, 17, 4001] = True
    seg = SegFactory.of_masks({1: dot})
    header = stamped_header(seg, count)
    path = tmp_path / "large.dcm"
    size = count * rows * columns // 8
    with path.open("wb") as file:
        file.write(header + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, size))
        file.seek(size - rows * columns // 8, 1)
        file.write(seg.native_pixels())
    volume = read(path, segments=[1, count])  # the first frame and the last
    assert volume.header.frame_count == count
    assert np.argwhere(volume.mask(count)).tolist() == [[0, 17, 4001]]
    assert np.count_nonzero(volume.layers[0]) == 1
