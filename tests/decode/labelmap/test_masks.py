"""Label maps from frames, against the plainest way to do the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.decode.labelmap.masks import stack_masks
from segtools.decode.labelmap.plan import PaintPlan
from segtools.decode.labelmap.stored_values import stack_fractions, stack_labels, stored_values
from segtools.decode.pixels.frames import ArrayFrames, Frames, PackedFrames
from segtools.errors import CorruptSegError, UnsupportedSegError
from tests.factories.cores import both_cores

core = both_cores()

SIZES = [(8, 8), (16, 12), (3, 8), (5, 7), (1, 1), (4, 2), (40, 33)]
"""Rows and columns: whole words, whole bytes that are no words, neither."""


def packed(pixels: np.ndarray) -> Frames:
    """One bit per voxel, without gaps."""
    count, rows, columns = pixels.shape
    offsets = np.arange(count, dtype=np.int64) * rows * columns
    return PackedFrames(np.packbits(pixels.reshape(-1), bitorder="little"), offsets, (rows, columns))


ENCODERS = {
    "packed": packed,
    "bytes": lambda pixels: ArrayFrames(pixels.astype(np.uint8) * 255),
    "words": lambda pixels: ArrayFrames(pixels.astype(np.uint16) * 300),
}


def plan_of(segment: object, slices: object, shape: tuple[int, int, int], **knobs: object) -> PaintPlan:
    segment, slices = np.asarray(segment, np.int64), np.asarray(slices, np.int64)
    order = np.argsort(segment, kind="stable")
    dtype = np.dtype(np.uint16 if segment.max(initial=0) > 255 else np.uint8)
    known = {"dtype": dtype, "max_bytes": 1 << 30, **knobs}
    return PaintPlan(shape, order, slices[order], segment[order], **known)  # type: ignore[arg-type]


def greedy(pixels: np.ndarray, segment: np.ndarray, slices: np.ndarray, shape: tuple[int, int, int]):
    """Voxel by voxel: the layer of each segment, and the layers."""
    layers, layer_of = [np.zeros(shape, np.int64)], {}
    for number in sorted(set(segment.tolist())):
        mask = np.zeros(shape, bool)
        for frame in np.flatnonzero(segment == number):
            mask[slices[frame]] |= pixels[frame]
        if not mask.any():
            layer_of[number] = 0
            continue
        free = [index for index, layer in enumerate(layers) if not layer[mask].any()]
        if not free:
            layers.append(np.zeros(shape, np.int64))
            free = [len(layers) - 1]
        layers[free[0]][mask] = number
        layer_of[number] = free[0]
    return layers, layer_of


@given(
    size=st.sampled_from(SIZES),
    encoder=st.sampled_from(sorted(ENCODERS)),
    numbers=st.sampled_from([(1, 2, 3), (7,), (1, 255), (2, 256, 65535)]),
    frames=st.integers(1, 24),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_equals_the_plain_way(size, encoder, numbers, frames, density, seed):
    rng = np.random.default_rng(seed)
    shape = (5, *size)
    pixels = rng.random((frames, *size)) < density
    segment, slices = rng.choice(numbers, frames), rng.integers(0, 5, frames)
    first: dict[tuple[int, int], int] = {}
    for frame, key in enumerate(zip(segment.tolist(), slices.tolist(), strict=True)):
        pixels[frame] = pixels[first.setdefault(key, frame)]  # repeated frames are equal
    layers, layer_of = greedy(pixels, segment, slices, shape)
    got = stack_masks(ENCODERS[encoder](pixels), plan_of(segment, slices, shape))
    assert got.layer_of == layer_of
    assert len(got.arrays) == len(layers)
    for array, layer in zip(got.arrays, layers, strict=True):
        assert np.array_equal(array, layer)
        assert array.flags.c_contiguous
        assert array.dtype == (np.uint16 if segment.max() > 255 else np.uint8)
    pairs = {(s, k) for s, k in zip(segment.tolist(), slices.tolist(), strict=True)}
    assert bool(got.repeated) == (len(pairs) < frames)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_frames_of_one_segment_in_one_slice_that_differ_are_refused(encoder, size):
    pixels = np.zeros((3, *size), bool)
    pixels[:, 1, 1] = True
    pixels[2, 2, 2] = True
    frames = ENCODERS[encoder](pixels)
    assert stack_masks(frames, plan_of([4, 4, 5], [0, 0, 0], (1, *size))).repeated == [4]
    with pytest.raises(CorruptSegError, match="segment 4 in slice 0 differ in 1 voxels") as refused:
        stack_masks(frames, plan_of([4, 5, 4], [0, 0, 0], (1, *size)))
    assert refused.value.code == "conflicting-frames"


def test_many_frames_of_a_segment_pass_in_chunks():
    rng = np.random.default_rng(0)
    pixels = rng.random((300, 64, 64)) < 0.01
    plan = plan_of(np.ones(300), rng.permutation(300), (300, 64, 64))
    got = stack_masks(packed(pixels), plan)
    assert np.array_equal(got.arrays[0][plan.slice], pixels)


def test_frames_may_lie_in_any_order_in_the_file():
    rng = np.random.default_rng(1)
    pixels = rng.random((40, 8, 8)) < 0.2
    pixels[20:] &= ~pixels[:20]
    segment = np.tile([2, 1], 20)
    slices = np.repeat(np.arange(20), 2)
    pixels[1::2] &= ~pixels[::2]
    got = stack_masks(packed(pixels), plan_of(segment, slices, (20, 8, 8)))
    assert len(got.arrays) == 1
    for number, start in ((2, 0), (1, 1)):
        assert np.array_equal(got.arrays[0] == number, pixels[start::2])


def test_a_conflict_late_in_a_segment_leaves_nothing_behind():
    pixels = np.zeros((62, 64, 64), bool)
    pixels[:, 0, 0] = True
    segment = np.array([1] + [2] * 61)
    slices = np.array([60, *range(61)])
    got = stack_masks(packed(pixels), plan_of(segment, slices, (61, 64, 64)))
    assert len(got.arrays) == 2
    assert np.count_nonzero(got.arrays[0]) == 1
    assert np.count_nonzero(got.arrays[1]) == 61


def test_memory_is_refused_before_it_is_taken():
    frames = packed(np.ones((2, 8, 8), bool))
    huge = plan_of([1, 2], [0, 1], (1 << 40, 8, 8))
    with pytest.raises(UnsupportedSegError) as refused:
        stack_masks(frames, huge)
    assert refused.value.code == "memory-limit"
    one_layer_only = plan_of([1, 2], [0, 0], (2, 8, 8), max_bytes=200)
    with pytest.raises(UnsupportedSegError):
        stack_masks(frames, one_layer_only)
    assert len(stack_masks(frames, plan_of([1, 2], [0, 0], (2, 8, 8), max_bytes=256)).arrays) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", SIZES)
def test_label_frames_keep_their_values(dtype, size):
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(2).integers(0, top, (4, *size), dtype=dtype, endpoint=True)
    plan = plan_of(np.zeros(4), [3, 0, 4, 1], (5, *size), dtype=np.dtype(dtype))
    got = stack_labels(ArrayFrames(pixels), plan, 9)
    assert np.array_equal(got.array[[3, 0, 4, 1]], pixels)
    assert (got.array[2] == 9).all()
    assert got.present.tolist() == sorted({9, *pixels.reshape(-1).tolist()})
    assert got.repeated == 0
    assert stored_values(ArrayFrames(pixels), range(4), np.dtype(dtype)) == np.unique(pixels).tolist()


def test_label_frames_at_one_position():
    left, right = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    left[:, :2], right[:, 2:] = 1, 2
    plan = plan_of([0, 0], [0, 0], (1, 2, 4))
    united = stack_labels(ArrayFrames(np.stack([left, right])), plan, 0)
    assert united.repeated == 1
    assert np.array_equal(united.array[0], left + right)
    assert np.array_equal(stack_labels(ArrayFrames(np.stack([left, left])), plan, 0).array[0], left)
    clash, again, nothing = right.copy(), right.copy(), np.zeros_like(right)
    clash[0, 0], again[0, 3] = 2, 1
    for other in (clash, again, nothing):
        with pytest.raises(CorruptSegError) as refused:
            stack_labels(ArrayFrames(np.stack([left, other])), plan, 0)
        assert refused.value.code == "conflicting-frames"


def test_fractions_stay_apart_and_are_cut_on_request_only():
    pixels = np.random.default_rng(3).integers(0, 255, (4, 3, 5), dtype=np.uint8)
    pixels[3] = pixels[2]
    plan = plan_of([1, 1, 2, 2], [0, 1, 1, 1], (3, 3, 5))
    whole, cut = (stack_fractions(ArrayFrames(pixels), plan, maximum) for maximum in (None, 100))
    assert np.array_equal(whole[1][:2], pixels[:2])
    assert not whole[1][2].any()
    assert np.array_equal(whole[2][1], pixels[2])
    assert np.array_equal(cut[1], np.minimum(whole[1], 100))
    with pytest.raises(UnsupportedSegError):
        stack_fractions(ArrayFrames(pixels), plan_of([1, 2], [0, 1], (3, 3, 5), max_bytes=89), None)
    with pytest.raises(CorruptSegError) as refused:
        stack_fractions(ArrayFrames(pixels), plan_of([1, 1, 2, 2], [1, 1, 1, 1], (3, 3, 5)), None)
    assert refused.value.code == "conflicting-frames"
