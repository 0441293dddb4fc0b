"""The grid that frame positions lie on, or the reason why there is none.

Order of trust: positions, SpacingBetweenSlices (0018,0088), SliceThickness (0018,0050, of a single
slice only). Positions are projected on the slice normal, clustered into slices and fitted by least
squares; the fit holds where every position lies within 1 % of the spacing, or within the rounding of
its own decimals. SpacingBetweenSlices is tried first, since only it tells of slices left out
throughout; where positions contradict it, positions win.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from segtools.decode.geometry.orientation import (
    SPACING_RANGE_MM,
    frame_axes,
    pixel_spacing,
)
from segtools.decode.volume import Grid
from segtools.errors import CorruptSegError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.geometry.frame_table import FrameTable
    from segtools.decode.volume import Assumed

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

Policy = Literal["tolerant", "strict"]

_TOLERANCE: dict[Policy, float] = {"tolerant": 1e-2, "strict": 1e-4}
_FAR_MM = 1e7
_HINT_TOLERANCE = 0.02
_WHOLE = 0.1
"""Share of a slice by which a gap may differ from a whole number of slices."""
_MAX_SEEDS = 32
_JITTER_PIXELS, _JITTER_MM = 0.25, 0.1
"""Bound of what is jitter of a slice, beside its share of the spacing: 1,200 mm excuse no 12 mm."""
_GAP_SHARE = 2
"""Part of the allowed bytes that slices between positions may take, of which the file has nothing."""


@dataclass(frozen=True)
class Placement:
    """A grid, and the slice of each frame in it.

    Attributes
    ----------
    grid : Grid
    slice_of_frame : (F,) int64 ndarray
    findings : tuple of Finding
    """

    grid: Grid
    slice_of_frame: Ints
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Fit:
    """Slices along the normal: ``origin + index * spacing``."""

    index: Ints
    origin: float
    spacing: float
    deviation: float
    is_assumed: bool = False

    @property
    def slices(self) -> int:
        return int(self.index[-1]) + 1


def place_frames(
    table: FrameTable, rows: int, columns: int, policy: Policy = "tolerant", max_bytes: int = 8 << 30
) -> Placement:
    """Grid of all frames of a table.

    Parameters
    ----------
    table : FrameTable
    rows, columns : int
    policy : {"tolerant", "strict"}
        Strict accepts no deviation beyond 0.01 % of the spacing and no contradicting
        SpacingBetweenSlices.
    max_bytes : int, bytes
        Bound of the memory for voxels; half of it may be slices between positions far apart.

    Raises
    ------
    UnsupportedSegError
        ``no-geometry``, ``irregular-spacing``, ``sheared-positions``, ``multiple-orientations``,
        ``memory-limit``.
    CorruptSegError
        ``missing-attribute``, ``invalid-attribute``.
    """
    findings: list[Finding] = []
    if not np.isfinite(table.position).any():
        return _without_positions(table, rows, columns)
    across, down, normal = frame_axes(table, findings)
    spacing = pixel_spacing(table)
    if not (np.isfinite(table.position).all() and (np.abs(table.position) < _FAR_MM).all()):
        raise CorruptSegError(
            "invalid-attribute",
            "ImagePositionPatient (0020,0032) of some frames is absent or no position.",
            tag="(0020,0032)",
        )
    along = table.position @ normal
    levels, level_of_frame = np.unique(along, return_inverse=True)
    fit = _fit(table, levels, level_of_frame.reshape(-1), min(spacing), policy, findings)
    _check_gaps(fit, levels, rows * columns, max_bytes // _GAP_SHARE)
    in_plane = np.stack([table.position @ across, table.position @ down], axis=1)
    _check_shear(in_plane, float(levels[-1] - levels[0]), min(spacing), table.quantum_mm)
    origin = in_plane.mean(axis=0)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * spacing[1], down * spacing[0], normal * fit.spacing
    affine[:3, 3] = _exact(
        across * origin[0] + down * origin[1] + normal * fit.origin, table.position[np.argmin(along)]
    )
    assumed: frozenset[Assumed] = frozenset({"slice spacing"} if fit.is_assumed else ())
    grid = Grid((fit.slices, rows, columns), affine, assumed)
    return Placement(grid, fit.index[level_of_frame.reshape(-1)], tuple(findings))


def place_nothing(rows: int, columns: int, grid: Grid | None) -> Placement:
    """Place no frames at all: on `grid`, else on a single slice without a place in space."""
    nowhere = np.zeros(0, np.int64)
    if grid is not None:
        return Placement(grid, nowhere, ())
    finding = Finding(
        "no-spatial-information",
        "There is no frame to tell where the grid lies: one slice, identity orientation, origin 0 and "
        "spacing 1 mm were used, and mean nothing.",
        tag="(0020,0032)",
    )
    assumed: frozenset[Assumed] = frozenset({"place", "pixel spacing", "slice spacing"})
    return Placement(Grid((1, rows, columns), np.eye(4), assumed), nowhere, (finding,))


def _without_positions(table: FrameTable, rows: int, columns: int) -> Placement:
    """Take a single plane without position for a plain image; several are no volume."""
    if table.count > 1 and len(np.unique(table.segment)) < table.count:
        raise UnsupportedSegError(
            "no-geometry",
            f"None of {table.count} frames has ImagePositionPatient (0020,0032).",
            tag="(0020,0032)",
        )
    affine = np.eye(4)
    assumed: set[Assumed] = {"place"}
    if np.isfinite(table.pixel_spacing[0]).all():
        spacing = pixel_spacing(table)
        affine[0, 0], affine[1, 1] = spacing[1], spacing[0]
        in_plane = f"pixel spacing {spacing[0]:g} \\ {spacing[1]:g} mm"
    else:
        assumed.add("pixel spacing")
        in_plane = "no pixel spacing"
    depth = _stated(table.slice_spacing) or _stated(table.slice_thickness)
    if depth is None:
        assumed.add("slice spacing")
    affine[2, 2] = depth or 1.0
    finding = Finding(
        "no-spatial-information",
        f"The plane has no ImagePositionPatient (0020,0032), {in_plane} and "
        f"{f'a depth of {depth:g} mm' if depth else 'no depth'}: origin 0, identity orientation and 1 mm "
        f"stand in for what is absent; {_not_measured(assumed)}.",
        tag="(0020,0032)",
    )
    grid = Grid((1, rows, columns), affine, frozenset(assumed))
    return Placement(grid, np.zeros(table.count, np.int64), (finding,))


def _not_measured(assumed: set[Assumed]) -> str:
    """What is null for want of a geometry."""
    volumes = bool(assumed & {"pixel spacing", "slice spacing"})
    centroids = bool(assumed & {"place", "pixel spacing"})
    measures = ["volumes"] * volumes + ["centroids"] * centroids
    return f"{' and '.join(measures)} are not measured"


def _fit(
    table: FrameTable,
    levels: Floats,
    level_of_frame: Ints,
    pixel_mm: float,
    policy: Policy,
    findings: list[Finding],
) -> _Fit:
    """Slices that the levels (sorted distinct projections, mm) lie on.

    A hypothesis is a spacing. The stated one comes first, then the gaps between levels, the smallest
    first. One that fits is taken whatever it costs: a looser one would fit as well, and be wrong.
    """
    stated = _stated(table.slice_spacing)
    tolerance = _TOLERANCE[policy]
    quantum = table.quantum_mm if policy == "tolerant" else 0.0
    floor = 0.02 * pixel_mm
    if levels[-1] - levels[0] <= min(floor, (stated or np.inf) * tolerance):
        return _single_slice(table, levels, stated, findings)
    seeds = np.sort(np.diff(levels))  # a plain np.unique would import numpy.ma, 10 ms of a command
    seeds = seeds[(seeds > floor) & (np.diff(seeds, prepend=-1.0) > 0)][:_MAX_SEEDS]
    slack = tolerance, max(_JITTER_PIXELS * pixel_mm, _JITTER_MM)
    if stated:
        fit = _try(levels, stated, slack, quantum, stated)
        if fit is not None and not _merges(table, levels, level_of_frame, fit, floor):
            _describe(table, fit, stated, quantum, findings)
            return fit
    for seed in seeds:
        fit = _try(levels, float(seed), slack, quantum, None)
        if fit is not None and not _merges(table, levels, level_of_frame, fit, floor):
            _describe(table, fit, stated, quantum, findings)
            if policy == "strict" and stated and abs(fit.spacing - stated) > tolerance * stated:
                break
            return fit
    if not len(seeds):
        return _single_slice(table, levels, stated, findings)
    shown = ", ".join(f"{gap:.6g}" for gap in seeds[:6])
    raise UnsupportedSegError(
        "irregular-spacing",
        f"{len(levels)} positions are not equidistant: distances {shown}{' …' if len(seeds) > 6 else ''} mm"
        + (f", SpacingBetweenSlices (0018,0088) {stated:g} mm." if stated else "."),
        tag="(0020,0032)",
    )


def _stated(values: Floats) -> float | None:
    """SpacingBetweenSlices as a usable number: its size (E36), the median where frames differ."""
    usable = np.abs(values[np.isfinite(values)])
    usable = usable[(usable >= SPACING_RANGE_MM[0]) & (usable <= SPACING_RANGE_MM[1])]
    if not len(usable):
        return None
    ordered = np.sort(usable)  # np.median would import numpy.ma, too
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _merges(table: FrameTable, levels: Floats, level_of_frame: Ints, fit: _Fit, floor_mm: float) -> bool:
    """Whether a fit puts distinct positions of one segment into one slice."""
    together = np.diff(fit.index) == 0
    rounding = 1.1 * table.quantum_mm if table.quantum_mm <= 0.25 * fit.spacing else 0.0
    distinct = max(floor_mm, rounding)
    if not together.any() or np.diff(levels)[together].max() <= distinct:
        return False
    order = np.lexsort((level_of_frame, table.segment))
    segment, level = table.segment[order], level_of_frame[order]
    same = (segment[1:] == segment[:-1]) & (fit.index[level[1:]] == fit.index[level[:-1]])
    return bool((levels[level[1:]] - levels[level[:-1]] > distinct)[same].any())


def _check_gaps(fit: _Fit, levels: Floats, pixels: int, most: int) -> None:
    """Refuse a grid that is next to nothing but the space between positions far apart.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    """
    empty = fit.slices - 1 - int(np.count_nonzero(np.diff(fit.index)))
    if empty * pixels > most:
        raise UnsupportedSegError(
            "memory-limit",
            f"{len(levels)} positions span {fit.slices} slices {fit.spacing:.6g} mm apart; the {empty} "
            f"between them have {empty * pixels} voxels that the file says nothing of, {most} are allowed.",
            need=empty * pixels,
            limit=most,
        )


def _try(
    levels: Floats, seed: float, tolerance: tuple[float, float], quantum: float, stated: float | None
) -> _Fit | None:
    """Fit slices of about `seed` mm; None where a level lies off.

    `tolerance` is a share of the spacing, and a bound in mm.
    """
    share, most_mm = tolerance
    rounding = 0.55 * quantum if quantum <= 0.25 * seed else 0.0
    slack = max(min(share * seed, most_mm), rounding)
    gaps = np.diff(levels)
    new = gaps > 2 * slack
    gap_sizes = np.diff(_means(levels, new))
    if not len(gap_sizes):
        return None
    steps = _steps(gap_sizes, seed, max(_WHOLE, 2 * slack / seed))
    if steps is None:
        return None
    cluster_index = np.concatenate([[0], np.cumsum(steps)])
    index = cluster_index[np.concatenate([[0], np.cumsum(new)])]
    centred = index - index.mean()
    spacing = float(centred @ (levels - levels.mean()) / (centred @ centred))
    if stated is not None and abs(spacing - stated) > _HINT_TOLERANCE * stated:
        return None
    if stated is not None and abs(spacing - stated) * index[-1] <= 1e-5 * stated:
        spacing = stated  # as written, rather than with the rounding noise of a fit
    origin = float((levels - spacing * index).mean())
    deviation = float(np.abs(levels - origin - spacing * index).max())
    if deviation > max(min(share * spacing, most_mm), rounding):
        return None
    return _Fit(index.astype(np.int64), origin, spacing, deviation)


def _means(levels: Floats, new: npt.NDArray[np.bool_]) -> Floats:
    """Mean of each cluster; `new` tells between which levels one ends."""
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    counts = np.diff(np.append(starts, len(levels)))
    means: Floats = np.add.reduceat(levels, starts) / counts
    return means


def _steps(gaps: Floats, seed: float, slack: float) -> Ints | None:
    """Slices per gap; None where one is no whole number of them.

    Small gaps come first and refine the spacing, lest the rounding of `seed` add up over large ones.
    """
    steps = np.zeros(len(gaps), np.int64)
    total, count, spacing = 0.0, 0, seed
    for row in np.argsort(gaps, kind="stable").tolist():
        step = round(gaps[row] / spacing)
        if step < 1 or abs(gaps[row] / spacing - step) > slack:
            return None
        steps[row] = step
        total, count = total + gaps[row], count + step
        spacing = total / count
    return steps


def _single_slice(table: FrameTable, levels: Floats, stated: float | None, findings: list[Finding]) -> _Fit:
    thickness = _stated(table.slice_thickness)
    spacing = stated or thickness or 1.0
    if stated is None:  # the one case in which SliceThickness has a say
        message = (
            f"There is one slice; its extent of {spacing:g} mm is from SliceThickness (0018,0050)."
            if thickness
            else "There is one slice, and neither SpacingBetweenSlices (0018,0088) nor SliceThickness "
            "(0018,0050) tells its extent: 1 mm stands in, volumes are not measured."
        )
        findings.append(Finding("spacing-assumed", message))
    middle = float(levels.mean())
    deviation = float(np.abs(levels - middle).max())
    return _Fit(
        np.zeros(len(levels), np.int64), middle, spacing, deviation, stated is None and thickness is None
    )


def _describe(
    table: FrameTable, fit: _Fit, stated: float | None, quantum: float, findings: list[Finding]
) -> None:
    """Record findings about a fit that holds."""
    if stated is not None and abs(fit.spacing - stated) > _HINT_TOLERANCE * stated:
        findings.append(
            Finding(
                "spacing-contradicts-positions",
                f"SpacingBetweenSlices (0018,0088) is {stated:g} mm, positions step {fit.spacing:.6g} mm.",
                observed=f"{stated:g}",
                expected=f"{fit.spacing:.6g}",
                tag="(0018,0088)",
            )
        )
    thickness = _stated(table.slice_thickness)
    if stated is None and (thickness is None or fit.spacing > 1.5 * thickness):
        findings.append(
            Finding(
                "ambiguous-spacing",
                f"The positions are {fit.spacing:.6g} mm apart, SpacingBetweenSlices (0018,0088) is absent"
                f" and SliceThickness (0018,0050) is {f'{thickness:g} mm' if thickness else 'absent'}.",
                tag="(0018,0088)",
            )
        )
    if fit.deviation > 1e-3 * fit.spacing:
        findings.append(
            Finding(
                "position-jitter",
                f"Positions deviate by up to {fit.deviation:.3g} mm from slices {fit.spacing:.6g} mm apart.",
                observed=f"{fit.deviation:.3g}",
                tag="(0020,0032)",
            )
        )
    missing = fit.slices - 1 - int(np.count_nonzero(np.diff(fit.index)))
    if missing:
        findings.append(
            Finding("missing-slices", f"{missing} of {fit.slices} slices are not encoded: background.")
        )


def _check_shear(in_plane: Floats, extent_mm: float, pixel_mm: float, quantum_mm: float) -> None:
    """Refuse positions that drift within the plane by more than rounding explains."""
    drift = float(np.ptp(in_plane, axis=0).max())
    allowed = max(0.02 * pixel_mm, min(1.5 * quantum_mm, 0.25 * pixel_mm)) + 1e-4 * extent_mm
    if drift > allowed:
        raise UnsupportedSegError(
            "sheared-positions",
            f"ImagePositionPatient (0020,0032) drifts by {drift:.4g} mm within the slice plane; "
            f"{allowed:.2g} mm is rounding.",
            tag="(0020,0032)",
        )


def _exact(fitted: Floats, stated: Floats) -> Floats:
    """Position as written, where the fit says the same."""
    return stated.copy() if np.abs(fitted - stated).max() < 1e-5 else fitted
