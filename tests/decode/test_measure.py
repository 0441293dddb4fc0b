"""Measures against the same numbers got the plain way, mask by mask."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.decode.measure import measure
from segtools.decode.volume import Grid, SegHeader, Segment, SegVolume
from tests.factories.cores import both_cores

core = both_cores()

AFFINE = np.array([[0.5, 0.1, 0.0, -12.0], [-0.1, 0.75, 0.2, 30.0], [0.0, -0.2, 2.5, 7.0], [0, 0, 0, 1.0]])


def volume_of(*layers, fractions=None, numbers=(), maximum=None, affine=AFFINE):
    shape = (layers or list((fractions or {}).values()))[0].shape
    layer_of = {int(n): at for at, layer in enumerate(layers) for n in np.unique(layer) if n}
    numbers = sorted({*layer_of, *(fractions or {}), *numbers})
    kind = "FRACTIONAL" if fractions else "BINARY"
    header = SegHeader("1", "1", "1", "1", "1", "p", None, kind, 1, 1, max_fractional_value=maximum)
    return SegVolume(
        layers,
        {n: layer_of.get(n, 0) for n in numbers if n not in (fractions or {})},
        tuple(Segment(n) for n in numbers),
        Grid(shape, affine),
        header,
        fractions=fractions or {},
    )


def check_plainly(volume):
    """Every measure of every segment, from its mask alone."""
    measures = measure(volume)
    assert [m.number for m in measures] == [segment.number for segment in volume.segments]
    masks = {m.number: volume.mask(m.number) for m in measures}
    for m in measures:
        mask = masks[m.number]
        k, j, i = np.nonzero(mask)
        assert m.voxel_count == len(k)
        others = np.zeros(mask.shape, bool)
        for number, other in masks.items():
            if number != m.number:
                others |= other
        assert m.overlap_voxel_count == np.count_nonzero(mask & others)
        if not len(k):
            assert (m.volume_ml, m.bbox_ijk, m.centroid_ras_mm, m.slice_count) == (0, None, None, 0)
            assert (m.component_count, m.largest_component_fraction, m.touches_border) == (0, None, False)
            continue
        assert m.bbox_ijk == (i.min(), i.max(), j.min(), j.max(), k.min(), k.max())
        centre = volume.grid.affine_ras @ [i.mean(), j.mean(), k.mean(), 1]
        np.testing.assert_allclose(m.centroid_ras_mm, centre[:3], rtol=0, atol=1e-9)
        assert m.slice_count == len(np.unique(k))
        components, count = cc3d.connected_components(np.pad(mask, 1), connectivity=26, return_N=True)
        sizes = np.bincount(components.ravel())[1:]
        assert m.component_count == count
        assert m.largest_component_fraction == pytest.approx(sizes.max() / len(k), abs=1e-12)
        padded = np.pad(mask, 1)
        inner = padded[2:-2, 2:-2, 2:-2]
        assert m.touches_border == (np.count_nonzero(inner) < len(k))
    return {m.number: m for m in measures}


shapes = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 20))


@given(shapes, st.integers(0, 2**16), st.floats(0, 1), st.sampled_from([np.uint8, np.uint16]))
def test_label_map(shape, seed, density, dtype):
    rng = np.random.default_rng(seed)
    labels = rng.choice([1, 2, 9, 200], size=shape) * (rng.random(shape) < density)
    volume = volume_of((labels * (300 if dtype == np.uint16 else 1)).astype(dtype), numbers=(5,))
    for m in check_plainly(volume).values():
        assert m.volume_ml == pytest.approx(m.voxel_count * volume.grid.voxel_volume_ml)


@given(shapes, st.integers(0, 2**16), st.integers(2, 4))
def test_layers_that_share_voxels(shape, seed, count):
    rng = np.random.default_rng(seed)
    layers = [(rng.integers(-4, 3, shape).clip(0) + 0).astype(np.uint8) for _ in range(count)]
    layers = [np.where(layer, layer + 10 * n, 0).astype(np.uint8) for n, layer in enumerate(layers)]
    check_plainly(volume_of(*layers))


@given(shapes, st.integers(0, 2**16))
def test_fractions(shape, seed):
    rng = np.random.default_rng(seed)
    fractions = {n: rng.integers(-100, 101, shape).clip(0).astype(np.uint8) for n in (1, 4)}
    volume = volume_of(fractions=fractions, maximum=100)
    for number, m in check_plainly(volume).items():
        expected = fractions[number].sum(dtype=np.int64) / 100 * volume.grid.voxel_volume_ml
        assert m.volume_ml == pytest.approx(expected)


def test_two_balls_and_a_bridge():
    """One label whose box holds another one: in its own box it must not be cut or joined."""
    labels = np.zeros((5, 6, 16), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    labels[1:4, 1:4, 8:11] = 1
    labels[2, 2, 4:8] = 2
    m = check_plainly(volume_of(labels))
    assert (m[1].component_count, m[1].largest_component_fraction) == (2, 0.5)
    assert (m[2].voxel_count, m[2].bbox_ijk, m[2].touches_border) == (4, (4, 7, 2, 2, 2, 2), False)


def test_scattered_labels_are_looked_at_together():
    """Labels whose boxes are each the whole grid: one pass for all of them."""
    labels = np.zeros((4, 8, 8), np.uint8)
    for n in range(1, 6):
        labels[0, 0, n], labels[-1, -1, n] = n, n
        labels[0, n, 0], labels[-1, n, -1] = n, n
    m = check_plainly(volume_of(labels))
    assert {m[n].component_count for n in range(3, 6)} == {4}


def test_corners_connect():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 3
    m = check_plainly(volume_of(labels))[3]
    assert (m.component_count, m.largest_component_fraction, m.slice_count) == (1, 1.0, 3)


def test_zero_that_is_a_segment():
    labels = np.array([[[0, 1], [1, 1]]], np.uint8)
    volume = volume_of(labels, numbers=(0,))
    measures = {m.number: m for m in measure(volume)}
    assert measures[0].voxel_count == int(volume.mask(0).sum()) == 1
    assert measures[1].voxel_count == 3


def test_nothing_at_all():
    check_plainly(volume_of(np.zeros((2, 3, 4), np.uint8), numbers=(1, 2)))
