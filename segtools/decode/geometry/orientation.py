"""Axes of the frames: which way rows, columns and slices go, and how far voxels lie apart in plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import CorruptSegError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.geometry.frame_table import FrameTable

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


ORIENTATION_TOLERANCE = 1e-3
"""Direction cosines that differ less are the same orientation."""


_MAX_ORIENTATIONS = 64

SPACING_RANGE_MM = (1e-6, 1e4)
"""Distances of voxels that are believed."""


def orientation_groups(table: FrameTable) -> Ints:
    """(F,) int64: index of the distinct orientation of each frame, in order of first mention."""
    if (table.orientation == table.orientation[:1]).all():
        return np.zeros(table.count, np.int64)
    orientation = np.nan_to_num(table.orientation)
    groups = np.full(table.count, -1, np.int64)
    for group in range(_MAX_ORIENTATIONS):
        left = groups < 0
        if not left.any():
            return groups
        leader = orientation[np.argmax(left)]
        groups[left & (np.abs(orientation - leader).max(axis=1) <= ORIENTATION_TOLERANCE)] = group
    raise UnsupportedSegError(
        "multiple-orientations",
        f"ImageOrientationPatient (0020,0037) has {_MAX_ORIENTATIONS} values or more.",
        tag="(0020,0037)",
    )


def frame_axes(table: FrameTable, findings: list[Finding]) -> tuple[Floats, Floats, Floats]:
    """Return unit vectors along a row, along a column, and along the normal (row × column)."""
    if not np.isfinite(table.orientation).all():
        raise CorruptSegError(
            "missing-attribute",
            "Frames have ImagePositionPatient, but no ImageOrientationPatient (0020,0037) of 6 numbers.",
            tag="(0020,0037)",
        )
    if int(orientation_groups(table).max()) > 0:
        raise UnsupportedSegError(
            "multiple-orientations",
            "ImageOrientationPatient (0020,0037) differs between frames: they fit no single grid.",
            tag="(0020,0037)",
        )
    given = table.orientation[0]
    text = "\\".join(f"{v:g}" for v in given)
    lengths = float(np.linalg.norm(given[:3])), float(np.linalg.norm(given[3:]))
    if not all(1e-6 < length < 1e6 for length in lengths):
        raise CorruptSegError(
            "invalid-attribute", f"ImageOrientationPatient (0020,0037) is {text}: no directions.", value=text
        )
    across, second = given[:3] / lengths[0], given[3:] / lengths[1]
    skew = float(across @ second)
    if abs(skew) > 0.5:
        raise CorruptSegError(
            "invalid-attribute",
            f"ImageOrientationPatient (0020,0037) is {text}: rows and columns are not perpendicular.",
            value=text,
        )
    down = second - skew * across
    down /= np.linalg.norm(down)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(skew)) > ORIENTATION_TOLERANCE:
        findings.append(
            Finding(
                "orientation-normalised",
                f"ImageOrientationPatient (0020,0037) is {text}: no orthogonal unit vectors; normalised.",
                observed=text,
                tag="(0020,0037)",
            )
        )
    return across, down, np.cross(across, down)


def pixel_spacing(table: FrameTable) -> tuple[float, float]:
    """PixelSpacing (0028,0030): distance of neighbouring rows, of neighbouring columns, mm."""
    spacing = table.pixel_spacing
    if not np.isfinite(spacing).all():
        raise CorruptSegError(
            "missing-attribute",
            "PixelSpacing (0028,0030) is absent or no pair of numbers, though frames have positions.",
            tag="(0028,0030)",
        )
    low, high = spacing.min(axis=0), spacing.max(axis=0)
    between_rows, between_columns = float(low[0]), float(low[1])
    if low.min() < SPACING_RANGE_MM[0] or high.max() > SPACING_RANGE_MM[1]:
        raise CorruptSegError(
            "invalid-attribute",
            f"PixelSpacing (0028,0030) is {between_rows:g}\\{between_columns:g}; it must be positive, in mm.",
            tag="(0028,0030)",
        )
    if (high > low * (1 + 1e-3)).any():
        raise UnsupportedSegError(
            "irregular-spacing",
            f"PixelSpacing (0028,0030) differs between frames: {low.tolist()} to {high.tolist()}.",
            tag="(0028,0030)",
        )
    return float(spacing[0, 0]), float(spacing[0, 1])
