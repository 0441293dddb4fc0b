"""Files as memory."""

from __future__ import annotations

import os

import numpy as np
import pytest

from segtools.decode.dicom.mmap import MappedFile, Reader, map_file
from segtools.errors import CorruptSegError

CONTENT = np.random.default_rng(0).integers(0, 256, 3 * 4096 + 5).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT.tobytes())
    return path


@pytest.mark.parametrize("mapped", [True, False])
def test_parts_of_a_view(path, mapped):
    raw = map_file(path) if mapped else path.read_bytes()
    assert isinstance(raw, MappedFile) is mapped
    reader = Reader(np.frombuffer(memoryview(raw)[100:], np.uint8)[11:])
    target = np.zeros(5000, np.uint8)
    reader.into(target, 777)
    np.testing.assert_array_equal(target, CONTENT[888 : 888 + 5000])


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no preadv")
def test_a_file_cut_short_meanwhile_is_an_error_not_a_signal(path):
    raw = map_file(path)
    reader = Reader(np.frombuffer(raw, np.uint8))
    os.truncate(path, 4096)
    with pytest.raises(CorruptSegError) as caught:
        reader.into(np.zeros(100, np.uint8), 8000)
    assert caught.value.code == "truncated"


def test_the_file_is_closed_with_the_mapping(path):
    raw = map_file(path)
    descriptor = raw.descriptor
    os.fstat(descriptor)
    del raw
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_an_empty_file_is_no_bytes(tmp_path):
    (tmp_path / "file").touch()
    assert map_file(tmp_path / "file") == b""
