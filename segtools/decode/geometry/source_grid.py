"""The grid of the images that were segmented, and putting a segmentation onto it without resampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.geometry.source_planes import Plane, read_image
from segtools.decode.volume import Grid, SegVolume
from segtools.errors import CorruptSegError, MissingError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from segtools.decode.geometry.source_planes import ImageHeader

    Labels = npt.NDArray[np.uint8 | np.uint16]
    Vector = npt.NDArray[np.float64]

_SPACING_TOLERANCE = 0.01
"""Of the slice distance: what positions may deviate from equal distances."""
SAME = 1e-3
"""What direction cosines and pixel spacings (mm) may differ by and be the same."""
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
        SOPInstanceUID of each slice; the same one for all frames of an enhanced image. An empty text
        where the image of a slice is not there.
    series_uid, frame_of_reference_uid : str or None
    frame_numbers : tuple of int
        Frame of the image that each slice is, from 1; empty for single-frame images.
    findings : tuple of Finding
        About how the images were chosen; `onto` adds them to the volume's.
    """

    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    sop_uids: tuple[str, ...]
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    frame_numbers: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()


def source_grid_from_files(source: Path | str | Iterable[Path | str]) -> SourceGrid:
    """Grid of a CT, MR or PT series, single-frame or enhanced multi-frame; headers only.

    Every file must be an image of the one series; `segtools.decode.geometry.source_images` finds them
    in a folder as people have them.

    Parameters
    ----------
    source : path or iterable of paths
        A folder (not searched deeper) or the files of one series.

    Raises
    ------
    MissingError
        ``not-found``: no file.
    NotSegError
        ``not-dicom``, ``empty-file``.
    CorruptSegError
        ``missing-attribute``, ``invalid-attribute``, ``truncated``, ``malformed-structure``.
    UnsupportedSegError
        ``multiple-orientations``, ``irregular-spacing``, ``sheared-positions``,
        ``temporal-frames``: the series is no single volume.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(p for p in paths[0].iterdir() if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise MissingError("not-found", "There is no file of the source series.")
    headers = [read_image(path) for path in paths]
    for keyword, values in (
        ("Rows", {header.rows for header in headers}),
        ("Columns", {header.columns for header in headers}),
        ("SeriesInstanceUID", {header.series_uid for header in headers}),
        ("FrameOfReferenceUID", {str(header.frame_of_reference_uid) for header in headers}),
    ):
        if len(values) > 1:
            some = sorted(map(str, values))[:3]
            raise CorruptSegError("invalid-attribute", f"Source images differ in {keyword}: {some}.")
    for header in headers:
        _check_place(header)
    return grid_of_planes([plane for header in headers for plane in header.planes()])


def grid_of_planes(planes: Sequence[Plane], *, fills_gaps: bool = False) -> SourceGrid:
    """Grid of planes of one size, orientation and spacing.

    Parameters
    ----------
    planes : sequence of Plane
        In any order, at least one.
    fills_gaps : bool
        Keep the place of slices that are not there, as long as they are fewer than those that are;
        finding ``source-slices-missing``.

    Raises
    ------
    CorruptSegError
        ``invalid-attribute``.
    UnsupportedSegError
        As in `source_grid_from_files`.
    """
    first = planes[0].image
    slices, affine = _stack(planes, fills_gaps=fills_gaps)
    lost = slices.count(None)
    findings = []
    if lost:
        findings.append(
            Finding(
                "source-slices-missing",
                f"{lost} of {len(slices)} slices of the source series are not there; their places are kept.",
                observed=str(len(slices) - lost),
                expected=str(len(slices)),
            )
        )
    return SourceGrid(
        (len(slices), first.rows, first.columns),
        affine,
        tuple("" if plane is None else plane.image.sop_uid for plane in slices),
        frame_numbers=tuple(0 if plane is None else plane.frame_number for plane in slices)
        if any(plane.image.is_enhanced for plane in planes)
        else (),
        series_uid=first.series_uid or None,
        frame_of_reference_uid=first.frame_of_reference_uid,
        findings=tuple(findings),
    )


def _check_place(header: ImageHeader) -> None:
    if header.rows < 1 or header.columns < 1:
        raise CorruptSegError(
            "invalid-attribute", f"Source images have {header.rows} rows and {header.columns} columns."
        )
    for keyword, values in (
        ("ImagePositionPatient (0020,0032)", header.positions),
        ("ImageOrientationPatient (0020,0037)", header.orientations),
        ("PixelSpacing (0028,0030)", header.spacings),
    ):
        if not np.isfinite(values).all():
            raise CorruptSegError(
                "missing-attribute",
                f"The source image {header.name!r} has no {keyword} that can be read.",
                keyword=keyword,
            )


def _stack(
    planes: Sequence[Plane], *, fills_gaps: bool
) -> tuple[list[Plane | None], npt.NDArray[np.float64]]:
    """The planes of one volume, ascending along the normal, None where one is missing; and the affine."""
    first = planes[0]
    across, down = first.orientation[:3], first.orientation[3:]
    for name, of_first, of_all in (
        ("orientation", first.orientation, [plane.orientation for plane in planes]),
        ("pixel spacing", first.spacing, [plane.spacing for plane in planes]),
    ):
        if np.abs(np.array(of_all) - of_first).max() > SAME:
            raise UnsupportedSegError(
                "multiple-orientations",
                f"Source images differ in {name}.",
                hint="Give the images of one stack only, or a segmentation that names them.",
            )
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 1e-2 or first.spacing.min() <= 0:
        raise CorruptSegError(
            "invalid-attribute",
            f"Source images have orientation {first.orientation.tolist()}, spacing {first.spacing.tolist()}.",
        )
    ordered = sorted(planes, key=lambda plane: float(plane.position @ normal))
    slices: list[Plane | None] = [*ordered]
    positions = np.array([plane.position for plane in ordered])
    step = normal * (first.thickness or 1.0)
    if len(planes) > 1:
        places = _places(positions @ normal) if fills_gaps else np.arange(len(planes))
        step = (positions[-1] - positions[0]) / places[-1]
        _check_steps(positions, places, step, normal)
        with_gaps: list[Plane | None] = [None] * (int(places[-1]) + 1)
        for place, plane in zip(places.tolist(), ordered, strict=True):
            with_gaps[place] = plane
        slices = with_gaps
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across * first.spacing[1], down * first.spacing[0], step], axis=1)
    affine[:3, 3] = positions[0]
    return slices, affine


def _places(heights: Vector) -> npt.NDArray[np.int64]:
    """Number of each slice, from 0, where the smallest distance is one step; ``0 1 2 4`` has a gap.

    As they come where two lie at one height, or where more would be missing than are there.
    """
    gaps = np.diff(heights)
    in_order = np.arange(len(heights))
    if gaps.min() <= 0:
        return in_order
    places = np.concatenate([[0], np.cumsum(np.round(gaps / gaps.min()).clip(max=len(heights)))])
    return places.astype(np.int64) if places[-1] + 1 < 2 * len(heights) else in_order


def _check_steps(positions: Vector, places: npt.NDArray[np.int64], step: Vector, normal: Vector) -> None:
    distance = float(step @ normal)
    gaps = np.diff(positions @ normal)
    if gaps.min() < _SPACING_TOLERANCE * max(distance, 1e-3):
        raise UnsupportedSegError(
            "temporal-frames",
            "Several source images lie at one position.",
            hint="Give the images of one acquisition only, or a segmentation that names them.",
        )
    deviation = positions - (positions[0] + places[:, None] * step)
    if np.abs(deviation @ normal).max() > max(_SPACING_TOLERANCE * distance, 1e-2):
        raise UnsupportedSegError(
            "irregular-spacing",
            f"Source images lie {gaps.min():.4g} to {gaps.max():.4g} mm apart.",
            hint="Without equal distances they are not a grid; use the mask's own grid.",
        )
    if np.linalg.norm(step - distance * normal) > _SPACING_TOLERANCE * distance:
        raise UnsupportedSegError(
            "sheared-positions",
            "Source images are shifted against each other in plane.",
            hint="They are not a grid; use the mask's own grid.",
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


def onto(volume: SegVolume, grid: SourceGrid, *, any_frame_of_reference: bool = False) -> SegVolume:
    """Put a segmentation onto the grid of its source images: padded, cropped, flipped, axes permuted.

    Voxels are moved, never resampled: every voxel of the segmentation must be a voxel of the source,
    within a tenth of a voxel. Slices further apart than the source's are placed on their own source
    slices only where nothing but their positions told the distance (finding ``ambiguous-spacing``).

    Findings: ``padded-to-source``, ``cropped-to-source`` (with the voxels cut off), those of the grid.

    Parameters
    ----------
    volume : SegVolume
    grid : SourceGrid
    any_frame_of_reference : bool
        Accept another FrameOfReferenceUID (finding ``frame-of-reference-differs``): a scan that was
        anonymised again, or copied, has equal voxels under another name.

    Raises
    ------
    UnsupportedSegError
        ``grid-mismatch``.
    """
    findings = [*volume.findings, *grid.findings]
    of_source, of_volume = grid.frame_of_reference_uid, volume.header.frame_of_reference_uid
    if of_source and of_volume and of_source != of_volume:
        message = (
            f"FrameOfReferenceUID (0020,0052) of the source is {of_source[:64]!r}, not {of_volume[:64]!r}."
        )
        if not any_frame_of_reference:
            hint = "If it is the same scan under another name, `idcseg decode --source-anyway` takes it."
            raise UnsupportedSegError("grid-mismatch", message, hint=hint, tag="(0020,0052)")
        findings.append(Finding("frame-of-reference-differs", message, tag="(0020,0052)"))
    axes = _match(volume, grid)
    moved = [_move(array, axes, grid.shape) for array in volume.layers]
    fractions = {number: _move(array, axes, grid.shape) for number, array in volume.fractions.items()}
    lost = sum(n for _, n in [*moved, *fractions.values()])
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
