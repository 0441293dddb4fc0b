"""Masks as label arrays, and which frames they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]


@dataclass(frozen=True)
class Masks:
    """Voxels of every segment.

    Attributes
    ----------
    shape : (3,) tuple of int
        (k, j, i).
    layers : tuple of (k, j, i) uint8 or uint16 ndarray
        Label arrays.
    place : mapping of int to (int, int)
        SegmentNumber to layer and value there.
    fractions : mapping of int to (k, j, i) float ndarray, 0 to 1
        Of FRACTIONAL only.
    """

    shape: tuple[int, int, int]
    layers: tuple[Array, ...] = ()
    place: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    fractions: Mapping[int, Array] = field(default_factory=dict)


def masks_of(
    masks: Array | Mapping[int, Array], shape: tuple[int, int, int], numbers: Sequence[int], kind: Kind
) -> Masks:
    """Check what `segtools.encode.encode` was given, and order it.

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    arrays = masks if isinstance(masks, Mapping) else {0: masks}
    for array in arrays.values():
        if array.shape != shape:
            raise refuse(f"A mask has shape {array.shape}, the grid has {shape} (k, j, i).")
    if not isinstance(masks, Mapping):
        if masks.dtype.kind not in "ui" or (masks.size and masks.min() < 0):
            raise refuse(f"A label map holds integers from 0, not {masks.dtype} from {masks.min()}.")
        layer = narrow(masks, max(numbers))
        _check_known(values_in(layer) if layer is not None else set(np.unique(masks).tolist()), numbers)
        assert layer is not None  # noqa: S101 - every value is a number of a segment
        return Masks(shape, (layer,), {number: (0, number) for number in numbers})
    _check_known(masks, numbers)
    if kind == "FRACTIONAL":
        for number, array in masks.items():
            if array.size and not (array.min() >= 0 and array.max() <= 1):
                raise refuse(f"The fractions of segment {number} must be 0 to 1.")
        return Masks(shape, fractions=masks)
    return _layered(masks, shape, numbers)


def narrow(array: Array, largest: int) -> Array | None:
    """`array` as uint8 or uint16, whichever holds `largest`; None if a value is above that type."""
    target = np.uint8 if largest < 256 else np.uint16
    if array.dtype == target:
        return array
    if array.size and array.max() > np.iinfo(target).max:
        return None
    return array.astype(target)


def refuse(message: str) -> UsageError:
    """Make the error of masks that are no segmentation."""
    return UsageError("invalid-mask", message)


def values_in(array: Array) -> set[int]:
    """Values of a label array of 8 or 16 bits."""
    found = np.zeros(1 << (8 * array.dtype.itemsize), bool)
    for plane in array:
        flat = plane.reshape(-1)
        if flat.size:
            found[flat[0]] = True
            found[flat[1:][flat[1:] != flat[:-1]]] = True
    return set(np.flatnonzero(found).tolist())


def _check_known(used: Iterable[int], numbers: Iterable[int]) -> None:
    if unknown := sorted(set(used) - {0} - set(numbers)):
        raise refuse(f"Masks have the numbers {unknown[:20]}, which no segment describes.")


def _layered(masks: Mapping[int, Array], shape: tuple[int, int, int], numbers: Sequence[int]) -> Masks:
    """Masks in as few label arrays as their overlap allows, first come, first served."""
    dtype = np.uint8 if max(numbers) < 256 else np.uint16
    layers: list[Array] = [np.zeros(shape, dtype)]
    place = {number: (0, number) for number in numbers}
    for number, mask in masks.items():
        if mask.dtype.kind not in "bui" or mask.max(initial=0) > 1 or mask.min(initial=0) < 0:
            raise refuse(f"The mask of segment {number} must hold 0 and 1 only.")
        inside = mask.astype(bool, copy=False)
        free = next((n for n, layer in enumerate(layers) if not np.any(layer[inside])), len(layers))
        if free == len(layers):
            layers.append(np.zeros(shape, dtype))
        layers[free][inside] = number
        place[number] = (free, number)
    return Masks(shape, tuple(layers), place)


Rows = tuple[int, int]


def occupied(masks: Masks) -> dict[int, dict[int, Rows]]:
    """Of each segment, the slices with voxels and the rows these are in.

    One pass over each layer: in a flattened slice values change rarely, and only where they do is
    anything looked at.

    Returns
    -------
    dict of int to dict of int to (int, int)
        SegmentNumber → slice → first row, row after the last. Slices ascend.
    """
    number_of = {place: number for number, place in masks.place.items()}
    found: dict[int, dict[int, Rows]] = {number: {} for number in masks.place}
    for n, layer in enumerate(masks.layers):
        for k, plane in enumerate(layer):
            for value, first, after in _rows_of(plane):
                number = number_of.get((n, value))
                if number is not None:
                    found[number][k] = (first, after)
    for number, fractions in masks.fractions.items():
        found[number] = {
            k: (int(rows[0]), int(rows[-1]) + 1)
            for k, plane in enumerate(fractions)
            if len(rows := np.flatnonzero(plane.any(axis=1)))
        }
    return found


def _rows_of(plane: Array) -> list[tuple[int, int, int]]:
    """Of each value but 0 in a slice: first row, row after the last."""
    flat, columns = plane.reshape(-1), plane.shape[1]
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    values = flat[starts]
    if len(starts) == 1 and values[0] == 0:
        return []
    first = starts // columns
    last = (np.append(starts[1:], flat.size) - 1) // columns
    order = np.argsort(values, kind="stable")
    values, first, last = values[order], first[order], last[order]
    groups = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)
    ends = np.maximum.reduceat(last, groups) + 1
    rows = zip(values[groups].tolist(), first[groups].tolist(), ends.tolist(), strict=True)
    return [each for each in rows if each[0] != 0]
