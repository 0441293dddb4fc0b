"""Measures of every segment of a volume: counts, boxes, centroids, components, overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segtools.decode.volume import SegVolume


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


def measure(volume: SegVolume) -> tuple[SegmentMeasure, ...]:
    """One `SegmentMeasure` per segment of `volume`, sorted by number."""
    raise NotImplementedError
