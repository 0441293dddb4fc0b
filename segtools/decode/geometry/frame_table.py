"""Functional groups as columns: where each frame lies and which segment it belongs to (PS3.3 C.7.6.16).

A value may stand in the frame's own functional groups, in the shared ones, or (old writers) at the
top level; the frame's own wins. Nothing here depends on DimensionIndexSequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segtools.decode.dicom import functional_groups, sequence_items
from segtools.decode.dicom.file import SHARED_GROUPS, DicomFile, parse_decimals
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.dicom.functional_groups import Chain
    from segtools.decode.dicom.sequence_items import Items, Value

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

NO_SEGMENT, SEVERAL_SEGMENTS = -1, -2
_DECIMAL_BYTES = 64
"""Longest number of a DS taken seriously; PS3.5 6.2 allows 16 bytes, some writers use more."""


@dataclass(frozen=True)
class FrameTable:
    """One row per frame; NaN (or -1) where the file says nothing.

    Attributes
    ----------
    count : int
        Frames.
    position : (F, 3) float64 ndarray, mm
        ImagePositionPatient (0020,0032), LPS+.
    quantum_mm : float, mm
        Step of the last decimal that any position is written with; 0 if binary-exact.
    orientation : (F, 6) float64 ndarray
        ImageOrientationPatient (0020,0037).
    pixel_spacing : (F, 2) float64 ndarray, mm
        PixelSpacing (0028,0030): between rows, between columns.
    slice_spacing, slice_thickness : (F,) float64 ndarray, mm
        SpacingBetweenSlices (0018,0088), SliceThickness (0018,0050).
    segment : (F,) int64 ndarray
        ReferencedSegmentNumber (0062,000B); -2 where it has several values.
    stack : (F,) bytes ndarray
        StackID (0020,9056) as encoded; empty where absent.
    is_slide : bool
        Frames have PlanePositionSlideSequence (0048,021A).
    findings : tuple of Finding
    """

    count: int
    position: Floats
    quantum_mm: float
    orientation: Floats
    pixel_spacing: Floats
    slice_spacing: Floats
    slice_thickness: Floats
    segment: Ints
    stack: npt.NDArray[np.bytes_]
    is_slide: bool
    findings: tuple[Finding, ...] = ()

    def take(self, frames: Ints) -> FrameTable:
        """Rows of some frames."""
        return replace(
            self,
            count=len(frames),
            **{name: getattr(self, name)[frames] for name in _COLUMNS},
        )

    def none(self) -> FrameTable:
        """No row, and nothing to say about the missing groups."""
        return replace(self.take(np.zeros(0, np.int64)), findings=())

    @staticmethod
    def concatenate(tables: list[FrameTable]) -> FrameTable:
        """Rows of several tables, one behind the other."""
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(table, name) for table in tables]) for name in _COLUMNS
        }
        return replace(
            tables[0],
            count=sum(table.count for table in tables),
            quantum_mm=min(table.quantum_mm for table in tables),
            **columns,
        )


_COLUMNS = (
    "position",
    "orientation",
    "pixel_spacing",
    "slice_spacing",
    "slice_thickness",
    "segment",
    "stack",
)


def read_frames(structure: DicomFile, count: int | None = None) -> FrameTable:
    """Frames that a file describes.

    Parameters
    ----------
    structure : DicomFile
    count : int, optional
        Rows of the table; default: the items of PerFrameFunctionalGroupsSequence.

    Raises
    ------
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``too-deep``.
    """
    own = structure.per_frame
    if count is None:
        count = own.count if own is not None else 1
    findings: list[Finding] = []
    shared = _shared(structure)
    source = _Lookup(structure, own, shared, count)
    position, quantum = source.decimals(functional_groups.POSITION, 3)
    groups_missing = own is None and shared is None
    if groups_missing:
        findings.append(Finding("missing-functional-groups", "There are no functional groups sequences."))
    return FrameTable(
        count=count,
        position=position,
        quantum_mm=quantum,
        orientation=source.decimals(functional_groups.ORIENTATION, 6)[0],
        pixel_spacing=source.decimals(functional_groups.PIXEL_SPACING, 2)[0],
        slice_spacing=source.decimals(functional_groups.SLICE_SPACING, 1)[0][:, 0],
        slice_thickness=source.decimals(functional_groups.SLICE_THICKNESS, 1)[0][:, 0],
        segment=source.numbers(functional_groups.SEGMENT),
        stack=source.keys(functional_groups.STACK),
        is_slide=source.has(functional_groups.SLIDE_COLUMN),
        findings=tuple(findings),
    )


def _shared(structure: DicomFile) -> Items | None:
    element = structure.elements.get(SHARED_GROUPS)
    if element is None:
        return None
    return sequence_items.parse_items(
        structure.inside(element), element.offset, None if element.length < 0 else element.end
    )


class _Lookup:
    """Looks a value up: in the frame's own groups, else in the shared ones, else at the top level."""

    def __init__(self, structure: DicomFile, own: Items | None, shared: Items | None, count: int) -> None:
        self.structure = structure
        self.own = own
        self.shared = shared
        self.count = count

    def has(self, chain: Chain) -> bool:
        return any(items is not None and items.value(chain) is not None for items in (self.own, self.shared))

    def raw(self, chain: Chain) -> list[bytes]:
        """Value's bytes for each frame; empty where there is none."""
        default = b""
        if self.shared is not None and (value := self.shared.value(chain)) is not None:
            default = next(iter(self._bytes(value)), b"")
        elif len(chain) == 2 and chain != functional_groups.SEGMENT:
            default = self.structure.value(chain[-1])
        own = self.own.value(chain) if self.own is not None else None
        if own is None:
            return [default]  # spread by `_spread`: the count may be a mere claim
        found = self._bytes(own)[: self.count]
        found = [each or default for each in found] if default else found
        return found + [default] * (self.count - len(found))

    def _bytes(self, value: Value) -> list[bytes]:
        raw = self.structure.raw
        return [
            raw[offset : offset + length] if offset >= 0 else b""
            for offset, length in zip(value.offset.tolist(), value.length.tolist(), strict=True)
        ]

    def decimals(self, chain: Chain, width: int) -> tuple[Floats, float]:
        """(F, width) float64, NaN where absent or of another width; and the step of the last decimal."""
        distinct: dict[bytes, int] = {}
        index = [distinct.setdefault(each, len(distinct)) for each in self.raw(chain)]
        table = np.full((max(len(distinct), 1), width), np.nan)
        quantum = np.inf
        for each, row in distinct.items():
            numbers = parse_decimals(each) if len(each) <= _DECIMAL_BYTES * width else ()
            if len(numbers) == width:
                table[row] = numbers
                quantum = min(quantum, _quantum(each))
        table[~np.isfinite(table)] = np.nan
        return self._spread(table[np.array(index, np.int64)]), 0.0 if quantum == np.inf else quantum

    def _spread(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One row for all frames, as a view that takes no memory."""
        return rows if len(rows) == self.count else np.broadcast_to(rows, (self.count, *rows.shape[1:]))

    def numbers(self, chain: Chain) -> Ints:
        """(F,) int64 of a US value; -1 where absent, -2 where it has several values."""
        own = self.own.value(chain) if self.own is not None else None
        if own is not None and self.structure.little_endian and (own.length == 2).all():
            octets = np.frombuffer(self.structure.raw, np.uint8)  # the common case, without bytes objects
            low, high = octets[own.offset[: self.count]], octets[own.offset[: self.count] + 1]
            return self._once(chain, low.astype(np.int64) | high.astype(np.int64) << 8)
        order: Literal["little", "big"] = "little" if self.structure.little_endian else "big"
        cache: dict[bytes, int] = {}
        for each in set(raw := self.raw(chain)):
            cache[each] = (
                NO_SEGMENT
                if len(each) < 2
                else SEVERAL_SEGMENTS
                if len(each) > 2
                else int.from_bytes(each, order)
            )
        return self._once(chain, self._spread(np.array([cache[each] for each in raw], np.int64)))

    def _once(self, chain: Chain, numbers: Ints) -> Ints:
        """The numbers, with -2 in frames that have the value more than once."""
        repeats = self.own.more.get(chain, []) if self.own is not None else []
        if repeats:
            rows = np.concatenate([rows for rows, _, _ in repeats])
            numbers = numbers.copy()
            numbers[rows[rows < self.count]] = SEVERAL_SEGMENTS
        return numbers

    def keys(self, chain: Chain) -> npt.NDArray[np.bytes_]:
        """(F,) bytes: the value as encoded, without padding."""
        raw = self.raw(chain)
        return self._spread(np.array([each.strip(b" ") for each in raw], np.bytes_))


def derivation_uids(structure: DicomFile) -> tuple[str, ...]:
    """SOP Instance UIDs of the images that frames name as their source, in order of first mention."""
    distinct: dict[bytes, None] = {}
    for items in (structure.per_frame, _shared(structure)):
        for chain in (functional_groups.SOURCE_INSTANCE, functional_groups.BARE_SOURCE_INSTANCE):
            every = items.every(chain) if items is not None else ()
            for offset, length in zip(*(each.tolist() for each in every), strict=True):
                distinct.setdefault(structure.raw[offset : offset + min(length, 64)])
    return tuple(each.strip(b" \0").decode("latin-1") for each in distinct)


SourceImages = list[tuple[str, tuple[int, ...]]]
"""SOPInstanceUIDs of images and which of their frames are meant; no number means all of them."""


def source_images(structure: DicomFile) -> tuple[dict[int, SourceImages], SourceImages]:
    """Source images that frames name (SourceImageSequence (0008,2112)): by frame, and for all frames."""
    own = _source_images(structure, structure.per_frame)
    return own, _source_images(structure, _shared(structure)).get(0, [])


def _source_images(structure: DicomFile, items: Items | None) -> dict[int, SourceImages]:
    """Images by item; ReferencedFrameNumber (0008,1160) follows the UID it belongs to: tags ascend."""
    values: list[tuple[int, int, int, bool]] = []
    for chain in (
        functional_groups.SOURCE_INSTANCE,
        functional_groups.SOURCE_FRAME,
        functional_groups.BARE_SOURCE_INSTANCE,
        functional_groups.BARE_SOURCE_FRAME,
    ):
        is_number = chain in (functional_groups.SOURCE_FRAME, functional_groups.BARE_SOURCE_FRAME)
        for rows, offsets, lengths in items.rows(chain) if items is not None else ():
            values += zip(
                offsets.tolist(), lengths.tolist(), rows.tolist(), [is_number] * len(rows), strict=True
            )
    found: dict[int, SourceImages] = {}
    for offset, length, row, is_number in sorted(values):
        raw = structure.raw[offset : offset + length].strip(b" \0")
        images = found.setdefault(row, [])
        if not is_number:
            images.append((raw[:64].decode("latin-1"), ()))
        elif images:
            numbers = tuple(
                int(each) for each in raw.split(b"\\") if len(each) < 16 and each.strip().isdigit()
            )
            images[-1] = images[-1][0], numbers
    return found


def _quantum(raw: bytes) -> float:
    r"""Step of the last decimal of the most finely written number; ``1e-2`` for ``-1.25\0\3``."""
    finest = 1.0
    for part in raw.split(b"\\"):
        mantissa, _, exponent = part.strip(b" \0").lower().partition(b"e")
        decimals = len(mantissa.partition(b".")[2])
        try:
            finest = min(finest, 10.0 ** (int(exponent or b"0") - decimals))
        except (ValueError, OverflowError):
            continue
    return finest
