"""Which of the images at hand were segmented, in folders as people have them.

A folder holds a licence, a DICOMDIR, the segmentation itself, a second series, a second b-value, a
localizer, a stray coronal image under the same SeriesInstanceUID, a file twice, and lacks a slice. What
was segmented is what the segmentation names; where it names nothing that is here, it is what its own
frames fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.geometry.source_grid import SAME, grid_of_planes
from segtools.decode.geometry.source_planes import ImageHeader, Plane, scan_images
from segtools.errors import MissingError, SegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.geometry.source_grid import SourceGrid

    Vector = npt.NDArray[np.float64]

_ON_VOXELS = 0.1
"""Voxels that a frame of a segmentation may lie off the voxels of its source."""
_FRAMES_LOOKED_AT = 64


@dataclass(frozen=True)
class SourceReferences:
    """What a segmentation says of its sources, and where its own frames lie.

    Attributes
    ----------
    series, instances : tuple of str
        SeriesInstanceUIDs, SOPInstanceUIDs of the top level, in order of first mention.
    framed : tuple of str
        SOPInstanceUIDs that frames name.
    frame_of_reference_uid : str or None
    positions : (F, 3) float64 ndarray, mm
        Of frames that have one; may be empty.
    normal : (3,) float64 ndarray or None
        Of the first frame's plane.
    """

    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    framed: tuple[str, ...] = ()
    frame_of_reference_uid: str | None = None
    positions: Vector = field(default_factory=lambda: np.zeros((0, 3)))
    normal: Vector | None = None

    @property
    def named(self) -> frozenset[str]:
        """All images named, at any level."""
        return frozenset(self.instances) | frozenset(self.framed)


@dataclass(frozen=True)
class SourceImages:
    """Image headers of some folders, by series.

    Attributes
    ----------
    series : dict of str to list of ImageHeader
        By SeriesInstanceUID; each SOPInstanceUID once.
    ignored_files : int
        Files that are no images with a place, or copies.
    """

    series: dict[str, list[ImageHeader]]
    ignored_files: int = 0

    @classmethod
    def below(cls, folders: Iterable[Path]) -> SourceImages:
        """The images below some folders, at any depth; headers only.

        Raises
        ------
        MissingError
            ``not-found``: no such folder, or no image in any of them.
        """
        paths: list[Path] = []
        for folder in folders:
            if not folder.is_dir():
                raise MissingError("not-found", f"There is no folder {folder} of source images.")
            paths += sorted(path for path in folder.rglob("*") if path.is_file())
        headers, ignored = scan_images(paths)
        distinct = {(header.series_uid, header.sop_uid): header for header in reversed(headers)}
        series: dict[str, list[ImageHeader]] = {}
        for header in reversed(distinct.values()):
            series.setdefault(header.series_uid, []).append(header)
        return cls(series, ignored + len(headers) - len(distinct))

    def grid_for(self, references: SourceReferences, *, any_frame_of_reference: bool = False) -> SourceGrid:
        """Grid of the stack that was segmented.

        Parameters
        ----------
        references : SourceReferences
        any_frame_of_reference : bool
            Where nothing is named, look at images with another FrameOfReferenceUID too.

        Raises
        ------
        MissingError
            ``source-not-found``: no image here is named, and none fits.
        UnsupportedSegError
            As in `segtools.decode.geometry.source_grid.source_grid_from_files`.
        """
        uid, findings = self._named_series(references)
        if uid is not None:
            grid = self._grid(self.series[uid], references)
        else:
            grid = self._fitting(references, any_frame_of_reference)
        return replace(grid, findings=(*grid.findings, *findings))

    def _named_series(self, references: SourceReferences) -> tuple[str | None, list[Finding]]:
        """The series that most frames name, else most of the top level, else the one named as such."""
        framed, instances = frozenset(references.framed), frozenset(references.instances)
        order = {uid: number for number, uid in enumerate(references.series)}
        rank = {
            uid: (
                sum(image.sop_uid in framed for image in images),
                sum(image.sop_uid in instances for image in images),
                -order.get(uid, len(order)),
            )
            for uid, images in self.series.items()
        }
        nothing = (0, 0, -len(order))
        best = max(rank, key=lambda uid: rank[uid], default=None)
        if best is None or rank[best] == nothing:
            return None, []
        rivals = [uid for uid, value in rank.items() if value[:2] == rank[best][:2] != (0, 0)]
        if len(rivals) < 2:
            return best, []
        message = f"The segmentation names images of {len(rivals)} series alike; {best} was taken."
        return best, [Finding("source-series-unknown", message, observed=best)]

    def _fitting(self, references: SourceReferences, any_frame_of_reference: bool) -> SourceGrid:
        """Grid of the stack, of any series, that the frames of a segmentation fit."""
        of_seg = references.frame_of_reference_uid
        for uid in sorted(self.series):
            images = self.series[uid]
            of_images = images[0].frame_of_reference_uid
            is_other = of_images != of_seg if of_seg and of_images else len(self.series) > 1
            if is_other and not any_frame_of_reference:
                continue
            try:
                grid = self._grid(images, references)
            except SegError:
                continue
            if _fits(references.positions, grid):
                message = f"The segmentation names no image here; series {uid} was taken: its grid fits."
                return replace(grid, findings=(*grid.findings, Finding("source-assumed", message)))
        count = sum(map(len, self.series.values()))
        raise MissingError(
            "source-not-found",
            f"None of {count} source images, of {len(self.series)} series, is named by the segmentation or "
            "has voxels where its frames lie.",
        )

    def _grid(self, images: Sequence[ImageHeader], references: SourceReferences) -> SourceGrid:
        planes = [plane for image in images for plane in image.planes()]
        stacks = _stacks(planes, references)
        stack = stacks[0]
        if len(stacks) > 1 and not any(plane.image.sop_uid in references.named for plane in stack):
            stack = next((each for each in stacks if _may_fit(each, references)), stack)
        chosen = _one_per_place(stack, references)
        grid = grid_of_planes(chosen, fills_gaps=True)
        if lost := len(references.named - {image.sop_uid for image in images}):
            grid = _covering(grid, references.positions, lost)
        if len(chosen) == len(planes):
            return grid
        others, doubles = len(planes) - len(stack), len(stack) - len(chosen)
        parts = ((others, "of another size or orientation"), (doubles, "beside others at their place"))
        why = ", ".join(f"{count} {name}" for count, name in parts if count)
        message = f"Of {len(planes)} images of the source series {len(chosen)} were taken; left out: {why}."
        ignored = Finding(
            "source-images-ignored", message, observed=str(len(planes)), expected=str(len(chosen))
        )
        return replace(grid, findings=(*grid.findings, ignored))


def _stacks(planes: Sequence[Plane], references: SourceReferences) -> list[list[Plane]]:
    """Planes of one size, orientation and spacing each.

    Those named most come first, then those parallel to the segmentation's own, then the largest.
    """
    stacks: list[list[Plane]] = []
    for plane in planes:
        for stack in stacks:
            if _is_alike(plane, stack[0]):
                stack.append(plane)
                break
        else:
            stacks.append([plane])
    framed, named = frozenset(references.framed), references.named

    def rank(stack: list[Plane]) -> tuple[int, int, bool, int]:
        of_frames = sum(plane.image.sop_uid in framed for plane in stack)
        of_all = sum(plane.image.sop_uid in named for plane in stack)
        return of_frames, of_all, _is_parallel(stack[0], references.normal), len(stack)

    return sorted(stacks, key=rank, reverse=True)


def _is_parallel(plane: Plane, normal: Vector | None) -> bool:
    across, down = plane.orientation[:3], plane.orientation[3:]
    return normal is not None and abs(float(np.cross(across, down) @ normal)) > 1 - SAME


def _may_fit(stack: list[Plane], references: SourceReferences) -> bool:
    try:
        grid = grid_of_planes(_one_per_place(stack, references), fills_gaps=True)
    except SegError:
        return False
    return _fits(references.positions, grid)


def _is_alike(one: Plane, other: Plane) -> bool:
    return (
        (one.image.rows, one.image.columns) == (other.image.rows, other.image.columns)
        and bool(np.abs(one.orientation - other.orientation).max() <= SAME)
        and bool(np.abs(one.spacing - other.spacing).max() <= SAME)
    )


def _one_per_place(stack: list[Plane], references: SourceReferences) -> list[Plane]:
    """One plane of each place: the named one, else the one of the named ones' kind.

    Where that does not decide, all: whoever makes the grid says that several lie at one position.
    """
    normal = np.cross(stack[0].orientation[:3], stack[0].orientation[3:])
    heights = np.array([float(plane.position @ normal) for plane in stack])
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    apart = gaps[gaps > SAME]
    breaks = np.flatnonzero(gaps > (0.1 * float(np.median(apart)) if len(apart) else SAME)) + 1
    places = [[stack[n] for n in group] for group in np.split(order, breaks)]
    if all(len(place) == 1 for place in places):
        return stack
    named = references.named
    wanted = [plane for plane in stack if plane.image.sop_uid in named]
    kinds = {plane.image.kind for plane in wanted}
    if not wanted:  # any one acquisition that is whole: their grids are the same
        whole = [
            kind
            for kind in sorted({plane.image.kind for plane in stack})
            if all(sum(plane.image.kind == kind for plane in place) == 1 for place in places)
        ]
        kinds = set(whole[:1])
    chosen: list[Plane] = []
    for place in places:
        best = [plane for plane in place if plane.image.sop_uid in named] or [
            plane for plane in place if plane.image.kind in kinds
        ]
        chosen += best or place
    if len(chosen) > len(places) and len(wanted) > 1:
        # The named ones alone, if those that nothing tells apart are only beside them.
        return wanted
    return chosen


def _fits(positions: Vector, grid: SourceGrid) -> bool:
    """Whether frames at these positions start on voxels of a grid."""
    if not len(positions):
        return False
    some = positions[:: max(1, len(positions) // _FRAMES_LOOKED_AT)]
    index = (some - grid.affine_lps[:3, 3]) @ np.linalg.inv(grid.affine_lps[:3, :3]).T
    inside = np.array(grid.shape[::-1]) - 1
    is_near = bool(np.all(index.min(axis=0) <= inside + 0.5) and np.all(index.max(axis=0) >= -0.5))
    return is_near and bool(np.abs(index - np.round(index)).max() <= _ON_VOXELS)


def _covering(grid: SourceGrid, positions: Vector, most: int) -> SourceGrid:
    """The grid with places for named images that are missing at its ends, where frames lie there."""
    if not len(positions):
        return grid
    index = (positions - grid.affine_lps[:3, 3]) @ np.linalg.inv(grid.affine_lps[:3, :3]).T
    height = index[:, 2]
    if np.abs(height - np.round(height)).max() > _ON_VOXELS:
        return grid
    before = max(0, -int(np.round(height.min())))
    after = max(0, int(np.round(height.max())) - grid.shape[0] + 1)
    if not 0 < before + after <= most:
        return grid
    affine = grid.affine_lps.copy()
    affine[:3, 3] -= before * affine[:3, 2]
    count = grid.shape[0] + before + after
    message = f"{before + after} of {count} slices of the source series are not there; their places are kept."
    finding = Finding("source-slices-missing", message, observed=str(grid.shape[0]), expected=str(count))
    numbers = grid.frame_numbers
    return replace(
        grid,
        shape=(count, *grid.shape[1:]),
        affine_lps=affine,
        sop_uids=("",) * before + grid.sop_uids + ("",) * after,
        frame_numbers=(0,) * before + numbers + (0,) * after if numbers else (),
        findings=(*grid.findings, finding),
    )
