"""Both cores on the same random input: `python -m tests.decode.core_fuzz_target CORE.so ROUNDS [SEED]`.

Run with a core that was built with `-fsanitize=address,undefined`, it finds reads and writes out of
bounds; with any core, differences. Half of the calls are hostile: parameters that no caller of ours
gives, which the core must refuse or survive.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np


def load(path: str):
    """The core at `path`, in place of the installed one."""
    loader = importlib.machinery.ExtensionFileLoader("segtools.native._core", path)
    spec = importlib.util.spec_from_file_location("segtools.native._core", path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def random_paint(rng):
    """Frames at any bit, in any order, of any overlap; in memory or in a file."""
    from segtools.decode.dicom.mmap import map_file
    from segtools.decode.labelmap.plan import PaintPlan
    from segtools.decode.pixels.frames import ArrayFrames, PackedFrames

    shape = tuple(int(v) for v in (rng.integers(1, 7), rng.integers(1, 40), rng.integers(1, 40)))
    pixels = shape[1] * shape[2]
    count = int(rng.integers(1, 30))
    top = int(rng.choice([3, 255, 300, 65535]))
    segment = (
        rng.integers(1, top + 1, count) if rng.random() < 0.3 else rng.integers(1, min(top, 6) + 1, count)
    )
    # One frame of a segment in a slice: `without_repeats` sees to that.
    segment, slices = np.unique([segment, rng.integers(0, shape[0], count)], axis=1)
    count, order = len(segment), rng.permutation(len(segment))
    segment, slices = segment[order], slices[order]
    order = np.argsort(segment, kind="stable")
    gaps = rng.integers(0, 40, count) if rng.random() < 0.3 else np.zeros(count, int)
    starts = np.cumsum(gaps) + np.arange(count) * pixels
    if rng.random() < 0.3:
        rng.shuffle(starts)
    values = (rng.random(int(starts.max()) + pixels) < rng.choice([0.0, 0.01, 0.1, 0.6, 1.0])).astype(
        np.uint8
    )
    plan = PaintPlan(
        shape,
        order,
        slices[order],
        segment[order],
        np.dtype(np.uint16 if segment.max() > 255 else np.uint8),
        1 << 30,
    )
    if rng.random() < 0.2:
        stored = np.stack([values[s : s + pixels] for s in starts]).reshape(count, *shape[1:])
        return ArrayFrames(stored.astype(np.uint16) * 257 if rng.random() < 0.5 else stored), plan
    packed = np.packbits(values, bitorder="little")
    if rng.random() < 0.3:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(b"x" * 5 + packed.tobytes())
        packed = np.frombuffer(memoryview(map_file(file.name))[5:], np.uint8)
        Path(file.name).unlink()
    return PackedFrames(packed, starts.astype(np.int64), shape[1:]), plan


def compare_paint(core, rng):
    """Layers of both cores."""
    from segtools.decode.labelmap.canvas import paint_masks
    from segtools.decode.labelmap.native_masks import paint_masks_natively

    frames, plan = random_paint(rng)
    a, b = paint_masks(frames, plan), paint_masks_natively(core, frames, plan)
    assert (a.layer_of, a.empty) == (b.layer_of, b.empty)
    assert len(a.arrays) == len(b.arrays)
    for left, right in zip(a.arrays, b.arrays, strict=True):
        assert left.dtype == right.dtype
        assert np.array_equal(left, right)


def compare_measures(core, rng):
    """Measures of both cores, and what planes share."""
    from segtools.decode.measure import _count_shared
    from segtools.decode.native_shapes import count_shared_natively, measure_labels_natively
    from segtools.decode.shapes import measure_labels

    dtype = rng.choice([np.uint8, np.uint16])
    shape = rng.integers(1, [9, 20, 40])
    some = rng.integers(1, np.iinfo(dtype).max, rng.integers(1, 6), endpoint=True)
    maps = [
        (rng.choice(some, shape) * (rng.random(shape) < rng.choice([0.02, 0.3, 0.9]))).astype(dtype)
        for _ in range(3)
    ]
    slices = np.flatnonzero(rng.random(shape[0]) < rng.choice([0.5, 1.0]))
    maps[0][np.setdiff1d(np.arange(shape[0]), slices)] = 0
    assert measure_labels(maps[0], slices) == measure_labels_natively(core, maps[0], slices)
    counts = [np.zeros((3, 1 << (8 * maps[0].itemsize)), np.int64) for _ in range(2)]
    _count_shared(maps, list(counts[0]))
    count_shared_natively(core, maps, list(counts[1]))
    assert np.array_equal(*counts)


def compare_projections(core, rng):
    """Voxels along a line of sight, of both cores."""
    from segtools.report.projection import _count_natively, _count_with_numpy

    dtype = rng.choice([np.uint8, np.uint16])
    shape = rng.integers(1, [6, 20, 40])
    slab = (rng.integers(0, 9, shape) * (rng.random(shape) < 0.4)).astype(dtype)
    index_of = np.zeros(65536, np.int32)
    index_of[: rng.integers(1, 9)] = rng.integers(0, 4)
    places = [rng.integers(0, 10, size) for size in shape]
    pixels = int(sum(place.max() for place in places)) + 1
    counts = np.zeros((2, 5 * pixels), np.int64)
    _count_with_numpy(slab, index_of, pixels, places, counts[0])
    _count_natively(core, slab, index_of, pixels, places, counts[1])
    assert np.array_equal(*counts)


def hostile(core, rng):
    """Anything at all."""

    def number():
        return int(
            rng.choice([-1, 0, 1, 2, 3, 7, 8, 64, 1000, 2**31, 2**62, -(2**62), rng.integers(-99, 99)])
        )

    def room(size=None):
        return np.zeros(int(rng.integers(0, 300)) if size is None else size, np.uint8)

    def numbers():
        return np.array([number() for _ in range(rng.integers(0, 6))], np.int64)

    try:
        match rng.integers(0, 4):
            case 0:
                core.paint(
                    [room() for _ in range(rng.integers(0, 3))],
                    number(),
                    int(rng.choice([-1, -1, 10_000])),
                    number(),
                    room(),
                    numbers(),
                    numbers(),
                    int(rng.integers(-1, 80)) if rng.random() < 0.7 else number(),
                    int(rng.integers(-1, 5)) if rng.random() < 0.7 else number(),
                    int(rng.integers(0, 70_000)),
                    int(rng.integers(0, 4)),
                    room(),
                )
            case 1:
                core.measure(
                    rng.integers(0, 3, rng.integers(0, 300), dtype=np.uint8),
                    int(rng.integers(0, 4)),
                    int(rng.integers(-1, 9)) if rng.random() < 0.7 else number(),
                    int(rng.integers(-1, 9)) if rng.random() < 0.7 else number(),
                    numbers(),
                    np.zeros((int(rng.choice([0, 255, 256, 65536])), 14), np.int64),
                )
            case 2:
                core.shared(
                    [room(64) for _ in range(rng.integers(0, 4))],
                    [
                        np.zeros(int(rng.choice([0, 255, 256, 65536])), np.int64)
                        for _ in range(rng.integers(0, 4))
                    ],
                    int(rng.choice([number(), 64, 32])),
                )
            case 3:
                core.project(
                    room(int(rng.choice([0, 8, 24, 48]))),
                    int(rng.integers(0, 4)),
                    np.full(int(rng.choice([0, 65535, 65536])), int(rng.integers(-2, 9)), np.int32),
                    int(rng.integers(-1, 30)) if rng.random() < 0.7 else number(),
                    *(rng.integers(-1, 5, rng.choice([0, 1, 2, 3, 4])) for _ in range(3)),
                    np.zeros(int(rng.integers(0, 200)), np.int64),
                )
    except (ValueError, OverflowError, TypeError):
        pass


def main() -> None:
    """Run some rounds; see the module."""
    core, rounds = load(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(4))
    for number in range(seed, seed + rounds):
        rng = np.random.default_rng(number)
        try:
            for act in (compare_paint, compare_measures, compare_projections, hostile, hostile, hostile):
                act(core, rng)
        except BaseException:
            print("seed", number, file=sys.stderr)
            raise
    print(rounds, "rounds")


if __name__ == "__main__":
    main()
