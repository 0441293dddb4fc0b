"""The grid of the images that were segmented, and putting a segmentation onto it without resampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.volume import Grid, SegVolume
from segtools.errors import CorruptSegError, MissingError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt
    from pydicom.dataset import Dataset

    Labels = npt.NDArray[np.uint8 | np.uint16]
    Vector = npt.NDArray[np.float64]

_HEADER_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_SPACING_TOLERANCE = 0.01
"""Of the slice distance: what positions may deviate from equal distances."""
_VOXEL_TOLERANCE = 0.1
"""Voxels that a corner of the segmentation may lie off the source's voxels."""


@dataclass(frozen=True)
class SourceGrid:
    """The grid of an image series.

    Attributes
    ----------
    shape : (3,) tuple of int
        Voxels along (k, j, i).
    affine_lps : (4, 4) float64 ndarray, mm
        Maps (i, j, k, 1) to the voxel centre in LPS+; slices ascend along the normal.
    sop_uids : tuple of str
        SOPInstanceUID of each slice; the same one for all frames of an enhanced image.
    series_uid, frame_of_reference_uid : str or None
    frame_numbers : tuple of int
        Frame of the image that each slice is, from 1; empty for single-frame images.
    """

    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    sop_uids: tuple[str, ...]
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    frame_numbers: tuple[int, ...] = ()


class _Plane(NamedTuple):
    position: Vector
    orientation: Vector
    spacing: Vector
    thickness: float | None
    sop_uid: str
    frame_number: int


def source_grid_from_files(source: Path | str | Iterable[Path | str]) -> SourceGrid:
    """Grid of a CT, MR or PT series, single-frame or enhanced multi-frame; headers only.

    Parameters
    ----------
    source : path or iterable of paths
        A folder (not searched deeper) or the files of one series.

    Raises
    ------
    MissingError
        ``not-found``: no file.
    CorruptSegError
        ``not-dicom``, ``missing-attribute``, ``invalid-attribute``.
    UnsupportedSegError
        ``multiple-orientations``, ``irregular-spacing``, ``sheared-positions``,
        ``temporal-frames``: the series is no single volume.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(p for p in paths[0].iterdir() if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise MissingError("not-found", "There is no file of the source series.")
    headers = [_header(path) for path in paths]
    for keyword in ("Rows", "Columns", "SeriesInstanceUID", "FrameOfReferenceUID"):
        if len(values := {str(header.get(keyword)) for header in headers}) > 1:
            raise CorruptSegError(
                "invalid-attribute", f"Source images differ in {keyword}: {sorted(values)[:3]}."
            )
    planes = [plane for header in headers for plane in _planes(header)]
    rows, columns = int(headers[0].get("Rows") or 0), int(headers[0].get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise CorruptSegError("invalid-attribute", f"Source images have {rows} rows and {columns} columns.")
    shape, affine, ordered = _stack(planes, rows, columns)
    enhanced = any("PerFrameFunctionalGroupsSequence" in header for header in headers)
    return SourceGrid(
        shape,
        affine,
        tuple(plane.sop_uid for plane in ordered),
        frame_numbers=tuple(plane.frame_number for plane in ordered) if enhanced else (),
        series_uid=_text(headers[0], "SeriesInstanceUID"),
        frame_of_reference_uid=_text(headers[0], "FrameOfReferenceUID"),
    )


def _header(path: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=_HEADER_TAGS)
    except FileNotFoundError as error:
        raise MissingError("not-found", f"The source image {path.name!r} does not exist.") from error
    except (InvalidDicomError, EOFError) as error:
        raise CorruptSegError("not-dicom", f"The source image {path.name!r} is not DICOM.") from error


def _text(header: Dataset, keyword: str) -> str | None:
    value = header.get(keyword)
    return str(value) if value else None


def _planes(header: Dataset) -> Iterator[_Plane]:
    shared = (header.get("SharedFunctionalGroupsSequence") or [header])[0]
    for number, own in enumerate(header.get("PerFrameFunctionalGroupsSequence") or [shared], 1):
        yield _Plane(
            position=_vector(header, shared, own, "PlanePositionSequence", "ImagePositionPatient", 3),
            orientation=_vector(
                header, shared, own, "PlaneOrientationSequence", "ImageOrientationPatient", 6
            ),
            spacing=_vector(header, shared, own, "PixelMeasuresSequence", "PixelSpacing", 2),
            thickness=_thickness(header, shared, own),
            sop_uid=str(header.get("SOPInstanceUID", "")),
            frame_number=number,
        )


def _find(header: Dataset, shared: Dataset, own: Dataset, sequence: str, keyword: str) -> object:
    for group in (own, shared):
        if items := group.get(sequence):
            return items[0].get(keyword)
    return header.get(keyword)


def _vector(header: Dataset, shared: Dataset, own: Dataset, sequence: str, keyword: str, size: int) -> Vector:
    value = _find(header, shared, own, sequence, keyword)
    if value is None:
        raise CorruptSegError("missing-attribute", f"A source image has no {keyword}.", keyword=keyword)
    try:
        vector = np.atleast_1d(np.array(value, dtype=np.float64))
    except (TypeError, ValueError):
        vector = np.empty(0)
    if len(vector) != size or not np.all(np.isfinite(vector)):
        raise CorruptSegError(
            "invalid-attribute", f"{keyword} of a source image is {value!r}.", keyword=keyword
        )
    return vector


def _thickness(header: Dataset, shared: Dataset, own: Dataset) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = _find(header, shared, own, "PixelMeasuresSequence", keyword)
        if isinstance(value, float | int) and value > 0:
            return float(value)
    return None


def _stack(
    planes: list[_Plane], rows: int, columns: int
) -> tuple[tuple[int, int, int], npt.NDArray[np.float64], list[_Plane]]:
    """Shape and affine of planes that make one volume, and the planes, ascending along the normal."""
    first = planes[0]
    across, down = first.orientation[:3], first.orientation[3:]
    for name, of_first, of_all in (
        ("orientation", first.orientation, [plane.orientation for plane in planes]),
        ("pixel spacing", first.spacing, [plane.spacing for plane in planes]),
    ):
        if np.abs(np.array(of_all) - of_first).max() > 1e-3:
            raise UnsupportedSegError("multiple-orientations", f"Source images differ in {name}.")
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 1e-2 or first.spacing.min() <= 0:
        raise CorruptSegError(
            "invalid-attribute",
            f"Source images have orientation {first.orientation.tolist()}, spacing {first.spacing.tolist()}.",
        )
    planes = sorted(planes, key=lambda plane: float(plane.position @ normal))
    positions = np.array([plane.position for plane in planes])
    step = normal * (first.thickness or 1.0)
    if len(planes) > 1:
        step = (positions[-1] - positions[0]) / (len(planes) - 1)
        _check_steps(positions, step, normal)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * first.spacing[1], down * first.spacing[0], step], axis=1)
    affine[:3, 3] = positions[0]
    return (len(planes), rows, columns), affine, planes


def _check_steps(positions: Vector, step: Vector, normal: Vector) -> None:
    distance = float(step @ normal)
    gaps = np.diff(positions @ normal)
    if gaps.min() < _SPACING_TOLERANCE * max(distance, 1e-3):
        raise UnsupportedSegError("temporal-frames", "Several source images lie at one position.")
    exact = positions[0] + np.arange(len(positions))[:, None] * step
    deviation = positions - exact
    if np.abs(deviation @ normal).max() > max(_SPACING_TOLERANCE * distance, 1e-2):
        raise UnsupportedSegError(
            "irregular-spacing", f"Source images lie {gaps.min():.4g} to {gaps.max():.4g} mm apart."
        )
    if np.linalg.norm(step - distance * normal) > _SPACING_TOLERANCE * distance:
        raise UnsupportedSegError(
            "sheared-positions", "Source images are shifted against each other in plane."
        )


class _Axis(NamedTuple):
    """Where an axis of the source grid comes from.

    Attributes
    ----------
    axis : int
        Array axis of the segmentation.
    step : int
        Source voxels per voxel; negative if the axis is flipped.
    start : int
        Source index of voxel 0.
    """

    axis: int
    step: int
    start: int

    def span(self, length: int, size: int) -> tuple[slice, slice]:
        """Voxels of an axis of `length` that lie on the source's axis of `size`, and where there."""
        index = self.start + self.step * np.arange(length)
        inside = np.flatnonzero((index >= 0) & (index < size))
        if not len(inside):
            return slice(0), slice(0)
        first, last = int(index[inside[0]]), int(index[inside[-1]])
        end = last + (1 if self.step > 0 else -1)
        kept = slice(int(inside[0]), int(inside[-1]) + 1)
        return kept, slice(first, end if end >= 0 else None, self.step)


def onto(volume: SegVolume, grid: SourceGrid) -> SegVolume:
    """Put a segmentation onto the grid of its source images: padded, cropped, flipped, axes permuted.

    Voxels are moved, never resampled: every voxel of the segmentation must be a voxel of the source,
    within a tenth of a voxel. Slices further apart than the source's are placed on their own source
    slices only where nothing but their positions told the distance (finding ``ambiguous-spacing``).

    Findings: ``padded-to-source``, ``cropped-to-source`` (with the voxels cut off).

    Raises
    ------
    UnsupportedSegError
        ``grid-mismatch``.
    """
    of_source, of_volume = grid.frame_of_reference_uid, volume.header.frame_of_reference_uid
    if of_source and of_volume and of_source != of_volume:
        raise UnsupportedSegError(
            "grid-mismatch",
            f"FrameOfReferenceUID (0020,0052) of the source is {of_source[:64]!r}, not {of_volume[:64]!r}.",
            tag="(0020,0052)",
        )
    axes = _match(volume, grid)
    moved = [_move(array, axes, grid.shape) for array in volume.layers]
    fractions = {number: _move(array, axes, grid.shape) for number, array in volume.fractions.items()}
    lost = sum(n for _, n in [*moved, *fractions.values()])
    findings = list(volume.findings)
    if lost:
        message = f"{lost} voxels lie outside the source grid and were cut off."
        findings.append(Finding("cropped-to-source", message, observed=str(lost), expected="0"))
    spans = [
        axis.span(volume.grid.shape[axis.axis], size)[0] for axis, size in zip(axes, grid.shape, strict=True)
    ]
    if any(span.stop - (span.start or 0) < size for span, size in zip(spans, grid.shape, strict=True)):
        shapes = [" × ".join(map(str, shape)) for shape in (volume.grid.shape, grid.shape)]
        message = f"Padded from {shapes[0]} to {shapes[1]} voxels (k, j, i)."
        findings.append(Finding("padded-to-source", message, observed=shapes[0], expected=shapes[1]))
    return replace(
        volume,
        layers=tuple(array for array, _ in moved),
        fractions={number: array for number, (array, _) in fractions.items()},
        grid=Grid(grid.shape, grid.affine_lps),
        findings=tuple(findings),
        filled=(),
    )


def _match(volume: SegVolume, grid: SourceGrid) -> tuple[_Axis, _Axis, _Axis]:
    """Express the source's (k, j, i) axes by the segmentation's."""
    shape = volume.grid.shape
    exact = np.linalg.inv(grid.affine_lps) @ volume.grid.affine_lps
    if shape[0] == 1:  # the distance of a single slice is a convention; the source's is as good
        column = int(np.argmin(np.abs(np.round(exact[:3, :2])).sum(axis=1)))
        exact[:3, 2] = np.sign(exact[column, 2]) * np.eye(3)[column]
    whole = np.round(exact)
    corners = np.array(
        [[i, j, k, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1) for k in (0, shape[0] - 1)]
    )
    off = float(np.abs((exact - whole)[:3] @ corners.T).max())
    steps = whole[:3, :3]
    is_permutation = bool(np.all((steps != 0).sum(axis=0) == 1) and np.all((steps != 0).sum(axis=1) == 1))
    largest = max((abs(int(v)) for v in steps[:, 2]), default=0)
    strided = largest > 1 and any(finding.code == "ambiguous-spacing" for finding in volume.findings)
    if (
        not is_permutation
        or off > _VOXEL_TOLERANCE
        or np.abs(steps[:, :2]).max() > 1
        or (largest > 1 and not strided)
    ):
        raise UnsupportedSegError(
            "grid-mismatch",
            f"Voxels of the segmentation lie up to {off:.3g} voxels off those of the source; one step along "
            f"its (i, j, k) is {np.round(exact[:3, :3].T, 4).tolist()} source voxels.",
        )
    found = []
    for source_axis in (2, 1, 0):
        axis = int(np.flatnonzero(steps[source_axis])[0])
        found.append(_Axis(2 - axis, int(steps[source_axis, axis]), int(whole[source_axis, 3])))
    return found[0], found[1], found[2]


def _move(array: Labels, axes: tuple[_Axis, _Axis, _Axis], shape: tuple[int, int, int]) -> tuple[Labels, int]:
    """Array on the source grid, and the number of voxels that fell off."""
    view = array.transpose([axis.axis for axis in axes])
    spans = [axis.span(length, size) for axis, length, size in zip(axes, view.shape, shape, strict=True)]
    moved = np.zeros(shape, array.dtype)
    part = view[tuple(kept for kept, _ in spans)]
    if part.size:
        moved[tuple(target for _, target in spans)] = part
    lost = int(np.count_nonzero(array)) - int(np.count_nonzero(part)) if part.size < array.size else 0
    return moved, lost
