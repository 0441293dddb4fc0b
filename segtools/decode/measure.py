"""Measures of every segment of a volume: counts, boxes, centroids, components, overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools import native
from segtools.decode.native_shapes import count_shared_natively, measure_labels_natively
from segtools.decode.shapes import Shape, measure_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from segtools.decode.volume import Grid, SegVolume

    Labels = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, slots=True)
class SegmentMeasure:
    """Measures of one segment.

    Attributes
    ----------
    number : int
        SegmentNumber.
    voxel_count : int
        Voxels that are set; of a FRACTIONAL segment, voxels whose fraction is not 0.
    volume_ml : float or None
        Of the voxels; of a FRACTIONAL segment, weighted by the fractions. None where a spacing is
        assumed (`Grid.assumed`) and there are voxels.
    bbox_ijk : (6,) tuple of int or None
        Inclusive: min i, max i, min j, max j, min k, max k. None where there are no voxels.
    centroid_ras_mm : (3,) tuple of float or None, mm
        Mean of the voxel centres in RAS+; fractions do not weigh. None where there are no voxels, or
        the place or the pixel spacing is assumed.
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
    volume_ml: float | None
    bbox_ijk: tuple[int, int, int, int, int, int] | None
    centroid_ras_mm: tuple[float, float, float] | None
    slice_count: int
    component_count: int
    largest_component_fraction: float | None
    touches_border: bool
    overlap_voxel_count: int


def measure(volume: SegVolume) -> tuple[SegmentMeasure, ...]:
    """One `SegmentMeasure` per segment of `volume`, sorted by number."""
    overlaps = _overlaps(volume)
    shapes: dict[int, Shape] = {}
    for layer in volume.layers:
        shapes |= _measure_labels(layer, volume.slices_of(layer))
    if volume.layers and 0 in volume.layer_of:  # a label map whose 0 is a segment, not background
        mask = volume.mask(0).view(np.uint8)
        for shape in _measure_labels(mask, np.arange(len(mask))).values():
            shapes[0] = shape
    volumes_ml: dict[int, float] = {}
    for number, fractions in volume.fractions.items():
        where = volume.slices_of(fractions)
        mask = np.zeros(fractions.shape, np.uint8)
        for k in where.tolist():
            np.not_equal(fractions[k], 0, out=mask[k].view(np.bool_))
        for shape in _measure_labels(mask, where).values():
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
    number: int, shape: Shape | None, volume_ml: float | None, overlap: int, grid: Grid
) -> SegmentMeasure:
    if shape is None:
        return SegmentMeasure(number, 0, 0.0, None, None, 0, 0, None, False, 0)
    box = shape.bbox_ijk
    touches = any(
        box[2 * axis] == 0 or box[2 * axis + 1] == size - 1 for axis, size in enumerate(reversed(grid.shape))
    )
    r, a, s = (float(v) for v in (grid.affine_ras @ np.array([*shape.mean_ijk, 1.0]))[:3])
    if volume_ml is None:
        volume_ml = shape.voxel_count * grid.voxel_volume_ml
    return SegmentMeasure(
        number=number,
        voxel_count=shape.voxel_count,
        volume_ml=volume_ml if grid.has_spacing else None,
        bbox_ijk=box,
        centroid_ras_mm=(r, a, s) if grid.has_place else None,
        slice_count=shape.slice_count,
        component_count=shape.component_count,
        largest_component_fraction=shape.largest_component / shape.voxel_count,
        touches_border=touches,
        overlap_voxel_count=overlap,
    )


def _measure_labels(array: Labels, slices: npt.NDArray[np.intp]) -> dict[int, Shape]:
    core = native.core()
    if core is None:
        return measure_labels(array, slices)
    return measure_labels_natively(core, array, slices)


def _overlaps(volume: SegVolume) -> dict[int, int]:
    """Voxels of each segment that another one has too; segments without any are left out."""
    arrays: list[tuple[int | None, Labels]] = [(None, layer) for layer in volume.layers]
    arrays += volume.fractions.items()
    if len(arrays) < 2:
        return {}
    by_slice: dict[int, list[int]] = {}
    for at, (_, array) in enumerate(arrays):
        for k in volume.slices_of(array).tolist():
            by_slice.setdefault(k, []).append(at)
    widest = max((layer.itemsize for layer in volume.layers), default=1)
    of_layers = np.zeros(1 << (8 * widest), np.int64)  # one for all: a segment is in one layer only
    counts = [
        of_layers if number is None else np.zeros(1 << (8 * array.itemsize), np.int64)
        for number, array in arrays
    ]
    core = native.core()
    for k, there in by_slice.items():  # slice by slice: what is counted stays in the cache
        if len(there) < 2:
            continue
        planes, shared = [arrays[at][1][k] for at in there], [counts[at] for at in there]
        if core is None:
            _count_shared(planes, shared)
        else:
            count_shared_natively(core, planes, shared)
    overlaps = {label: int(of_layers[label]) for label in np.flatnonzero(of_layers).tolist() if label}
    for (number, _), by_value in zip(arrays, counts, strict=True):
        if number is not None and (count := int(by_value[1:].sum())):
            overlaps[number] = count
    return overlaps


def _count_shared(planes: Sequence[Labels], counts: Sequence[npt.NDArray[np.int64]]) -> None:
    """Add, to each plane's counts by label, the voxels that another plane has too."""
    holders = np.zeros(planes[0].shape, np.uint16 if len(planes) > 255 else np.uint8)
    for plane in planes:
        np.add(holders, plane != 0, out=holders)
    shared = np.flatnonzero(holders > 1)
    if len(shared):
        for plane, by_label in zip(planes, counts, strict=True):
            found = np.bincount(plane.reshape(-1)[shared])
            by_label[: len(found)] += found
