"""Where source images lie: planes sorted along their normal, on one grid, gaps kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

SAME_ORIENTATION = 2e-3
"""Largest difference of direction cosines between images of one stack."""
_SAME_SPACING = 1e-3
_UNIT = 1e-3
_SAME_PLACE = 0.01
"""Of the slice distance: what two images of one position may differ by, and positions from the grid."""
_PERPENDICULAR = 0.02
"""Tangent of the largest angle between the stack's axis and the normal: beyond, the gantry was tilted."""


@dataclass(frozen=True, slots=True)
class SourcePlane:
    """One image, or one frame of a multi-frame image.

    Attributes
    ----------
    sop_class_uid, sop_uid : str
    frame_number : int or None
        From 1; None for single-frame images.
    position : (3,) float64 ndarray or None, mm LPS+
    orientation : (6,) float64 ndarray or None
    spacing : (2,) float64 ndarray or None, mm
        Between rows, between columns.
    thickness, distance : float or None, mm
        SliceThickness, SpacingBetweenSlices.
    moment : tuple of float
        Orders images of one position.
    """

    sop_class_uid: str
    sop_uid: str
    frame_number: int | None = None
    position: Vector | None = None
    orientation: Vector | None = None
    spacing: Vector | None = None
    thickness: float | None = None
    distance: float | None = None
    moment: tuple[float, ...] = ()


@dataclass(frozen=True)
class Stack:
    """Planes on a grid.

    Attributes
    ----------
    affine_lps : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to LPS+; slices ascend along the normal.
    slices : tuple of tuple of SourcePlane
        Of each slice its images in order of time; empty where one is missing.
    thickness_mm : float or None
    findings : tuple of Finding
    """

    affine_lps: Vector
    slices: tuple[tuple[SourcePlane, ...], ...]
    thickness_mm: float | None
    findings: tuple[Finding, ...]

    @property
    def planes(self) -> tuple[SourcePlane, ...]:
        """All planes, slice by slice."""
        return tuple(plane for at in self.slices for plane in at)

    @property
    def time_points(self) -> int:
        """Images at each position."""
        return max(len(at) for at in self.slices)


def stack(planes: tuple[SourcePlane, ...], rows: int, columns: int) -> Stack:
    """Sort planes into slices.

    Raises
    ------
    UsageError
        ``source-attribute-missing``, ``source-inconsistent``, ``gantry-tilt``.
    """
    findings: list[Finding] = []
    unique = tuple({(plane.sop_uid, plane.frame_number): plane for plane in planes}.values())
    if len(unique) < len(planes):
        message = f"{len(planes) - len(unique)} source images are there twice; each was taken once."
        findings.append(Finding("source-image-repeated", message))
    for keyword, values in (
        ("ImagePositionPatient", [plane.position for plane in unique]),
        ("ImageOrientationPatient", [plane.orientation for plane in unique]),
        ("PixelSpacing", [plane.spacing for plane in unique]),
    ):
        lacking = [plane for plane, value in zip(unique, values, strict=True) if value is None]
        if lacking:
            raise UsageError(
                "source-attribute-missing",
                f"{len(lacking)} of {len(unique)} source images have no valid {keyword}; "
                f"the first is {lacking[0].sop_uid}.",
                keyword=keyword,
            )
    across, down = _axes(unique, findings)
    spacing = _spacing(unique)
    normal = np.cross(across, down)
    places = np.array([plane.position for plane in unique])
    depths = places @ normal
    step, index = _steps(depths, unique)
    if (missing := int(index.max()) + 1 - len(set(index.tolist()))) > 0:
        message = f"{missing} of {int(index.max()) + 1} slices of the source are missing."
        findings.append(Finding("source-slices-missing", message, observed=str(missing), expected="0"))
    origin = _origin(places, index, step, normal)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * spacing[1], down * spacing[0], normal * step], axis=1)
    affine[:3, 3] = origin
    slices: list[list[SourcePlane]] = [[] for _ in range(int(index.max()) + 1)]
    for plane, at in zip(unique, index.tolist(), strict=True):
        slices[at].append(plane)
    _check_times(slices)
    ordered = tuple(tuple(sorted(at, key=lambda plane: (plane.moment, plane.sop_uid))) for at in slices)
    thickness = next((plane.thickness for plane in unique if plane.thickness), None)
    return Stack(affine, ordered, thickness, tuple(findings))


def _axes(planes: tuple[SourcePlane, ...], findings: list[Finding]) -> tuple[Vector, Vector]:
    """Unit vectors along a row and down a column."""
    orientations = np.array([plane.orientation for plane in planes])
    middle = np.median(orientations, axis=0)
    off = np.abs(orientations - middle).max(axis=1)
    if off.max() > SAME_ORIENTATION:
        raise UsageError(
            "source-inconsistent",
            f"{int((off > SAME_ORIENTATION).sum())} of {len(planes)} source images have another orientation "
            f"(ImageOrientationPatient); the first is {planes[int(off.argmax())].sop_uid}.",
            keyword="ImageOrientationPatient",
        )
    across, down = middle[:3], middle[3:]
    lengths = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    if min(lengths) < 0.5 or abs(float(across @ down)) > 0.1:
        raise UsageError(
            "source-attribute-missing",
            f"ImageOrientationPatient of the source is {middle.tolist()}: no two directions.",
            keyword="ImageOrientationPatient",
        )
    if abs(lengths[0] - 1) > _UNIT or abs(lengths[1] - 1) > _UNIT or abs(float(across @ down)) > _UNIT:
        message = "ImageOrientationPatient of the source is not of unit length or not orthogonal; normalised."
        findings.append(Finding("orientation-normalised", message, observed=str(middle.tolist())))
    across = across / lengths[0]
    down = down - (down @ across) * across
    return across, down / np.linalg.norm(down)


def _spacing(planes: tuple[SourcePlane, ...]) -> Vector:
    spacings = np.array([plane.spacing for plane in planes])
    middle: Vector = np.median(spacings, axis=0)
    if middle.min() <= 0 or np.abs(spacings / middle - 1).max() > _SAME_SPACING:
        raise UsageError(
            "source-inconsistent",
            f"PixelSpacing of the source is {spacings.min():.6g} to {spacings.max():.6g} mm; "
            "it must be one, above 0.",
            keyword="PixelSpacing",
        )
    return middle


def _steps(depths: Vector, planes: tuple[SourcePlane, ...]) -> tuple[float, npt.NDArray[np.int64]]:
    """Distance of neighbouring slices, mm, and the slice of each plane, from 0."""
    ordered = np.unique(depths)
    first = planes[0]
    assumed = first.distance or first.thickness or 1.0
    if ordered[-1] - ordered[0] <= _SAME_PLACE * assumed:
        return assumed, np.zeros(len(depths), np.int64)
    gaps = np.diff(ordered)
    gaps = gaps[gaps > _SAME_PLACE * gaps.max()]
    small = float(gaps.min())
    step = float(np.median(gaps[gaps < 1.5 * small]))
    count = round((ordered[-1] - ordered[0]) / step)
    step = float(ordered[-1] - ordered[0]) / count
    exact = (depths - ordered[0]) / step
    index = np.rint(exact).astype(np.int64)
    off = np.abs(exact - index).max()
    if off * step > max(_SAME_PLACE * step, 0.01) or count > 8 * len(planes) + 64:
        raise UsageError(
            "source-inconsistent",
            f"The source images lie {small:.4g} to {gaps.max():.4g} mm apart, on no regular grid.",
            keyword="ImagePositionPatient",
        )
    return step, index


def _origin(places: Vector, index: npt.NDArray[np.int64], step: float, normal: Vector) -> Vector:
    """Position of slice 0; refuses stacks whose slices are shifted in plane."""
    first = places[int(index.argmin())]
    rest = places - first
    in_plane = rest - np.outer(rest @ normal, normal)
    shift = np.linalg.norm(in_plane, axis=1)
    allowed = np.maximum(_PERPENDICULAR * np.abs(rest @ normal), 0.05)
    if np.any(shift > allowed):
        worst = int(np.argmax(shift - allowed))
        tilt = np.degrees(np.arctan2(shift[worst], abs(float(rest[worst] @ normal))))
        raise UsageError(
            "gantry-tilt",
            f"The source images are shifted in plane by up to {shift[worst]:.4g} mm against each other: "
            f"the stack leans by {tilt:.3g}°.",
            degrees=float(tilt),
        )
    return np.asarray(first, np.float64)


def _check_times(slices: list[list[SourcePlane]]) -> None:
    counts = {len(at) for at in slices if at}
    if len(counts) > 1:
        raise UsageError(
            "source-inconsistent",
            f"Some positions have {min(counts)} source images, others {max(counts)}: neither one volume nor "
            "several time points.",
            keyword="ImagePositionPatient",
        )
