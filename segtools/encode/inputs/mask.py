"""A mask file in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.volume import Grid
from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MaskFile:
    """What a file holds.

    Attributes
    ----------
    name : str
        File name.
    layers : tuple of (k, j, i) ndarray
        Label arrays; one, unless the file stacks several. Of a 4D file, one per time point.
    affine_lps : (4, 4) float64 ndarray, mm
    is_temporal : bool
        Whether layers are time points.
    named : mapping of (int, int) to mapping of str to str
        Of a ``.seg.nrrd``: layer and label to that segment's fields (``Name``, ``Color``, ``Tags`` …).
    """

    name: str
    layers: tuple[Array, ...]
    affine_lps: npt.NDArray[np.float64]
    is_temporal: bool = False
    named: Mapping[tuple[int, int], Mapping[str, str]] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.layers[0].shape, self.affine_lps)


def unreadable(path: Path, what: str) -> UsageError:
    """Make the error of a mask file that cannot be read."""
    return UsageError("mask-unreadable", f"{path.name}: {what}.", path=str(path))


def whole_numbers(array: Array, name: str) -> Array:
    """Labels as integers from 0: bool and whole-valued floats, too.

    Raises
    ------
    UsageError
        ``invalid-mask``: fractions, NaN, negative or labels above 65535.
    """
    if array.dtype.kind == "b":
        return array.view(np.uint8)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        off = array != whole
        if np.any(off):  # NaN differs from itself
            value = array[off].flat[0]
            raise UsageError(
                "invalid-mask",
                f"{name} has {int(np.count_nonzero(off))} voxels that are not whole numbers, the first is "
                f"{value}; a label map holds whole numbers. Fractions need --type fractional.",
            )
        array = whole
    elif array.dtype.kind not in "ui":
        raise UsageError(
            "invalid-mask", f"{name} has voxels of type {array.dtype}; labels are whole numbers."
        )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < 0 or high > 65_535:
        raise UsageError(
            "invalid-mask", f"{name} has labels from {low} to {high}; 0 to 65535 can be written."
        )
    return array.astype(np.uint8 if high < 256 else np.uint16, copy=False)
