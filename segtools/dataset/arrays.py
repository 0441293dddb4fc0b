"""What the load API gives as arrays: label maps, and the images under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segtools.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Volume:
    """The label maps of one instance.

    Attributes
    ----------
    layers : tuple of (k, j, i) ndarray
        One, unless segments share voxels. Values are SegmentNumbers, or label indices where the
        volume was asked for with ``labels="cohort"``; 0 is background.
    affine_ras_mm : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to RAS+.
    segments : pyarrow.Table
        The instance's rows.
    """

    layers: tuple[npt.NDArray[Any], ...]
    affine_ras_mm: npt.NDArray[np.float64]
    segments: pa.Table

    @property
    def array(self) -> npt.NDArray[Any]:
        """(k, j, i) ndarray, if there is one layer.

        Raises
        ------
        UsageError
            ``not-found``: segments share voxels, so one array cannot hold them.
        """
        if len(self.layers) != 1:
            raise UsageError(
                "not-found",
                f"The volume has {len(self.layers)} layers, so there is no single array.",
                hint="Take `layers`, or one `mask` at a time.",
            )
        return self.layers[0]


@dataclass(frozen=True)
class Image:
    """The images that a segmentation was drawn on.

    Attributes
    ----------
    array : (k, j, i) int16 or float32 ndarray
        HU, Bq/mL and the like: `row["unit"]`.
    affine_ras_mm : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to RAS+.
    row : dict
        Of the images table.
    """

    array: npt.NDArray[Any]
    affine_ras_mm: npt.NDArray[np.float64]
    row: dict[str, Any]
