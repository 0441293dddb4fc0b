"""Measures of every label of a label map with the native core: one pass, memory of two slices' runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import numpy.typing as npt

    Labels = npt.NDArray[np.uint8 | np.uint16]

MEASURES = (
    *("voxels", "sum_i", "sum_j", "sum_k", "min_i", "max_i", "min_j", "max_j", "min_k", "max_k"),
    *("slices", "components", "largest", "last_k"),
)
"""The order in segtools/native/core.h."""


def measure_labels_natively(
    core: ModuleType, array: Labels, slices: npt.NDArray[np.intp]
) -> dict[int, Shape]:
    """Measures of every label but 0; parameters as in `segtools.decode.shapes.measure_labels`."""
    table = np.zeros((1 << (8 * array.itemsize), len(MEASURES)), np.int64)
    _, rows, columns = array.shape
    core.measure(
        np.ascontiguousarray(array),
        array.itemsize,
        rows,
        columns,
        np.ascontiguousarray(slices, np.int64),
        table,
    )
    labels = np.flatnonzero(table[:, 0])
    found = table[labels]
    means = (found[:, 1:4] / found[:, :1]).tolist()
    return {
        label: Shape(row[0], (row[4], row[5], row[6], row[7], row[8], row[9]), tuple(mean), *row[10:13])
        for label, row, mean in zip(labels.tolist(), found.tolist(), means, strict=True)
    }


def count_shared_natively(
    core: ModuleType, planes: Sequence[Labels], counts: Sequence[npt.NDArray[np.int64]]
) -> None:
    """Add, to each plane's counts by label, the voxels that another plane has too."""
    core.shared([np.ascontiguousarray(plane) for plane in planes], list(counts), planes[0].size)
