"""Positions of frames that only name the source images they were drawn on.

PS3.3 A.51.5 requires Plane Position, Plane Orientation and Pixel Measures only where Derivation Image
is absent. So a conformant frame may just reference its source image, pixel on pixel; where it lies is
known to that image alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode import header as seg_header
from segtools.decode.dicom.file import open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.decode.dicom.mmap import map_file
from segtools.decode.geometry.frame_table import derivation_uids, read_frames, source_images
from segtools.decode.geometry.source_images import SourceReferences
from segtools.errors import UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.geometry.frame_table import SourceImages
    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.decode.instance import Instance

    Ints = npt.NDArray[np.int64]

_TAG = "(0008,1155)"


def read_references(path: Path) -> SourceReferences:
    """What a segmentation file says of its sources; pixels are not looked at.

    Raises
    ------
    NotSegError, CorruptSegError, OSError
        As in `segtools.decode.read`.
    """
    structure = open_structure(map_file(path), stop_before=PIXEL_DATA)
    seg_header.check_class(structure)
    return references_of(structure)


def references_of(structure: DicomFile) -> SourceReferences:
    """The same of a structure that was read up to PixelData at least."""
    series, instances = seg_header.sources(structure)
    table = read_frames(structure)
    positions, orientation = table.position, table.orientation
    placed = np.isfinite(orientation).all(axis=1)
    first = orientation[int(np.argmax(placed))] if placed.any() else None
    return SourceReferences(
        series=series,
        instances=instances,
        framed=derivation_uids(structure),
        frame_of_reference_uid=structure.uid(0x00200052),
        positions=positions[np.isfinite(positions).all(axis=1)],
        normal=None if first is None else np.cross(first[:3], first[3:]),
    )


def take_positions(instance: Instance, grid: SourceGrid) -> Instance:
    """`instance` with the positions of the slices its frames name; itself if it has positions.

    Of several references of a frame those count that are slices of `grid`. A plain 2D image, one plane
    that names none of them, stays without position.

    Raises
    ------
    UnsupportedSegError
        ``no-geometry``: a frame names no slice of the grid, or several. ``grid-mismatch``: pixels of
        the frames can't be those of the slices.
    """
    table = instance.table
    if np.isfinite(table.position).any():
        return instance
    slices, named = _slices(instance, grid)
    lost = np.flatnonzero(slices < 0)
    if len(lost):
        is_plane = table.count == 1 or len(np.unique(table.segment)) == table.count
        if is_plane and not named.any():
            return instance
        raise UnsupportedSegError(
            "no-geometry",
            f"{len(lost)} of {table.count} frames have neither ImagePositionPatient (0020,0032) nor one "
            f"ReferencedSOPInstanceUID {_TAG} among the {grid.shape[0]} source slices; frame "
            f"{int(lost[0]) + 1} names {int(named[lost[0]]) or 'none'} of them.",
            tag=_TAG,
        )
    if instance.size != grid.shape[1:]:
        raise UnsupportedSegError(
            "grid-mismatch",
            f"Frames without positions have {instance.size[0]} × {instance.size[1]} pixels, the source "
            f"images they name {grid.shape[1]} × {grid.shape[2]}.",
        )
    finding = Finding(
        "geometry-from-source",
        f"Frames have no ImagePositionPatient (0020,0032); {table.count} positions are those of "
        f"{len(np.unique(slices))} referenced source images.",
        tag=_TAG,
    )
    return replace(
        instance, table=replace(table, **_plane(grid, slices)), findings=(*instance.findings, finding)
    )


def _slices(instance: Instance, grid: SourceGrid) -> tuple[Ints, Ints]:
    """(F,) slice that each frame names, -1 where it names none or several; and how many it names."""
    slice_of: dict[str, dict[int, int]] = {}
    for k, uid in enumerate(grid.sop_uids):
        slice_of.setdefault(uid, {})[grid.frame_numbers[k] if grid.frame_numbers else 0] = k

    def named_by(images: SourceImages) -> set[int]:
        found: set[int] = set()
        for uid, numbers in images:
            frames = slice_of.get(uid, {})
            some = numbers if numbers and grid.frame_numbers else frames
            found.update(frames[number] for number in some if number in frames)
        return found

    own, shared = source_images(instance.structure)
    of_all = named_by(shared)
    slices = np.full(instance.table.count, -1, np.int64)
    named = np.zeros(instance.table.count, np.int64)
    for frame in range(instance.table.count):
        found = named_by(own[frame]) if frame in own else of_all
        named[frame] = len(found)
        if len(found) == 1:
            (slices[frame],) = found
    return slices, named


def _plane(grid: SourceGrid, slices: Ints) -> dict[str, Any]:
    """Columns of a `FrameTable` for frames on slices of a grid."""
    columns, count = grid.affine_lps[:3, :3], len(slices)
    spacing = np.linalg.norm(columns, axis=0)
    orientation = np.concatenate([columns[:, 0] / spacing[0], columns[:, 1] / spacing[1]])
    return {
        "position": grid.affine_lps[:3, 3] + slices[:, None] * columns[:, 2],
        "orientation": np.broadcast_to(orientation, (count, 6)),
        "pixel_spacing": np.broadcast_to(spacing[[1, 0]], (count, 2)),
        "slice_spacing": np.full(count, spacing[2]),
    }
