"""Label volumes that look like a whole-body CT segmentation: many smooth, lumpy, separate blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8 | np.uint16]


class Box(NamedTuple):
    """Half-open voxel ranges along (k, j, i)."""

    k: slice
    j: slice
    i: slice


@dataclass(frozen=True)
class Blobs:
    """A label volume and where each label lies.

    Attributes
    ----------
    labels : (k, j, i) uint8 or uint16 ndarray
        0 is background, 1…n the blobs; none shares a voxel with another.
    boxes : list of Box
        Of label ``index + 1``.
    """

    labels: Labels
    boxes: list[Box]

    def slices_of(self, number: int) -> list[int]:
        """The slices on which the label has voxels."""
        box = self.boxes[number - 1]
        used = (self.labels[box] == number).any(axis=(1, 2))
        return [box.k.start + int(k) for k in np.flatnonzero(used)]


def blobs(
    count: int, shape: tuple[int, int, int], slices_per_blob: float, *, width: float = 1.0, seed: int = 7
) -> Blobs:
    """`count` blobs in a body-shaped column, sizes spread as organs' are: few large, many small.

    Parameters
    ----------
    count : int
    shape : (3,) tuple of int
        (k, j, i), voxels.
    slices_per_blob : float
        Mean number of slices of a blob; blobs near the ends are moved inwards, never cut.
    width : float
        In-plane size; thinner blobs crowd each other less.
    seed : int
    """
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(0.0, 0.45, count)
    return _place_all(np.maximum(3.0, weight / weight.mean() * slices_per_blob), shape, width, rng)


def blobs_of(heights: Vector, shape: tuple[int, int, int], *, width: float = 1.0, seed: int = 7) -> Blobs:
    """One blob per height (slices); the others as `blobs`."""
    return _place_all(heights, shape, width, np.random.default_rng(seed))


def _place_all(heights: Vector, shape: tuple[int, int, int], width: float, rng: np.random.Generator) -> Blobs:
    labels = np.zeros(shape, np.uint8 if len(heights) < 256 else np.uint16)
    side = 0.5 * width * np.sqrt(shape[1] * shape[2] / (512 * 512))
    boxes = []
    for number, height in enumerate(heights, start=1):
        radii = np.array([height / 2, *(height * side * rng.uniform(0.7, 1.5, 2))])
        radii = np.minimum(radii, np.array(shape) / 2 - 1.5)
        centre = _free_place(labels, radii, rng)
        boxes.append(_paint(labels, number, centre, radii, rng))
    return Blobs(labels, boxes)


def _free_place(labels: Labels, radii: Vector, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A centre inside the body ellipse whose neighbourhood is as free as 30 tries can make it."""
    shape = np.array(labels.shape)
    best, best_used = shape / 2, np.inf
    for _ in range(30):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        spread = np.array([shape[1] * 0.3 * np.sin(angle), shape[2] * 0.4 * np.cos(angle)]) * radius
        centre = np.array([rng.uniform(0, shape[0]), *(shape[1:] / 2 + spread)])
        centre = np.clip(centre, radii + 1, shape - radii - 2)
        low, high = (centre - radii).astype(int), (centre + radii).astype(int) + 1
        used = float((labels[low[0] : high[0] : 4, low[1] : high[1] : 4, low[2] : high[2] : 4] != 0).mean())
        if used < best_used:
            best, best_used = centre, used
    return best


def _paint(
    labels: Labels,
    number: int,
    centre: Vector,
    radii: Vector,
    rng: np.random.Generator,
) -> Box:
    low = np.maximum(np.floor(centre - radii).astype(int), 0)
    high = np.minimum(np.ceil(centre + radii).astype(int) + 1, labels.shape)
    box = Box(*(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))
    k, j, i = ((np.arange(a, b) - c) / r for a, b, c, r in zip(low, high, centre, radii, strict=True))
    k, j, i = k[:, None, None], j[None, :, None], i[None, None, :]
    lumps = 0.12 * np.sin(rng.uniform(4, 9) * j + rng.uniform(0, 6)) * np.sin(rng.uniform(4, 9) * i + 3 * k)
    inside = (k * k + j * j + i * i) * (1 + lumps) < 0.98
    view = labels[box]
    view[inside & (view == 0)] = number
    return box
