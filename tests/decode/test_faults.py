"""Files that went wrong elsewhere: each is read right, or refused by the right code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtools.decode import SegVolume, read, read_parts
from segtools.errors import SegError
from tests.faults import FAULTS, expected


def voxels(volume: SegVolume) -> dict[str, int]:
    return {str(s.number): int(np.count_nonzero(volume.mask(s.number))) for s in volume.segments}


def read_or_code(path: Path) -> SegVolume | str:
    try:
        return read(path)
    except SegError as error:
        return error.code


@pytest.mark.parametrize(
    ("name", "right"),
    [pytest.param(name, right, id=name) for name, right in expected().items()],
)
def test_a_file_of_the_folder(name: str, right: dict[str, Any]) -> None:
    assert FAULTS is not None
    volume = read_or_code(FAULTS / name)
    if isinstance(volume, str):
        assert volume in right.get("code", ())
        if "parts" in right:
            assert [voxels(part) for part in read_parts(FAULTS / name)] == right["parts"]
        return
    found = voxels(volume)
    if "voxels_each" in right:
        assert Counter(found.values()) == {right["voxels_each"]: right["segments"]}
    else:
        assert found == right.get("voxels"), "read, though it must be refused or have other voxels"
    if "label" in right:
        assert volume.segments[0].label == right["label"]
    if "source_instances" in right:
        assert len(volume.header.source_instance_uids) == right["source_instances"]
