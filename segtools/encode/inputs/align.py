"""Putting a mask onto the grid of its source images: axes flipped and permuted, never resampled unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.volume import Grid
from segtools.errors import UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.encode.header.source import SourceSeries

    Array = npt.NDArray[Any]

_TOLERANCE = 0.1
"""Voxels that a corner of the mask may lie off the source's voxels."""
_CONTIGUOUS = 1.5
"""Times a mask's slice distance that images may be thick and still lie side by side at that distance."""
_AXES = "ijk"


@dataclass(frozen=True)
class Aligned:
    """Layers on a grid that shares rows and columns with the source.

    Attributes
    ----------
    layers : tuple of (k, j, i) ndarray
    grid : Grid
    findings : tuple of Finding
    """

    layers: tuple[Array, ...]
    grid: Grid
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Axis:
    """Which mask axis runs along a source axis: direction, voxels per step, source index of its voxel 0."""

    axis: int
    step: float
    start: float


def onto_source(
    name: str, layers: tuple[Array, ...], affine: npt.NDArray[np.float64], source: SourceSeries
) -> Aligned:
    """Put layers onto the source's grid.

    Slices may lie between the source's where the source has gaps; rows and columns may not.

    Parameters
    ----------
    name : str
        Of the mask, for messages.
    layers : tuple of (k, j, i) ndarray
    affine : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to LPS+.
    source : SourceSeries
        With a grid.

    Raises
    ------
    UsageError
        ``mask-off-grid``: other voxels than the source's.
    """
    grid = source.grid
    assert grid is not None  # noqa: S101 - the caller asks for volumes only
    size = layers[0].shape
    axes = _axes(name, size, affine, grid)
    spread = _slice_grid(name, axes[2], size, grid, source)
    moved = [_move(layer, axes, spread, name) for layer in layers]
    findings = []
    words = [f"{'-' if axis.step < 0 else ''}{_AXES[axis.axis]}" for axis in axes]
    if words != ["i", "j", "k"]:
        message = (
            f"{name}: the source's axes (i, j, k) are the mask's ({', '.join(words)}); voxels were moved so."
        )
        findings.append(Finding("mask-reoriented", message, observed=", ".join(words), expected="i, j, k"))
    if sorted(size) != sorted(spread.shape):
        shapes = [" × ".join(map(str, shape)) for shape in (size, spread.shape)]
        message = f"{name}: padded or cropped from {shapes[0]} to the source's {shapes[1]} (k, j, i)."
        findings.append(Finding("mask-padded", message, observed=shapes[0], expected=shapes[1]))
    return Aligned(tuple(moved), spread, tuple(findings))


def regrid_nearest(
    name: str, layers: tuple[Array, ...], affine: npt.NDArray[np.float64], source: SourceSeries
) -> Aligned:
    """Resample layers to the source's grid: each voxel takes the mask's nearest."""
    grid = source.grid
    assert grid is not None  # noqa: S101
    to_mask = np.linalg.inv(affine) @ grid.affine_lps
    rows, columns = np.mgrid[0 : grid.shape[1], 0 : grid.shape[2]]
    size = np.array(layers[0].shape[::-1])[:, None]
    taken = [np.zeros(grid.shape, layer.dtype) for layer in layers]
    for k in range(grid.shape[0]):
        points = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, k), np.ones(rows.size)])
        index = np.floor((to_mask @ points)[:3] + 0.5).astype(np.int64)
        inside = np.all((index >= 0) & (index < size), axis=0)
        i, j, at = index[:, inside]
        for target, layer in zip(taken, layers, strict=True):
            target[k].reshape(-1)[inside] = layer[at, j, i]
    message = f"{name}: resampled by nearest neighbours from {layers[0].shape} to {grid.shape} (k, j, i)."
    return Aligned(tuple(taken), grid, (Finding("mask-regridded", message),))


def _axes(
    name: str, size: tuple[int, ...], affine: npt.NDArray[np.float64], grid: Grid
) -> tuple[_Axis, _Axis, _Axis]:
    """Source axes (i, j, k), each by the mask's axis along it."""
    if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UsageError("mask-off-grid", f"{name} has no usable affine: {np.round(affine, 4).tolist()}.")
    exact = np.linalg.inv(grid.affine_lps) @ affine
    shape = np.array(size[::-1])
    steps = exact[:3, :3]
    order = [int(np.argmax(np.abs(steps[row]) * (shape > 1) + 1e-9 * np.abs(steps[row]))) for row in range(3)]
    if sorted(order) != [0, 1, 2]:
        order = [int(np.argmax(np.abs(steps[row]))) for row in range(3)]
    if sorted(order) != [0, 1, 2]:
        raise _off(name, "its axes lie between those of the source", affine, grid, size)
    only = np.zeros((3, 3))
    only[range(3), order] = steps[range(3), order]
    if int(shape[order[2]]) == 1:  # the distance of a single slice is a convention; the source's is as good
        only[2, order[2]] = np.sign(only[2, order[2]])
        steps = steps.copy()
        steps[:, order[2]] = only[:, order[2]]
    whole = only.copy()
    whole[:2] = np.rint(only[:2])
    corners = np.array(
        [[i, j, k] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)]
    )
    start = exact[:3, 3].copy()
    start[:2] = np.rint(start[:2])
    off = float(np.abs((steps - whole) @ corners.T + (exact[:3, 3] - start)[:, None]).max())
    if off > _TOLERANCE:
        raise _off(name, f"its voxels lie up to {off:.3g} voxels off the source's", affine, grid, size)
    if np.abs(whole[:2]).sum() != 2:
        raise _off(name, "its voxels are larger or smaller than the source's", affine, grid, size)
    found = [_Axis(order[row], float(whole[row, order[row]]), float(start[row])) for row in range(3)]
    return found[0], found[1], found[2]


def _slice_grid(name: str, axis: _Axis, size: tuple[int, ...], grid: Grid, source: SourceSeries) -> Grid:
    """Grid of the source's rows and columns, with slices where the mask's or the source's are."""
    count = size[2 - axis.axis]
    step, start = axis.step, axis.start
    if abs(abs(step) - 1) * max(count - 1, 1) <= _TOLERANCE:
        if abs(start - round(start)) > _TOLERANCE:
            raise _off(
                name,
                f"its slices lie {abs(start - round(start)):.3g} slices off the source's",
                None,
                grid,
                size,
            )
        return grid
    distance = abs(step) * grid.spacing_mm[2]
    thickness = source.thickness_mm or grid.spacing_mm[2]
    if abs(step) > 1 or thickness > _CONTIGUOUS * distance:
        raise _off(
            name,
            f"its slices are {distance:.4g} mm apart, the source's {grid.spacing_mm[2]:.4g} mm",
            None,
            grid,
            size,
        )
    first = start if step > 0 else start + step * (count - 1)
    affine = grid.affine_lps.copy()
    affine[:3, 3] = grid.affine_lps[:3] @ (0, 0, first, 1)
    affine[:3, 2] = grid.affine_lps[:3, 2] * abs(step)
    return Grid((count, *grid.shape[1:]), affine)


def _move(layer: Array, axes: tuple[_Axis, _Axis, _Axis], grid: Grid, name: str) -> Array:
    """Layer on `grid`; voxels that would fall off must be background."""
    view = layer.transpose([2 - axes[row].axis for row in (2, 1, 0)])
    own_slices = (
        view.shape[0] == grid.shape[0] and abs(abs(axes[2].step) - 1) * (view.shape[0] - 1) > _TOLERANCE
    )
    kept, target = [], []
    for row, length, size in zip((2, 1, 0), view.shape, grid.shape, strict=True):
        step = 1 if axes[row].step > 0 else -1
        start = round(axes[row].start)
        if row == 2 and own_slices:
            start = 0 if step > 0 else length - 1
        index = start + step * np.arange(length)
        inside = np.flatnonzero((index >= 0) & (index < size))
        if not len(inside):
            raise UsageError("mask-off-grid", f"{name} lies wholly outside its source images.")
        kept.append(slice(int(inside[0]), int(inside[-1]) + 1))
        low, high = sorted((int(index[inside[0]]), int(index[inside[-1]])))
        target.append((slice(low, high + 1), step))
    part = view[tuple(kept)]
    if part.size < view.size and (lost := int(np.count_nonzero(view)) - int(np.count_nonzero(part))):
        raise UsageError("mask-off-grid", f"{name} has {lost} labelled voxels outside its source images.")
    part = part[tuple(slice(None, None, step) for _, step in target)]
    if part.shape == grid.shape:
        return np.ascontiguousarray(part)
    moved = np.zeros(grid.shape, layer.dtype)
    moved[tuple(where for where, _ in target)] = part
    return moved


def _off(
    name: str, why: str, affine: npt.NDArray[np.float64] | None, grid: Grid, size: tuple[int, ...]
) -> UsageError:
    own = " × ".join(map(str, size))
    other = " × ".join(map(str, grid.shape))
    return UsageError(
        "mask-off-grid",
        f"{name} ({own} voxels, k × j × i) is not on the grid of its source images ({other}): {why}.",
        shape=list(size),
        source_shape=list(grid.shape),
        affine_lps=None if affine is None else np.round(affine, 6).tolist(),
    )
