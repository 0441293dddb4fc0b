"""How two masks agree: overlap, volumes, centroids, distances between their surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Measures of a pair; 1 and 0 mm for identical masks.

    Attributes
    ----------
    dice, jaccard : float, 0 to 1
        ``2 |A∩B| / (|A| + |B|)`` and ``|A∩B| / |A∪B|``.
    volume_difference_ml : float, ml
        Second minus first.
    centroid_distance_mm : float, mm
    hausdorff95_mm : float, mm
        The larger of the two directed 95th percentiles of surface distances.
    mean_surface_distance_mm : float, mm
        Mean of both directed surface distances, all surface voxels together.
    """

    dice: float
    jaccard: float
    volume_difference_ml: float
    centroid_distance_mm: float
    hausdorff95_mm: float
    mean_surface_distance_mm: float


def agreement(first: Mask, second: Mask, affine: npt.NDArray[np.float64]) -> Agreement:
    """Compare two masks on one grid.

    A surface voxel has at least one of its 6 neighbours outside the mask; distances are between voxel
    centres, in mm, by a k-d tree: memory follows the surfaces, not the box.

    Parameters
    ----------
    first, second : (k, j, i) bool ndarray
        Neither empty, nothing set on the outermost voxels.
    affine : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to millimetres.
    """
    from scipy.spatial import KDTree

    shared, counts = (
        int(np.count_nonzero(first & second)),
        (np.count_nonzero(first), np.count_nonzero(second)),
    )
    total = int(counts[0] + counts[1])
    surfaces = [_points(_surface(mask), affine) for mask in (first, second)]
    trees = [KDTree(points) for points in surfaces]
    there, back = trees[1].query(surfaces[0])[0], trees[0].query(surfaces[1])[0]
    centroids = [_points(mask, affine).mean(axis=0) for mask in (first, second)]
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return Agreement(
        dice=2 * shared / total,
        jaccard=shared / (total - shared),
        volume_difference_ml=int(counts[1] - counts[0]) * voxel_ml,
        centroid_distance_mm=float(np.linalg.norm(centroids[1] - centroids[0])),
        hausdorff95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        mean_surface_distance_mm=float(np.concatenate([there, back]).mean()),
    )


def _surface(mask: Mask) -> Mask:
    inside = mask.copy()
    for axis in range(3):
        inside &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)  # the margin is empty: nothing wraps
    return mask & ~inside


def _points(mask: Mask, affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3) positions of the voxels, mm."""
    index = np.argwhere(mask)[:, ::-1]
    points: npt.NDArray[np.float64] = index @ affine[:3, :3].T + affine[:3, 3]
    return points
