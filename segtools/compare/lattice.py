"""Two masks on one lattice: voxels are moved, never resampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.errors import CompareError

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Affine = npt.NDArray[np.float64]

VOXEL_TOLERANCE = 0.1
"""Voxels that corners of one mask's box may lie off the other's lattice."""


class Cropped(NamedTuple):
    """A mask's bounding box.

    Attributes
    ----------
    mask : (k, j, i) bool ndarray
    start : (3,) tuple of int
        Index (i, j, k) of its first voxel in the volume.
    affine : (4, 4) float64 ndarray, mm
        Of the volume: (i, j, k, 1) to RAS+.
    """

    mask: Mask
    start: tuple[int, int, int]
    affine: Affine


def common(first: Cropped, second: Cropped) -> tuple[Mask, Mask, Affine]:
    """Both masks in one box on the first one's lattice, and that box's affine.

    Returns
    -------
    first, second : (k, j, i) bool ndarray
        One voxel of margin on every side.
    affine : (4, 4) float64 ndarray, mm
        (i, j, k, 1) of the box to RAS+.

    Raises
    ------
    CompareError
        ``lattice-differs``: voxels of the second are not voxels of the first.
    """
    exact = np.linalg.inv(first.affine) @ second.affine
    size = np.array(second.mask.shape[::-1])
    low = np.array(second.start, float)
    corners = np.array(
        [[low[axis] + bit[axis] * (size[axis] - 1) for axis in range(3)] + [1] for bit in np.ndindex(2, 2, 2)]
    )
    whole = np.round(exact)
    steps = whole[:3, :3]
    off = float(np.abs((exact - whole)[:3] @ corners.T).max())
    is_permutation = bool(np.all(np.abs(steps).sum(axis=0) == 1) and np.all(np.abs(steps).sum(axis=1) == 1))
    if not is_permutation or off > VOXEL_TOLERANCE:
        raise CompareError(
            "lattice-differs",
            f"Voxels of the two masks lie up to {off:.3g} voxels apart; one step along (i, j, k) of the "
            f"second is {np.round(exact[:3, :3].T, 3).tolist()} steps of the first.",
        )
    moved = (whole @ corners.T)[:3]
    moved_low = moved.min(axis=1).astype(int)
    turned = _turned(second.mask, steps)
    own_low = np.array(first.start)
    start = np.minimum(own_low, moved_low) - 1
    end = np.maximum(own_low + first.mask.shape[::-1], moved_low + turned.shape[::-1]) + 1
    shape = tuple(int(n) for n in (end - start)[::-1])
    affine = first.affine.copy()
    affine[:3, 3] = (first.affine @ np.append(start, 1))[:3]
    return (
        _placed(first.mask, own_low - start, shape),
        _placed(turned, moved_low - start, shape),
        affine,
    )


def _turned(mask: Mask, steps: npt.NDArray[np.float64]) -> Mask:
    """Axes of `mask` (k, j, i) permuted and flipped to the directions that `steps` (i, j, k) tells."""
    by_ijk = mask.transpose(2, 1, 0)
    order = [int(np.flatnonzero(steps[axis])[0]) for axis in range(3)]
    turned = by_ijk.transpose(order)
    flips = tuple(slice(None, None, int(steps[axis, order[axis]])) for axis in range(3))
    return turned[flips].transpose(2, 1, 0)


def _placed(mask: Mask, start: npt.NDArray[np.int_], shape: tuple[int, ...]) -> Mask:
    box = np.zeros(shape, bool)
    i, j, k = (int(n) for n in start)
    depth, rows, columns = mask.shape
    box[k : k + depth, j : j + rows, i : i + columns] = mask
    return box
