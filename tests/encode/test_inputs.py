"""Mask files and descriptions that are broken: a code and a sentence, never a raw exception."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segtools.encode.inputs.read import read_mask
from segtools.encode.metadata.read import read_description
from segtools.errors import MissingError, SegtoolsError, UsageError
from tests.factories import masks as made

FIELDS = {"Segment0_Name": "liver", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"space": "scanner-xyz"}, "space is"),
        ({"type": "block"}, "holds no labels"),
        ({"encoding": "hex"}, "encoding is"),
        ({"sizes": "1 2"}, "sizes are"),
        ({"sizes": "20 16 3000"}, "bytes"),
        ({"sizes": "20 16 300000000"}, "cannot hold"),
        ({"space directions": "(1,0,0) (0,1,0)"}, "no three space directions"),
        ({"space directions": "(1,0,0) (0,1,0) (0,0,x)"}, "space directions are"),
        ({"space origin": "(nan,0,0)"}, "not numbers"),
        ({"data file": "other.raw"}, "not there"),
        ({"data file": "../other.raw"}, "beside the header"),
    ],
)
def test_broken_nrrd(header: dict[str, str], says: str, tmp_path: Path) -> None:
    path = made.write_nrrd(tmp_path / "a.nrrd", [made.label_map()], header=header)
    with pytest.raises(UsageError, match=says) as caught:
        read_mask(path)
    assert caught.value.code == "mask-unreadable"


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_mask(tmp_path / "none.nrrd")
    for name in ("a.nrrd", "a.nii.gz", "a.nii", "a.npz", "a.npy", "a.txt"):
        (tmp_path / name).write_bytes(b"not a mask at all")
        with pytest.raises(UsageError) as caught:
            read_mask(tmp_path / name)
        assert caught.value.code == "mask-unreadable"
    np.savez(tmp_path / "b.npz", a=made.label_map(), b=made.label_map())
    with pytest.raises(UsageError, match="'affine'"):
        read_mask(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", a=made.label_map())
    with pytest.raises(UsageError, match="affine"):
        read_mask(tmp_path / "c.npz")


def ending(call: Callable[[], object]) -> str:
    """Code of the error that a call ends with; empty where it ends well."""
    try:
        call()
    except SegtoolsError as error:
        return error.code
    return ""


@pytest.mark.parametrize("kind", ["seg.nrrd", "nrrd", "nii.gz", "nii", "npz", "json", "tsv", "yaml"])
def test_mutated_files_end_in_codes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    labels = made.label_map()
    if kind.endswith("nrrd"):
        made.write_nrrd(path, [labels] * (2 if kind == "seg.nrrd" else 1), FIELDS)
    elif kind.startswith("nii"):
        import gzip

        raw = made.write_nifti(tmp_path / "b.nii.gz", labels).read_bytes()
        path.write_bytes(raw if kind == "nii.gz" else gzip.decompress(raw))
    elif kind == "npz":
        np.savez(path, a=labels.T, affine=np.eye(4))
    elif kind == "json":
        made.write_dcmqi(path, [[made.dcmqi_segment(1)]])
    elif kind == "tsv":
        path.write_text("index\tname\tcolor\n1\tliver\t#FF0000\n2\tspleen\tn/a\n")
    else:
        path.write_text("series: {number: 7}\nsegments:\n  - {label: 1, name: spleen, color: '#FF0000'}\n")
    sound = path.read_bytes()
    reader = read_description if kind in ("json", "tsv", "yaml") else read_mask
    reader(path)
    chance = random.Random(kind)
    codes: set[str] = set()
    for _ in range(150):
        broken = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(max(min(len(broken), 600), 1))
            action = chance.randrange(4)
            if action == 0 and broken:
                broken[at] = chance.randrange(256)
            elif action == 1:
                del broken[at : at + chance.randint(1, 30)]
            elif action == 2:
                broken[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
            else:
                broken = broken[: max(at, 1)]
        path.write_bytes(bytes(broken))
        codes.add(ending(lambda: reader(path)))
    assert codes & {"mask-unreadable", "metadata-invalid"}
    assert codes <= {"", "mask-unreadable", "metadata-invalid"}
