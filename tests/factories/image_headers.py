"""Headers of a series of images on a grid, without files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.geometry.source_planes import ImageHeader

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt


def image_headers(
    affine: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    uid: Callable[[int], str],
    series: str,
    frame_of_reference: str | None,
    **changes: object,
) -> list[ImageHeader]:
    """One single-frame image per slice of `shape` (k, j, i)."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    orientation = np.concatenate([affine[:3, 0] / spacing[0], affine[:3, 1] / spacing[1]])
    fields = {
        "frame_of_reference_uid": frame_of_reference,
        "rows": shape[1],
        "columns": shape[2],
        "is_enhanced": False,
        "kind": (),
        "orientations": orientation[None],
        "spacings": spacing[None, [1, 0]],
        "thicknesses": spacing[None, 2],
    }
    return [
        ImageHeader(
            name=f"{k}.dcm",
            sop_uid=uid(k),
            series_uid=series,
            positions=(affine[:3, 3] + k * affine[:3, 2])[None],
            **(fields | changes),
        )
        for k in range(shape[0])
    ]
