"""No cliffs: what grows must not grow faster than its input. Work is counted, not timed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from segtools.decode import components, shapes
from segtools.decode.labelmap import canvas
from segtools.decode.labelmap.masks import stack_masks
from segtools.decode.labelmap.plan import PaintPlan
from segtools.decode.measure import measure
from segtools.decode.pixels.frames import PackedFrames
from segtools.decode.shapes import measure_labels
from tests.decode.labelmap.test_masks import packed, plan_of
from tests.decode.test_measure import volume_of


def calls(run) -> int:
    """Python and C calls that `run` makes."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def discs(count: int, size: int, slices: int) -> tuple[PackedFrames, PaintPlan]:
    """`count` segments, each a disc somewhere of its own on every slice."""
    pixels = np.zeros((count * slices, size, size), bool)
    for at in range(count):
        j = at * size // count
        pixels[at * slices : (at + 1) * slices, j : j + size // count // 2] = True
    segment = np.repeat(np.arange(1, count + 1), slices)
    where = np.tile(np.arange(slices), count)
    frames = packed(pixels)
    assert isinstance(frames, PackedFrames)
    return frames, plan_of(segment, where, (slices, size, size))


def test_odd_sizes_take_the_calls_of_even_ones():
    even, odd = (discs(10, size, 40) for size in (256, 255))
    stack_masks(*even)
    usual, shifted = (calls(lambda given=given: canvas.paint_masks(*given)) for given in (even, odd))
    # Each frame is read by itself (two calls in Python, one in C), all else by the chunk.
    assert shifted < usual + 8 * 400 + 40 * 10


def test_frames_in_any_order_take_the_same_chunks():
    frames, plan = discs(10, 256, 40)
    order = np.argsort(np.random.default_rng(0).permutation(400))
    bits, offsets = frames.packed_bits
    mixed = PackedFrames(bits, offsets[order], frames.shape)
    back = np.argsort(order)
    shuffled = PaintPlan(plan.shape, back[plan.frame], plan.slice, plan.segment, plan.dtype, plan.max_bytes)
    usual = calls(lambda: canvas.paint_masks(frames, plan))
    apart = calls(lambda: canvas.paint_masks(mixed, shuffled))
    assert apart < usual + 6 * 400


class CountingCanvas(canvas._Canvas):
    """Counts the groups of eight voxels that are looked at beyond the first layer."""

    looked = 0

    def _first_taken(self, layer, strokes):
        CountingCanvas.looked += sum(len(stroke.group) for stroke in strokes)
        return super()._first_taken(layer, strokes)


@pytest.mark.parametrize("late", [False, True])
def test_overlapping_segments_look_once(monkeypatch, late):
    """Each segment looks its own voxels over a bounded number of times, however many layers there are."""
    monkeypatch.setattr(canvas, "_Canvas", CountingCanvas)
    per_segment = []
    for count in (8, 32):
        pixels = np.zeros((count, 4, 16, 16), bool)
        for at in range(count):
            pixels[at, :3, at % 16] = count <= 16 or not late
            pixels[at, -1, 7:9, 7:9] = True
        plan = plan_of(np.repeat(np.arange(1, count + 1), 4), np.tile(np.arange(4), count), (4, 16, 16))
        CountingCanvas.looked = 0
        got = stack_masks_numpy(packed(pixels.reshape(-1, 16, 16)), plan)
        assert len(got.arrays) == count
        per_segment.append(CountingCanvas.looked / count)
    assert per_segment[1] <= per_segment[0] + 1


def stack_masks_numpy(frames, plan):
    return canvas.paint_masks(frames, plan)


def searched(monkeypatch) -> list[int]:
    """Voxels of every array that is searched for components."""
    voxels: list[int] = []
    image = components._component_image
    monkeypatch.setattr(components, "_component_image", lambda v: (voxels.append(v.size), image(v))[1])
    return voxels


@pytest.mark.parametrize("count", [1, 10, 200])
def test_scattered_labels_search_the_map_once(monkeypatch, count):
    voxels = searched(monkeypatch)
    rng = np.random.default_rng(1)
    labels = np.zeros((20, 40, 50), np.uint8)
    labels.reshape(-1)[rng.integers(0, labels.size, 4000)] = rng.integers(1, count + 1, 4000)
    found = measure_labels(labels, np.arange(20))
    assert len(found) == count
    assert sum(voxels) <= labels.size


def test_far_corners_cost_their_runs(monkeypatch):
    voxels = searched(monkeypatch)
    labels = np.zeros((50, 200, 200), np.uint8)
    labels[0, 0, :3] = labels[-1, -1, -3:] = labels[25, 100, 100] = 1
    labels[1, 1, 3] = 1
    shape = measure_labels(labels, np.array([0, 1, 25, 49]))[1]
    assert (shape.voxel_count, shape.component_count, shape.largest_component) == (8, 3, 4)
    assert shape.bbox_ijk == (0, 199, 0, 199, 0, 49)
    assert sum(voxels) == 0


def test_slices_without_frames_are_not_looked_at():
    seen = set()

    class Watched(np.ndarray):
        def __getitem__(self, key):
            if isinstance(key, int):
                seen.add(key)
            return super().__getitem__(key)

    labels = np.zeros((30, 8, 8), np.uint8).view(Watched)
    labels[7:9] = 5
    seen.clear()
    assert measure_labels(labels, np.array([7, 8]))[5].voxel_count == 128
    assert seen <= {7, 8}


@pytest.mark.parametrize("density", [0.2, 0.8])
def test_the_ways_to_count_components_agree(density):
    rng = np.random.default_rng(2)
    for _ in range(40):
        shape = rng.integers(1, 9, 3)
        array = (rng.integers(1, 4, shape) * (rng.random(shape) < density)).astype(np.uint8)
        labels = np.unique(array[array > 0]).astype(np.int64)
        if not len(labels):
            continue
        chunks = list(shapes._runs(array, np.arange(len(array))))
        at = [np.nonzero(array == label)[::-1] for label in labels]
        lows, highs = (np.array([[f(axis) for axis in axes] for axes in at]).T for f in (np.min, np.max))
        ways = [
            components._together(
                array, chunks, labels, lows.min(axis=1).tolist(), highs.max(axis=1).tolist()
            ),
            components._one_by_one(array, components._by_label(chunks), lows, highs),
            components._graph(components._by_label(chunks), array.shape),
            components.count_components(array, chunks, labels, lows, highs),
        ]
        for counts, largest in ways[1:]:
            assert np.array_equal(counts, ways[0][0])
            assert np.array_equal(largest, ways[0][1])


HUGE = """
import re
from pathlib import Path
import numpy as np
from segtools.decode.measure import measure
from tests.decode.test_measure import volume_of
from dataclasses import replace
small = np.zeros((1, 1, 1), np.uint8)
grid = np.zeros((1000, 2000, 2000), np.uint8)
where = np.array([0, 500, 999])
for k, at in zip(where, (10, 1000, 1990)):
    grid[k, at - 8 : at + 8, at - 8 : at + 8] = 1
flags = np.zeros(1000, bool)
flags[where] = True
volume = volume_of(small, numbers=(1,))
volume = replace(volume, layers=(grid,), grid=replace(volume.grid, shape=grid.shape), filled=((grid, flags),))
(found,) = measure(volume)
assert found.voxel_count == 3 * 256 and found.component_count == 3, found
# Not ru_maxrss: that holds the memory of the process which started this one, too.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_small_segment_in_a_huge_grid_takes_little_memory():
    """4 GB of zeros are never looked at; the bound of 200 MB holds with the imports."""
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 200


def test_a_hint_holds_for_its_own_array_only():
    labels = np.ones((3, 4, 5), np.uint8)
    volume = volume_of(labels)
    nothing = np.zeros(3, bool)
    hinted = replace(volume, filled=((labels, nothing),))
    assert measure(hinted)[0].voxel_count == 0  # believed
    moved = replace(hinted, layers=(labels.copy(),))
    assert measure(moved)[0].voxel_count == 60
