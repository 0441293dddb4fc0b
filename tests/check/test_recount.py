"""The audit's own measures: right by another count, in memory that follows the slices."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.check.recount import label_measures
from segtools.check.stored_volume import parse
from segtools.nifti.writer import write_volume


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 8)),
    seed=st.integers(0, 999),
    share=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_measures(shape, seed, share):
    rng = np.random.default_rng(seed)
    stored = (rng.integers(1, 5, shape) * (rng.random(shape) < share)).astype(np.uint8)
    found = label_measures(stored)
    assert sorted(found) == sorted(set(np.unique(stored).tolist()) - {0})
    for label, measured in found.items():
        k, j, i = np.nonzero(stored == label)
        assert measured["voxel_count"] == len(k)
        assert measured["slice_count"] == len(set(k.tolist()))
        assert [measured[f"bbox_min_{axis}"] for axis in "ijk"] == [i.min(), j.min(), k.min()]
        assert [measured[f"bbox_max_{axis}"] for axis in "ijk"] == [i.max(), j.max(), k.max()]
        np.testing.assert_allclose(measured["mean_ijk"], [i.mean(), j.mean(), k.mean()])
        planes = zip((k, j, i), shape, strict=True)
        border = any((index == 0).any() or (index == size - 1).any() for index, size in planes)
        assert measured["touches_border"] == border


def test_memory_follows_the_box_not_a_table_of_voxels():
    stored = np.ones((40, 200, 200), np.uint8)
    tracemalloc.start()
    try:
        assert label_measures(stored)[1]["component_count"] == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * stored.nbytes


def test_a_stored_volume_is_parsed(tmp_path):
    labels = np.arange(60, dtype=np.uint16).reshape(3, 4, 5) * 300
    write_volume(tmp_path / "a.nii.gz", labels, np.eye(4))
    array, affine = parse(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(array, labels)
    np.testing.assert_array_equal(affine, np.eye(4)[:3])


@pytest.mark.parametrize("kind", ["longer", "shorter", "gigabytes", "offset"])
def test_a_stored_volume_that_claims_what_it_has_not(tmp_path, kind):
    path = tmp_path / "a.nii.gz"
    write_volume(path, np.ones((3, 4, 5), np.uint8), np.eye(4))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    if kind == "gigabytes":
        raw[42:48] = np.array([1024, 1024, 1100], "<i2").tobytes()
    elif kind == "offset":
        raw[108:112] = np.float32(np.inf).tobytes()
    raw = raw[:-1] if kind == "shorter" else raw + b"x" if kind == "longer" else raw
    path.write_bytes(gzip.compress(bytes(raw)) + bytes(2 << 20 if kind == "gigabytes" else 0))
    with pytest.raises(ValueError, match=r"bytes|offset"):
        parse(path)
