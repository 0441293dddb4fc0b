"""26-connected components of the labels of a label map, with NumPy and cc3d.

Three ways, because each has a label map on which it is hopeless:

- each label in its own box (cc3d): fast where labels are compact; 10,000 scattered labels would each
  search the whole map;
- all labels at once in the box around them (cc3d): the map once, however many labels; fresh memory for
  the components' image is what costs most;
- the runs as a graph: some voxels in the far corners of a map of 4 GB cost what their runs cost.

What the ways would cost is known beforehand, in voxels; the cheapest is taken.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Labels = npt.NDArray[np.uint8 | np.uint16]
    Integers = npt.NDArray[np.int64]
    Whole = npt.NDArray[np.int32 | np.int64]

_VOXELS_PER_RUN = 400
"""A run as a node of a graph costs what so many voxels cost in cc3d."""


class Runs(NamedTuple):
    """Stretches of one label along rows, in the order of the voxels.

    Attributes
    ----------
    label : (R,) uint8 or uint16 ndarray
    k, j, i, length : (R,) int64 and three times int32 ndarray
        ``i`` is that of the first voxel.
    """

    label: Labels
    k: Whole
    j: Whole
    i: Whole
    length: Whole

    @classmethod
    def joined(cls, parts: Sequence[Runs]) -> Runs:
        """All runs of several parts, in order."""
        return parts[0] if len(parts) == 1 else cls(*map(np.concatenate, zip(*parts, strict=True)))

    def where(self, chosen: npt.NDArray[np.bool_ | np.intp] | slice) -> Runs:
        """Some of the runs."""
        label, k, j, i, length = self
        return Runs(label[chosen], k[chosen], j[chosen], i[chosen], length[chosen])


def count_components(
    array: Labels, chunks: Sequence[Runs], labels: Integers, lows: Integers, highs: Integers
) -> tuple[Integers, Integers]:
    """Components of each label, and the voxels of its largest one.

    Parameters
    ----------
    array : (k, j, i) uint8 or uint16 ndarray
    chunks : sequence of Runs
        All runs of the map.
    labels : (L,) int64 ndarray
        Those that occur, ascending.
    lows, highs : (3, L) int64 ndarray
        Their boxes along i, j, k, inclusive.
    """
    own = np.prod(highs - lows + 1, axis=0)
    number = np.zeros(1 << (8 * array.itemsize), np.int64)
    for runs in chunks:
        number += np.bincount(runs.label, minlength=len(number))
    sparse = own > _VOXELS_PER_RUN * number[labels]
    separate = int(np.where(sparse, _VOXELS_PER_RUN * number[labels], own).sum())
    low, high = lows.min(axis=1), highs.max(axis=1)
    if separate >= int(np.prod(high - low + 1)):
        return _together(array, chunks, labels, low.tolist(), high.tolist())
    components, largest = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    scattered = np.zeros(len(number), np.bool_)
    scattered[labels[sparse]] = True
    if sparse.any():
        runs = _by_label([part.where(scattered[part.label]) for part in chunks])
        components[sparse], largest[sparse] = _graph(runs, array.shape)
    if not sparse.all():
        runs = _by_label([part.where(~scattered[part.label]) for part in chunks])
        compact = np.flatnonzero(~sparse)
        components[compact], largest[compact] = _one_by_one(array, runs, lows[:, compact], highs[:, compact])
    return components, largest


def _by_label(parts: Sequence[Runs]) -> Runs:
    """Runs sorted by label, then in the order of the voxels."""
    runs = Runs.joined(parts)
    return runs.where(np.argsort(runs.label, kind="stable"))  # a radix sort: the dtype is small


def _firsts(label: Labels) -> list[int]:
    return np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]])).tolist()


def _together(
    array: Labels, chunks: Sequence[Runs], labels: Integers, low: list[int], high: list[int]
) -> tuple[Integers, Integers]:
    """All labels in the box around them."""
    box = array[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1]
    image = _component_image(np.ascontiguousarray(box))
    flat = image.reshape(-1)
    sizes, owner = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for runs in chunks:
        row = (runs.k - low[2]).astype(np.int64) * image.shape[1] + (runs.j - low[1])
        component = flat[row * image.shape[2] + (runs.i - low[0])]
        more = int(component.max()) + 1 - len(sizes)
        if more > 0:
            sizes, owner = (np.concatenate([a, np.zeros(more + len(a), np.int64)]) for a in (sizes, owner))
        np.add.at(sizes, component, runs.length.astype(np.int64))
        owner[component] = runs.label
    there = sizes > 0
    return _of_labels(owner[there], sizes[there], labels)


def _of_labels(owner: Integers, sizes: Integers, labels: Integers) -> tuple[Integers, Integers]:
    """Count and largest of components, given the label and the voxels of each."""
    at = np.searchsorted(labels, owner)
    largest = np.zeros(len(labels), np.int64)
    np.maximum.at(largest, at, sizes)
    return np.bincount(at, minlength=len(labels)), largest


def _one_by_one(array: Labels, runs: Runs, lows: Integers, highs: Integers) -> tuple[Integers, Integers]:
    """Each label in its own box."""
    components, largest = np.zeros(lows.shape[1], np.int64), np.zeros(lows.shape[1], np.int64)
    room = np.empty(int(np.prod(highs - lows + 1, axis=0).max()), np.bool_)
    boxes = zip(lows.T.tolist(), highs.T.tolist(), strict=True)
    for at, ((begin, end), (low, high)) in enumerate(
        zip(pairwise([*_firsts(runs.label), len(runs.label)]), boxes, strict=True)
    ):
        mine = runs.where(slice(begin, end))
        i, j, k = (slice(a, b + 1) for a, b in zip(low, high, strict=True))
        inside = array[k, j, i]
        mask = room[: inside.size].reshape(inside.shape)
        np.equal(inside, mine.label[0], out=mask)
        image = _component_image(mask)
        component = image[mine.k - low[2], mine.j - low[1], mine.i - low[0]].astype(np.int64)
        sizes = np.bincount(component, weights=mine.length).astype(np.int64)
        components[at], largest[at] = np.count_nonzero(sizes), sizes.max()
    return components, largest


def _component_image(voxels: npt.NDArray[np.uint8 | np.uint16 | np.bool_]) -> npt.NDArray[np.unsignedinteger]:
    """26-connected components, numbered from 1."""
    from cc3d import connected_components  # only those pay for the import who measure

    if voxels.size == max(voxels.shape):  # cc3d 4.1 counts too few labels ahead on a single line
        voxels = np.pad(voxels, ((0, 1), (0, 1), (0, 1)))
    image: npt.NDArray[np.unsignedinteger] = connected_components(voxels, connectivity=26)
    return image


def _graph(runs: Runs, shape: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Each run a node, joined to those of the four rows before that it touches.

    Runs lie on one line: row behind row, two places between rows, a row between slices, a slice
    between labels. So a run touches what begins before its end and ends behind its begin, both moved
    by the distance of the rows.
    """
    slices, rows, width = shape[0] + 1, shape[1] + 2, shape[2] + 2
    change = np.concatenate([[False], runs.label[1:] != runs.label[:-1]])
    owner = np.cumsum(change)
    start = ((owner * slices + runs.k) * rows + runs.j + 1) * width + runs.i
    end = start + runs.length
    left, right = [], []
    for step in (-1, -rows - 1, -rows, -rows + 1):
        low = np.searchsorted(end, start + step * width)
        count = np.maximum(np.searchsorted(start, end + step * width, side="right") - low, 0)
        touching = np.repeat(np.arange(len(start)), count)
        behind = np.arange(len(touching)) - np.repeat(np.cumsum(count) - count, count)
        left.append(touching)
        right.append(np.repeat(low, count) + behind)
    root = _roots(len(start), np.concatenate(left), np.concatenate(right))
    sizes = np.bincount(root, weights=runs.length, minlength=len(start)).astype(np.int64)
    there = np.flatnonzero(sizes)
    return _of_labels(owner[there], sizes[there], np.arange(owner[-1] + 1))


def _roots(count: int, left: Integers, right: Integers) -> Integers:
    """(count,) lowest node of each node's component.

    Roots hook onto lower roots, then every chain is cut short; rounds grow with the logarithm of the
    nodes.
    """
    root = np.arange(count)
    while len(left):
        a, b = root[left], root[right]
        apart = a != b
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while True:
            shorter = root[root]
            if np.array_equal(shorter, root):
                break
            root = shorter
    return root
