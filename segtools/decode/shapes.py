"""Measures of every label of a label map, with NumPy.

A label map is read once, into runs: stretches of one label along a row. Whatever is to be known of a
label is a sum or an extreme over its runs, of which there are some hundred times fewer than voxels;
sums are exact integers. Only slices that hold something are looked at, and memory follows the runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.components import Runs, count_components

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Labels = npt.NDArray[np.uint8 | np.uint16]
    Integers = npt.NDArray[np.int64]

_RUNS_AT_A_TIME = 1 << 18


class Shape(NamedTuple):
    """What the voxels of one label tell.

    Attributes
    ----------
    voxel_count : int
    bbox_ijk : (6,) tuple of int
        Inclusive: min i, max i, min j, max j, min k, max k.
    mean_ijk : (3,) tuple of float
    slice_count : int
        Slices (k) with a voxel.
    component_count : int
        26-connected components.
    largest_component : int
        Voxels of the largest one.
    """

    voxel_count: int
    bbox_ijk: tuple[int, int, int, int, int, int]
    mean_ijk: tuple[float, float, float]
    slice_count: int
    component_count: int
    largest_component: int


def measure_labels(array: Labels, slices: npt.NDArray[np.intp]) -> dict[int, Shape]:
    """Measures of every label but 0.

    Parameters
    ----------
    array : (k, j, i) uint8 or uint16 ndarray
    slices : (K,) ndarray
        Ascending k; what is in no other slice is 0.
    """
    totals = _Totals(array)
    chunks = []
    for runs in _runs(array, slices):
        totals.add(runs)
        chunks.append(runs)
    labels = np.flatnonzero(totals.count)
    if not len(labels):
        return {}
    lows, highs = totals.low[:, labels], totals.high[:, labels]
    components, largest = count_components(array, chunks, labels, lows, highs)
    means = (totals.total[:, labels] / totals.count[labels]).T.tolist()
    columns = zip(
        labels.tolist(),
        totals.count[labels].tolist(),
        np.stack([lows, highs], axis=1).reshape(6, -1).T.tolist(),
        means,
        totals.slices[labels].tolist(),
        components.tolist(),
        largest.tolist(),
        strict=True,
    )
    return {
        label: Shape(count, tuple(box), tuple(mean), slice_count, parts, most)
        for label, count, box, mean, slice_count, parts, most in columns
    }


def _runs(array: Labels, slices: npt.NDArray[np.intp]) -> Iterator[Runs]:
    """Runs of whole slices in the order of the voxels, some hundred thousand at a time."""
    waiting: list[Runs] = []
    count = 0
    for k in slices.tolist():
        runs = _slice_runs(array[k], k)
        if runs is None:
            continue
        waiting.append(runs)
        count += len(runs.label)
        if count >= _RUNS_AT_A_TIME:
            yield Runs.joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield Runs.joined(waiting)


def _slice_runs(plane: Labels, k: int) -> Runs | None:
    """Runs of one slice; None where there are none."""
    width = plane.shape[1]
    rows = np.flatnonzero(np.bitwise_or.reduce(plane, axis=1))
    if not len(rows):
        return None
    first = int(rows[0])
    flat = plane[first : int(rows[-1]) + 1].reshape(-1)
    changes = np.empty(flat.size, bool)
    changes[0] = True
    np.not_equal(flat[1:], flat[:-1], out=changes[1:])
    changes[width::width] |= flat[width::width] != 0  # a run ends with its row
    start = np.flatnonzero(changes)
    label = flat[start]
    length = np.diff(start, append=flat.size)
    filled = np.flatnonzero(label)
    j, i = np.divmod(start[filled].astype(np.int32), np.int32(width))
    return Runs(
        label[filled], np.full(len(filled), k, np.int64), j + first, i, length[filled].astype(np.int32)
    )


class _Totals:
    """Sums and extremes of every label; axes in the order i, j, k."""

    def __init__(self, array: Labels) -> None:
        labels = 1 << (8 * array.itemsize)
        self.count = np.zeros(labels, np.int64)
        self.slices = np.zeros(labels, np.int64)
        self.total = np.zeros((3, labels), np.int64)
        self.low = np.full((3, labels), np.iinfo(np.int64).max)
        self.high = np.full((3, labels), -1, np.int64)

    def add(self, runs: Runs) -> None:
        """Add runs of slices that were not there before."""
        order = np.argsort(runs.label, kind="stable")  # a radix sort: the dtype is small
        label, k, j, i, length = (column[order] for column in runs)
        first = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
        owners = label[first]
        self.count[owners] += np.add.reduceat(length, first, dtype=np.int64)
        long = length.astype(np.int64)
        for axis, sums in enumerate((i * long + long * (long - 1) // 2, j * long, k * long)):
            self.total[axis, owners] += np.add.reduceat(sums, first)
        for axis, (low, high) in enumerate(((i, i + length - 1), (j, j), (k, k))):
            self.low[axis, owners] = np.minimum(self.low[axis, owners], np.minimum.reduceat(low, first))
            self.high[axis, owners] = np.maximum(self.high[axis, owners], np.maximum.reduceat(high, first))
        new_slice = np.concatenate([[True], k[1:] != k[:-1]])
        new_slice[first] = True
        self.slices[owners] += np.add.reduceat(new_slice, first, dtype=np.int64)
