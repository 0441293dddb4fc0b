"""Measures of every segment of a volume: counts, boxes, centroids, components, overlap.

A label map is read once, into runs: stretches of one label along a row. Whatever is to be known of a
segment is a sum or an extreme over its runs, of which there are some hundred times fewer than
voxels; sums are exact integers. Only components need the voxels again, once for all labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.volume import Grid, SegVolume

    Labels = npt.NDArray[np.uint8 | np.uint16]
    Integers = npt.NDArray[np.int64]
    Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class SegmentMeasure:
    """Measures of one segment.

    Attributes
    ----------
    number : int
        SegmentNumber.
    voxel_count : int
        Voxels that are set; of a FRACTIONAL segment, voxels whose fraction is not 0.
    volume_ml : float
        Of the voxels; of a FRACTIONAL segment, weighted by the fractions.
    bbox_ijk : (6,) tuple of int or None
        Inclusive: min i, max i, min j, max j, min k, max k. None where there are no voxels.
    centroid_ras_mm : (3,) tuple of float or None, mm
        Mean of the voxel centres in RAS+; fractions do not weigh.
    slice_count : int
        Slices (k) with at least one voxel.
    component_count : int
        26-connected components.
    largest_component_fraction : float or None
        Share of the voxels in the largest component.
    touches_border : bool
        A voxel lies on the outermost layer of the grid along i, j or k.
    overlap_voxel_count : int
        Voxels that another segment has too.
    """

    number: int
    voxel_count: int
    volume_ml: float
    bbox_ijk: tuple[int, int, int, int, int, int] | None
    centroid_ras_mm: tuple[float, float, float] | None
    slice_count: int
    component_count: int
    largest_component_fraction: float | None
    touches_border: bool
    overlap_voxel_count: int


class _Shape(NamedTuple):
    """What the runs of one label tell."""

    voxel_count: int
    bbox_ijk: tuple[int, int, int, int, int, int]
    mean_ijk: tuple[float, float, float]
    slice_count: int
    component_count: int
    largest_component: int


def measure(volume: SegVolume) -> tuple[SegmentMeasure, ...]:
    """One `SegmentMeasure` per segment of `volume`, sorted by number."""
    overlaps = _overlaps(volume)
    shapes: dict[int, _Shape] = {}
    for layer in volume.layers:
        shapes |= _measure_labels(layer)
    if volume.layers and 0 in volume.layer_of:  # a label map whose 0 is a segment, not background
        for shape in _measure_labels(volume.mask(0).view(np.uint8)).values():
            shapes[0] = shape
    volumes_ml: dict[int, float] = {}
    for number, fractions in volume.fractions.items():
        mask = (fractions != 0).view(np.uint8)
        for shape in _measure_labels(mask).values():
            shapes[number] = shape
        whole = volume.header.max_fractional_value or np.iinfo(fractions.dtype).max
        volumes_ml[number] = int(fractions.sum(dtype=np.int64)) / whole * volume.grid.voxel_volume_ml
    return tuple(
        _segment_measure(
            number, shapes.get(number), volumes_ml.get(number), overlaps.get(number, 0), volume.grid
        )
        for number in sorted(segment.number for segment in volume.segments)
    )


def _segment_measure(
    number: int, shape: _Shape | None, volume_ml: float | None, overlap: int, grid: Grid
) -> SegmentMeasure:
    if shape is None:
        return SegmentMeasure(number, 0, 0.0, None, None, 0, 0, None, False, 0)
    box = shape.bbox_ijk
    touches = any(
        box[2 * axis] == 0 or box[2 * axis + 1] == size - 1 for axis, size in enumerate(reversed(grid.shape))
    )
    r, a, s = (float(v) for v in (grid.affine_ras @ np.array([*shape.mean_ijk, 1.0]))[:3])
    return SegmentMeasure(
        number=number,
        voxel_count=shape.voxel_count,
        volume_ml=shape.voxel_count * grid.voxel_volume_ml if volume_ml is None else volume_ml,
        bbox_ijk=box,
        centroid_ras_mm=(r, a, s),
        slice_count=shape.slice_count,
        component_count=shape.component_count,
        largest_component_fraction=shape.largest_component / shape.voxel_count,
        touches_border=touches,
        overlap_voxel_count=overlap,
    )


def occupied_box(array: Labels) -> Box | None:
    """Smallest (k, j, i) box around the voxels that are not 0; None where all are."""
    words = array
    if array.flags.c_contiguous and array.shape[2] * array.itemsize % 8 == 0:
        words = array.view(np.uint64)
    k = np.flatnonzero(np.bitwise_or.reduce(words.reshape(len(words), -1), axis=1))
    if not len(k):
        return None
    plane = np.bitwise_or.reduce(words[k[0] : k[-1] + 1], axis=0).view(array.dtype)
    j, i = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return (
        slice(int(k[0]), int(k[-1]) + 1),
        slice(int(j[0]), int(j[-1]) + 1),
        slice(int(i[0]), int(i[-1]) + 1),
    )


class _Runs(NamedTuple):
    """Stretches of one label along rows, in the order of the labels, then of the voxels.

    Attributes
    ----------
    label, k, j, i, length : (R,) int64 ndarray
        ``i`` is that of the first voxel.
    """

    label: Integers
    k: Integers
    j: Integers
    i: Integers
    length: Integers

    def component_sizes(self, labels: Integers) -> Integers:
        """(C,) voxels of each component in a (R,) array of component labels of the runs."""
        sizes = np.bincount(labels, weights=self.length).astype(np.int64)
        return sizes[sizes > 0]

    def of(self, part: slice) -> _Runs:
        """Select the runs of one label."""
        return _Runs(*(column[part] for column in self))


def _runs(array: Labels, box: Box) -> _Runs:
    """Find the runs of a label map within the box around its voxels, slice by slice."""
    width = array.shape[2]
    found: list[tuple[Integers, ...]] = []
    for k in range(box[0].start, box[0].stop):
        flat = array[k, box[1]].reshape(-1)
        changes = np.empty(flat.size, bool)
        changes[0] = True
        np.not_equal(flat[1:], flat[:-1], out=changes[1:])
        changes[width::width] |= flat[width::width] != 0  # a run ends with its row
        start = np.flatnonzero(changes)
        label = flat[start].astype(np.int64)
        length = np.diff(start, append=flat.size)
        filled = np.flatnonzero(label)
        found.append((label[filled], np.full(len(filled), k), start[filled], length[filled]))
    label, k_index, start, length = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(label.astype(array.dtype), kind="stable")  # a radix sort: the dtype is small
    j, i = np.divmod(start[order], width)
    return _Runs(label[order], k_index[order], j + box[1].start, i, length[order])


def _measure_labels(array: Labels) -> dict[int, _Shape]:
    """Measures of every label of a map."""
    box = occupied_box(array)
    if box is None:
        return {}
    runs = _runs(array, box)
    first = np.flatnonzero(np.diff(runs.label, prepend=-1))
    counts = np.add.reduceat(runs.length, first)
    sums = (
        np.add.reduceat(runs.i * runs.length + runs.length * (runs.length - 1) // 2, first),
        np.add.reduceat(runs.j * runs.length, first),
        np.add.reduceat(runs.k * runs.length, first),
    )
    lows = [np.minimum.reduceat(v, first) for v in (runs.i, runs.j, runs.k)]
    highs = [np.maximum.reduceat(v, first) for v in (runs.i + runs.length - 1, runs.j, runs.k)]
    bounds = np.stack([lows, highs], axis=-1).transpose(1, 0, 2)
    new_slice = np.diff(runs.k, prepend=-1) != 0
    new_slice[first] = True
    slices = np.add.reduceat(new_slice.astype(np.int64), first)
    components = _components(array, box, runs, first, bounds)
    shapes = {}
    for n, label in enumerate(runs.label[first].tolist()):
        i, j, k = (int(total[n]) / int(counts[n]) for total in sums)
        (i0, i1), (j0, j1), (k0, k1) = bounds[n].tolist()
        shapes[label] = _Shape(
            voxel_count=int(counts[n]),
            bbox_ijk=(i0, i1, j0, j1, k0, k1),
            mean_ijk=(i, j, k),
            slice_count=int(slices[n]),
            component_count=len(components[n]),
            largest_component=int(components[n].max()),
        )
    return shapes


def _components(array: Labels, box: Box, runs: _Runs, first: Integers, bounds: Integers) -> list[Integers]:
    """Voxels of each 26-connected component of each label.

    Labels one by one in their own boxes, unless these together are larger than the box around all:
    fresh memory for the components' image is what costs most.
    """
    parts = [slice(a, b) for a, b in pairwise([*first.tolist(), len(runs.label)])]
    lows, highs = bounds[..., 0], bounds[..., 1]
    own = int(np.prod(highs - lows + 1, axis=1).sum())
    if own > np.prod([side.stop - side.start for side in box]):
        image = _component_image(np.ascontiguousarray(array[box]))
        k0, j0, i0 = (side.start for side in box)
        labels = image[runs.k - k0, runs.j - j0, runs.i - i0].astype(np.int64)
        return [runs.of(part).component_sizes(labels[part]) for part in parts]
    sizes = []
    room = np.empty(int(np.prod(highs - lows + 1, axis=1).max()), np.bool_)
    for part, low, high in zip(parts, lows.tolist(), highs.tolist(), strict=True):
        mine = runs.of(part)
        i, j, k = (slice(a, b + 1) for a, b in zip(low, high, strict=True))
        inside = array[k, j, i]
        mask = room[: inside.size].reshape(inside.shape)
        np.equal(inside, array.dtype.type(mine.label[0]), out=mask)
        image = _component_image(mask)
        sizes.append(
            mine.component_sizes(image[mine.k - low[2], mine.j - low[1], mine.i - low[0]].astype(np.int64))
        )
    return sizes


def _component_image(voxels: npt.NDArray[np.uint8 | np.uint16 | np.bool_]) -> npt.NDArray[np.unsignedinteger]:
    """26-connected components, numbered from 1."""
    from cc3d import connected_components  # only those pay for the import who measure

    if voxels.size == max(voxels.shape):  # cc3d 4.1 counts too few labels ahead on a single line
        voxels = np.pad(voxels, ((0, 1), (0, 1), (0, 1)))
    image: npt.NDArray[np.unsignedinteger] = connected_components(voxels, connectivity=26)
    return image


def _overlaps(volume: SegVolume) -> dict[int, int]:
    """Voxels of each segment that another one has too; segments without any are left out."""
    arrays: list[tuple[int | None, Labels]] = [(None, layer) for layer in volume.layers]
    arrays += volume.fractions.items()
    boxed = [(number, array, box) for number, array in arrays if (box := occupied_box(array)) is not None]
    overlaps: dict[int, int] = {}
    for k in range(volume.grid.shape[0]):  # slice by slice: what is counted stays in the cache
        here = [(number, array[k]) for number, array, box in boxed if box[0].start <= k < box[0].stop]
        if len(here) < 2:
            continue
        holders = np.zeros(here[0][1].shape, np.uint16 if len(here) > 255 else np.uint8)
        for _, plane in here:
            np.add(holders, plane != 0, out=holders)
        shared = holders > 1
        if not shared.any():
            continue
        for number, plane in here:
            counts = np.bincount(plane[shared])
            for label in np.flatnonzero(counts[1:]) + 1 if number is None else ():
                overlaps[int(label)] = overlaps.get(int(label), 0) + int(counts[label])
            if number is not None:
                overlaps[number] = overlaps.get(number, 0) + int(counts[1:].sum())
    return overlaps
