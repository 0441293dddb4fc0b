"""One SEG object opened: its structure, frame table, segments and frames; or several parts joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode import header as seg_header
from segtools.decode.dicom.file import PER_FRAME_GROUPS, DicomFile, tag_text
from segtools.decode.frame_count import (
    agreed_frames,
    described_frames,
    is_empty,
    stated_frames,
    stated_text,
)
from segtools.decode.geometry.frame_table import FrameTable, derivation_uids, read_frames
from segtools.decode.pixels.frames import Frames, PixelDescription
from segtools.decode.pixels.open import open_frames
from segtools.decode.segments import read_segments
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.pixels.frames import Stored
    from segtools.decode.volume import SegHeader, Segment

_PIXEL_DATA, _EXTENDED_OFFSETS = 0x7FE00010, 0x7FE00001
_BITS_ALLOCATED = 0x00280100
_CONCATENATION, _NUMBER, _TOTAL = 0x00209161, 0x00209162, 0x00209163


@dataclass(frozen=True)
class Instance:
    """A SEG object, ready to have its frames placed.

    Attributes
    ----------
    structures : tuple of DicomFile
        The file; or the parts of a concatenation, in order.
    kind : str
        SegmentationType.
    size : (2,) tuple of int
        Rows, columns.
    table : FrameTable
    frames : Frames
    segments : tuple of Segment
    header : SegHeader
    findings : tuple of Finding
    """

    structures: tuple[DicomFile, ...]
    kind: str
    size: tuple[int, int]
    table: FrameTable
    frames: Frames
    segments: tuple[Segment, ...]
    header: SegHeader
    findings: tuple[Finding, ...]

    @property
    def structure(self) -> DicomFile:
        """The file, or the first part."""
        return self.structures[0]


def open_instance(structure: DicomFile, *, strict_length: bool = True) -> Instance:
    """Everything of a file but the voxels.

    Raises
    ------
    NotSegError
        ``not-segmentation``.
    CorruptSegError, UnsupportedSegError
        See `segtools.decode.read`.
    """
    seg_header.check_class(structure)
    described = described_frames(structure)
    table = read_frames(structure, described or stated_frames(structure) or 1)
    seg_header.check_no_slide(structure, table.is_slide)
    kind = seg_header.segmentation_type(structure)
    size = seg_header.size(structure)
    segments, findings = read_segments(structure)
    frames: Frames
    doubts: list[Finding] = []
    if is_empty(structure):
        table, frames, more = table.none(), _NoFrames(size), [_no_frames(structure, segments)]
    else:
        if table.count > 1 and not described:
            raise CorruptSegError(
                "missing-attribute",
                f"PerFrameFunctionalGroupsSequence (5200,9230) is absent; {table.count} frames need it.",
                tag=tag_text(PER_FRAME_GROUPS),
            )
        table, recounted = _count(structure, table, kind, size, strict_length)
        table, more = _resolve_segments(table, segments, kind)
        frames, doubts = _open_pixels(structure, table, kind, size, strict_length)
        more = [*recounted, *more]
    if structure.uid(0x00200052) is None:
        findings.append(
            Finding(
                "missing-frame-of-reference", "FrameOfReferenceUID (0020,0052) is absent.", tag="(0020,0052)"
            )
        )
    header = seg_header.read_seg_header(structure, kind, table.count)
    if not header.source_instance_uids:
        header = replace(header, source_instance_uids=derivation_uids(structure))
    return Instance(
        (structure,),
        kind,
        size,
        table,
        frames,
        segments,
        header,
        (*structure.findings, *table.findings, *findings, *more, *doubts),
    )


def _count(
    structure: DicomFile, table: FrameTable, kind: str, size: tuple[int, int], strict_length: bool
) -> tuple[FrameTable, list[Finding]]:
    """Rows of the frames that there are, by the witnesses that agree; see `agreed_frames`."""

    def holds(count: int) -> bool:
        # Of a claim beyond what is described only the length matters.
        rows = replace(table, count=count) if count > table.count else table.take(np.arange(count))
        try:
            _, doubts = _open_pixels(structure, rows, kind, size, strict_length)
        except CorruptSegError as error:
            if error.code != "frame-count-mismatch":
                raise
            return False
        frame_bytes = -(-size[0] * size[1] * (structure.integer(_BITS_ALLOCATED) or 1) // 8)
        surplus = [
            int(doubt.observed or 0) - int(doubt.expected or 0)
            for doubt in doubts
            if doubt.code == "trailing-bytes"
        ]
        return max(surplus, default=0) < frame_bytes

    count, findings = agreed_frames(structure, holds)
    return table if count == table.count else table.take(np.arange(count)), findings


class _NoFrames(Frames):
    """The frames of a segmentation without any."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(0, size)


def _no_frames(structure: DicomFile, segments: tuple[Segment, ...]) -> Finding:
    return Finding(
        "empty-segmentation",
        f"There are no frames and no pixels (NumberOfFrames (0028,0008) is {stated_text(structure)}): "
        f"{len(segments)} segments have no voxels.",
        tag="(0028,0008)",
    )


def _open_pixels(
    structure: DicomFile, table: FrameTable, kind: str, size: tuple[int, int], strict_length: bool
) -> tuple[Frames, list[Finding]]:
    element = structure.elements.get(_PIXEL_DATA)
    if element is None:
        raise CorruptSegError("missing-attribute", "PixelData (7FE0,0010) is absent.", tag="(7FE0,0010)")
    there = element.end - element.offset
    if strict_length and element.length > there:
        raise CorruptSegError(
            "truncated",
            f"PixelData (7FE0,0010) states {element.length} bytes, the file ends after {there} of them.",
            tag="(7FE0,0010)",
            observed=there,
            expected=element.length,
        )
    allocated = structure.integer(_BITS_ALLOCATED)
    if allocated is None:
        raise CorruptSegError("missing-attribute", "BitsAllocated (0028,0100) is absent.", tag="(0028,0100)")
    if kind == "LABELMAP" and allocated == 1:
        raise CorruptSegError(
            "invalid-attribute",
            "BitsAllocated (0028,0100) is 1 in a LABELMAP; a label needs 8 or 16.",
            tag="(0028,0100)",
            value=1,
        )
    description = PixelDescription(
        rows=size[0],
        columns=size[1],
        bits_allocated=allocated,
        bits_stored=structure.integer(0x00280101) or allocated,
        samples_per_pixel=structure.integer(0x00280002) or 1,
        photometric=structure.text(0x00280004) or "MONOCHROME2",
        transfer_syntax_uid=structure.transfer_syntax_uid,
        segmentation_type=kind,
        frame_count=table.count,
        segment_of_frame=table.segment if kind == "BINARY" else None,
        manufacturer=structure.text(0x00080070),
        big_endian=not structure.little_endian,
        vr=element.vr or "OW",
    )
    extended = structure.elements.get(_EXTENDED_OFFSETS)
    return open_frames(
        structure.buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=structure.buffer[extended.offset : extended.end] if extended is not None else None,
    )


def _resolve_segments(
    table: FrameTable, segments: tuple[Segment, ...], kind: str
) -> tuple[FrameTable, list[Finding]]:
    """ReferencedSegmentNumber of every frame, where the kind has one.

    Raises
    ------
    CorruptSegError
        ``unresolved-segment``, ``invalid-attribute``.
    """
    if kind == "LABELMAP":
        return table, []
    nameless = table.segment < 0
    findings = []
    if nameless.any():
        if len(segments) != 1 or (table.segment < -1).any():
            raise CorruptSegError(
                "unresolved-segment",
                f"{int(nameless.sum())} of {table.count} frames have no single ReferencedSegmentNumber "
                f"(0062,000B); the file describes {len(segments)} segments.",
                tag="(0062,000B)",
            )
        number = segments[0].number
        findings.append(
            Finding(
                "assumed-segment",
                f"{int(nameless.sum())} frames have no ReferencedSegmentNumber (0062,000B); "
                f"the only segment, {number}, was taken.",
                scope="segment",
                segment_number=number,
                tag="(0062,000B)",
            )
        )
        table = replace(table, segment=np.where(nameless, number, table.segment))
    if (table.segment == 0).any():
        raise CorruptSegError(
            "invalid-attribute",
            f"ReferencedSegmentNumber (0062,000B) is 0 in a {kind} segmentation; numbers start at 1.",
            tag="(0062,000B)",
            value=0,
        )
    return table, findings


class _Joined(Frames):
    """Frames of several files as one sequence."""

    def __init__(self, parts: list[Frames]) -> None:
        super().__init__(sum(part.count for part in parts), parts[0].shape)
        self._parts = parts
        self._starts = np.cumsum([0, *(part.count for part in parts)])

    def frame(self, n: int) -> Stored:
        """(rows, columns) stored values of frame `n`."""
        self._check(n)
        part = int(np.searchsorted(self._starts, n, side="right")) - 1
        return self._parts[part].frame(n - int(self._starts[part]))


def join(instances: list[Instance]) -> Instance:
    """One object from the parts of a concatenation (PS3.3 C.7.6.16.2.2.4), or the only one.

    Raises
    ------
    CorruptSegError
        ``incomplete-concatenation``: parts are missing, or belong to different objects.
    """
    numbers = [each.structure.integer(_NUMBER) or 1 for each in instances]
    totals = {each.structure.integer(_TOTAL) or 0 for each in instances} - {0}
    sources = {each.structure.uid(_CONCATENATION) for each in instances}
    total = max(totals, default=len(instances) if len(numbers) == 1 else 0)
    if sources == {None} and len(instances) == 1:
        return instances[0]
    complete = sorted(numbers) == list(range(1, len(numbers) + 1)) and total in (0, len(numbers))
    if len(sources) > 1 or None in sources or not complete:
        raise CorruptSegError(
            "incomplete-concatenation",
            f"ConcatenationUID (0020,9161) {', '.join(sorted(map(str, sources)))}: parts {sorted(numbers)} "
            f"are there, InConcatenationTotalNumber (0020,9163) is {total or 'absent'}.",
            tag="(0020,9161)",
        )
    parts = [each for _, each in sorted(zip(numbers, instances, strict=True), key=lambda pair: pair[0])]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: list[Instance]) -> Instance:
    first = parts[0]
    if any((part.size, part.kind) != (first.size, first.kind) for part in parts):
        raise CorruptSegError(
            "malformed-structure",
            "The parts of the concatenation differ in Rows, Columns or SegmentationType.",
        )
    segments = {segment.number: segment for part in reversed(parts) for segment in part.segments}
    count = sum(part.table.count for part in parts)
    return Instance(
        tuple(part.structure for part in parts),
        first.kind,
        first.size,
        FrameTable.concatenate([part.table for part in parts]),
        _Joined([part.frames for part in parts]),
        tuple(segments[number] for number in sorted(segments)),
        replace(first.header, frame_count=count, file_bytes=sum(part.header.file_bytes for part in parts)),
        tuple(dict.fromkeys(finding for part in parts for finding in part.findings)),
    )
