"""Reading DICOM SEG: `read`, `read_parts`, `read_header`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from segtools.decode import header as seg_header
from segtools.decode.dicom.file import SHARED_GROUPS, open_structure
from segtools.decode.dicom.mmap import MappedFile, map_file
from segtools.decode.geometry.frame_table import FrameTable
from segtools.decode.geometry.grid import Placement, place_frames, place_nothing
from segtools.decode.geometry.orientation import orientation_groups
from segtools.decode.geometry.time_points import TimePoints, tell_apart
from segtools.decode.instance import Instance, join, open_instance
from segtools.decode.labelmap.assemble import decode_voxels
from segtools.decode.referenced_images import take_positions
from segtools.decode.segments import read_segments
from segtools.decode.volume import Grid
from segtools.errors import CorruptSegError, MissingError, SegError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.decode.volume import SegHeader, Segment, SegVolume

    Ints = npt.NDArray[np.int64]

DECODE_VERSION = "1"
"""Changes whenever the same bytes may decode to another result."""

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How to decode.

    Attributes
    ----------
    geometry : {"tolerant", "strict"}
        Tolerant accepts positions within 1 % of the slice spacing, or within the rounding of their own
        decimals, and prefers positions to a contradicting SpacingBetweenSlices. Strict does neither.
    clip_fractions : bool
        Cut fractions above MaximumFractionalValue to it, rather than refuse the file.
    strict_length : bool
        Refuse a PixelData that ends early, rather than read the whole frames before.
    max_bytes : int, bytes
        Bound of the memory for voxels, and of an inflated data set.
    """

    geometry: Literal["tolerant", "strict"] = "tolerant"
    clip_fractions: bool = False
    strict_length: bool = True
    max_bytes: int = 8 << 30


@dataclass(frozen=True)
class SegFile:
    """What `read_header` gives.

    Attributes
    ----------
    header : SegHeader
    segments : tuple of Segment
        Sorted by number.
    rows, columns : int
    findings : tuple of Finding
    """

    header: SegHeader
    segments: tuple[Segment, ...]
    rows: int
    columns: int
    findings: tuple[Finding, ...]


def read(
    source: Source | Sequence[Source],
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions = DecodeOptions(),
    source_grid: SourceGrid | None = None,
) -> SegVolume:
    """Read a DICOM segmentation as label maps on one grid.

    A DICOM SEG (PS3.3 A.51) holds *segments* (a liver, a lesion: what SegmentSequence describes with
    coded terms) and *frames* (2D planes of pixels). How they belong together depends on the type:

    - ``BINARY``: each frame is one slice of one segment, one bit per voxel. A liver of 60 slices
      and a spleen of 20 make 80 frames; slices without a voxel of a segment are usually left out.
      Segments may share voxels.
    - ``LABELMAP``: each frame is one slice of all segments; a pixel is a segment's number.
    - ``FRACTIONAL``: as BINARY, with 0 to MaximumFractionalValue instead of a bit: a probability,
      or the share of the voxel that the segment occupies.

    Where a frame lies is said by its own position (ImagePositionPatient, mm), not by its order. So
    reading means: gather all positions, find the grid they lie on, put each frame into its slice,
    and keep apart what overlaps.

    The result is an array indexed ``[k, j, i]`` (slice, row, column) whose voxels are
    SegmentNumbers, 0 where there is nothing. ``volume.grid.affine_ras`` maps ``(i, j, k, 1)`` to mm
    (RAS+, as NIfTI wants; ``affine_lps`` is DICOM's own). Slices ascend along the normal, the cross
    product of row and column direction. The grid is the segmentation's own: it covers the slices
    that are encoded, which may be fewer than the image's.

    Nothing is guessed silently: each repair or doubt is in ``volume.findings``; what can't be right
    raises.

    Parameters
    ----------
    source : str, PathLike, bytes, binary file, or a sequence of them
        The file. A sequence is the parts of a concatenation (PS3.3 C.7.6.16.2.2.4), in any order.
    segments : collection of int, optional
        SegmentNumbers to read; only their frames are touched, the grid is that of all. Whether a
        FRACTIONAL file is a mask in disguise is judged by those frames too. Default: all.
    options : DecodeOptions
    source_grid : SourceGrid, optional
        Of the segmented images. Needed for files whose frames name source images instead of positions
        (finding ``geometry-from-source``); no other file looks at it.
        `segtools.decode.geometry.source_grid.onto` puts a volume on it.

    Returns
    -------
    SegVolume
        ``layers`` has one label map, or several where segments share voxels; ``mask(number)`` is
        right in any case. True FRACTIONAL segments are in ``fractions``, never thresholded; a
        FRACTIONAL file with two values only is a mask in disguise and decoded as one (finding).

    Raises
    ------
    NotSegError
        ``empty-file``, ``not-dicom``, ``not-segmentation``.
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``too-deep``, ``claims-exceed-bytes``,
        ``inflate-limit``, ``missing-attribute``, ``invalid-attribute``, ``codec-failed``,
        ``frame-count-mismatch``, ``value-exceeds-maximum``, ``conflicting-frames``,
        ``unresolved-segment``, ``incomplete-concatenation``.
    UnsupportedSegError
        ``unsupported-transfer-syntax``, ``bit-field-mask``, ``slide-microscopy``, ``no-geometry``,
        ``irregular-spacing``, ``sheared-positions``, ``multiple-orientations``, ``temporal-frames``,
        ``memory-limit``, ``grid-mismatch`` (with `source_grid`). Several orientations or time points
        can be read with `read_parts`.
    MissingError
        ``not-found``: `segments` names a number that the file has not.
    OSError
        The file cannot be opened.

    Examples
    --------
    >>> volume = read("liver.dcm")  # doctest: +SKIP
    >>> for segment in volume.segments:  # doctest: +SKIP
    ...     voxels = int(volume.mask(segment.number).sum())
    ...     print(segment.number, segment.type.meaning, voxels * volume.grid.voxel_volume_ml, "ml")
    """
    with _naming(source):
        instance = open_instance_of(source, options, source_grid)
        placement = place_instance(instance, options, source_grid)
        frames = np.arange(instance.table.count)
        try:
            return _volume(instance, instance.table, frames, placement, segments, options)
        except CorruptSegError as error:
            if (marked := _told_apart(error, instance, instance.table, frames, placement)) is None:
                raise
            raise UnsupportedSegError(
                "temporal-frames",
                f"Frames of one segment share positions and differ; {marked.name} tells "
                f"{len(np.unique(marked.of_frame))} volumes apart.",
            ) from None


def read_parts(
    source: Source | Sequence[Source],
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions = DecodeOptions(),
    source_grid: SourceGrid | None = None,
) -> tuple[SegVolume, ...]:
    """Read a segmentation whose frames fit no single grid: one volume per part.

    Parts are orientations, then stacks (StackID (0020,9056), where the frames of all stacks fit no
    grid), then time points, b-values, echoes, or whatever tells frames of one segment at one position
    apart (see `segtools.decode.geometry.time_points`). A file that `read` reads has one part.
    Parameters and errors as in `read`.
    """
    with _naming(source):
        instance = open_instance_of(source, options, source_grid)
        if not instance.table.count:
            placement = place_instance(instance, options, source_grid)
            return (_volume(instance, instance.table, np.arange(0), placement, segments, options),)
        volumes: list[SegVolume] = []
        for frames in _parts(instance, options):
            volumes += _volumes(instance, frames, segments, options)
        return tuple(volumes)


def read_header(source: Source) -> SegFile:
    """Read identity, sources and segments; frames and their functional groups stay untouched.

    Takes milliseconds, however large the file.

    Parameters
    ----------
    source : str, PathLike, bytes or binary file

    Raises
    ------
    NotSegError, CorruptSegError, OSError
        As in `read`.
    """
    with _naming(source):
        structure = open_structure(_load(source), stop_before=SHARED_GROUPS)
        seg_header.check_class(structure)
        kind = seg_header.segmentation_type(structure)
        rows, columns = seg_header.size(structure)
        segments, findings = read_segments(structure)
        header = seg_header.read_seg_header(structure, kind, structure.integer(0x00280008) or 1)
        return SegFile(header, segments, rows, columns, (*structure.findings, *findings))


def _load(source: Source) -> bytes | MappedFile:
    """File's bytes; a path is mapped, so that only what is looked at is read."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        return map_file(source)
    return source.read()


class _naming:
    """Adds the file's path to errors of the decoder."""

    def __init__(self, source: Source | Sequence[Source]) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SegError) and isinstance(self.source, str | os.PathLike):
            error.with_attrs(path=os.fspath(self.source))


def open_instance_of(
    source: Source | Sequence[Source], options: DecodeOptions, source_grid: SourceGrid | None
) -> Instance:
    """Everything of a file, or of the parts of a concatenation, but the voxels; errors as in `read`."""
    several = isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray | memoryview)
    sources: Sequence[Source] = source if several else [source]  # type: ignore[assignment, list-item]
    opened = [
        open_instance(
            open_structure(_load(each), max_bytes=options.max_bytes), strict_length=options.strict_length
        )
        for each in sources
    ]
    if source_grid is not None:
        opened = [take_positions(each, source_grid) if each.table.count else each for each in opened]
    return join(opened)


def place_instance(instance: Instance, options: DecodeOptions, source_grid: SourceGrid | None) -> Placement:
    """The one grid of all frames; errors as in `read`."""
    if not instance.table.count:
        grid = None if source_grid is None else Grid(source_grid.shape, source_grid.affine_lps)
        return place_nothing(*instance.size, grid)
    return place_frames(instance.table, *instance.size, options.geometry, options.max_bytes)


def _parts(instance: Instance, options: DecodeOptions) -> list[Ints]:
    """Frames of each part."""
    table = instance.table
    parts: list[Ints] = []
    for frames in _split(orientation_groups(table), np.arange(table.count)):
        try:
            placements = [
                (
                    frames,
                    place_frames(table.take(frames), *instance.size, options.geometry, options.max_bytes),
                )
            ]
        except UnsupportedSegError:
            stacks = _split(table.stack[frames], frames)
            if len(stacks) == 1:
                raise
            placements = [
                (each, place_frames(table.take(each), *instance.size, options.geometry, options.max_bytes))
                for each in stacks
            ]
        parts += [each for each, _ in placements]
    return parts


def _volumes(
    instance: Instance, frames: Ints, segments: Collection[int] | None, options: DecodeOptions
) -> list[SegVolume]:
    """Volume of a part; or several, where frames of one segment at one position differ."""
    table = instance.table.take(frames)
    placement = place_frames(table, *instance.size, options.geometry, options.max_bytes)
    try:
        return [_volume(instance, table, frames, placement, segments, options)]
    except CorruptSegError as error:
        if (marked := _told_apart(error, instance, table, frames, placement)) is None:
            raise
    volumes = []
    for each in _split(marked.of_frame, frames):
        table = instance.table.take(each)
        placement = place_frames(table, *instance.size, options.geometry, options.max_bytes)
        volumes.append(_volume(instance, table, each, placement, segments, options))
    return volumes


def _split(key: npt.NDArray[np.int64 | np.bytes_], frames: Ints) -> list[Ints]:
    """`frames` by their key, in order of first mention."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return [frames[inverse.reshape(-1) == group] for group in np.argsort(first)]


def _told_apart(
    error: CorruptSegError, instance: Instance, table: FrameTable, frames: Ints, placement: Placement
) -> TimePoints | None:
    """Mark that tells conflicting frames apart; None where there is none, or the error is another."""
    if error.code != "conflicting-frames":
        return None
    segment = table.segment if instance.kind != "LABELMAP" else np.zeros(table.count, np.int64)
    return tell_apart(instance.structures, frames, segment, placement.slice_of_frame)


def _volume(
    instance: Instance,
    table: FrameTable,
    frames: Ints,
    placement: Placement,
    segments: Collection[int] | None,
    options: DecodeOptions,
) -> SegVolume:
    """Voxels and findings of frames that lie on one grid."""
    wanted = None if segments is None else frozenset(int(number) for number in segments)
    if wanted is not None:
        known = {segment.number for segment in instance.segments} | set(np.unique(table.segment).tolist())
        if unknown := sorted(wanted - known):
            raise MissingError(
                "not-found",
                f"The file has no segment {unknown[0]}; it has {sorted(known - {-1, -2})}.",
                segments=unknown,
            )
    volume = decode_voxels(
        instance,
        table,
        frames,
        placement,
        wanted,
        clip_fractions=options.clip_fractions,
        max_bytes=options.max_bytes,
    )
    findings = (*instance.findings, *placement.findings, *volume.findings)
    return replace(volume, findings=tuple(dict.fromkeys(findings)))
