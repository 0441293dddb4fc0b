"""The element structure of a DICOM file: preamble, meta group, transfer syntax, top-level elements.

Offsets only: values are read when asked for. Explicit and implicit VR, big endian, Deflated Explicit
VR (inflated within a bound), missing preamble or meta group (PS3.10 7.1, PS3.5 Annex A).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from segtools.decode.dicom.elements import Cursor, Element
from segtools.decode.dicom.encoding import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    body_syntax,
    contradiction,
    read_meta,
)
from segtools.decode.dicom.headers import PIXEL_DATA, UNDEFINED, tag_text
from segtools.decode.dicom.odd_headers import Oddities
from segtools.decode.dicom.sequence_items import Items, parse_items
from segtools.errors import CorruptSegError, NotSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import mmap

__all__ = [
    "BIG_ENDIAN",
    "DEFLATED",
    "EXPLICIT",
    "IMPLICIT",
    "DicomFile",
    "Element",
    "open_structure",
    "tag_text",
]

SHARED_GROUPS, PER_FRAME_GROUPS = 0x52009229, 0x52009230
_TEXT_BYTES, _NUMBER_BYTES = 10240, 4096
"""Longest text (PS3.5 6.2: LT) and longest list of numbers that are looked at."""
_IMPLICIT_IS = frozenset({0x00280008, 0x00200013})


class DicomFile:
    """Top-level elements of one DICOM object and access to their values.

    Attributes
    ----------
    raw : bytes or mmap.mmap
        The data set; inflated for Deflated Explicit VR.
    buffer : memoryview
        Of `raw`; element offsets count in it.
    transfer_syntax_uid : str
    explicit, little_endian : bool
    elements : dict of int to Element
        Top level, in file order; the first of a tag counts.
    per_frame : Items or None
        The parsed PerFrameFunctionalGroupsSequence (5200,9230).
    file_bytes : int, bytes
        Size of the file as stored.
    """

    def __init__(
        self,
        raw: bytes | mmap.mmap,
        *,
        transfer_syntax_uid: str,
        explicit: bool,
        little_endian: bool,
        file_bytes: int,
        findings: list[Finding],
    ) -> None:
        self.raw = raw
        self.buffer = memoryview(raw)
        self.transfer_syntax_uid = transfer_syntax_uid
        self.explicit = explicit
        self.little_endian = little_endian
        self.file_bytes = file_bytes
        self._findings = findings
        self.elements: dict[int, Element] = {}
        self.per_frame: Items | None = None
        self.oddities = Oddities()
        self.cursor = Cursor(raw, explicit=explicit, little_endian=little_endian, oddities=self.oddities)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """``missing-preamble``, ``encoding-contradicts-header``, ``odd-element``, ``odd-delimiter``."""
        return (*self._findings, *self.oddities.findings)

    def scan(self, position: int, stop_before: int | None) -> None:
        """Find the top-level elements from `position` up to PixelData or a tag not below `stop_before`."""
        cursor = self.cursor
        while position < cursor.size:
            tag, vr, length, offset = cursor.header(position, cursor.size)
            if tag >> 16 == 0xFFFE and not length:
                self.oddities.note("odd-delimiter", "A delimiter stands where nothing is open", position)
                position = offset
                continue
            if stop_before is not None and tag >= stop_before:
                return
            if tag == PER_FRAME_GROUPS and tag not in self.elements:
                inner = cursor if vr in ("SQ", "") else cursor.inside_unknown(offset, cursor.size)
                end = None if length == UNDEFINED else cursor.element(position, cursor.size).end
                self.per_frame = parse_items(inner, offset, end)
                stated = -1 if end is None else length
                element = Element(tag, vr, offset, stated, self.per_frame.after)
            else:
                element = cursor.element(position, cursor.size)
            self.elements.setdefault(tag, element)
            if tag == PIXEL_DATA:
                return
            position = element.end

    # --- values --------------------------------------------------------------------------------

    def value(self, element: Element | int | None, most: int | None = None) -> bytes:
        """Value bytes of an element (or of a top-level tag), or the first `most`; empty where absent."""
        if isinstance(element, int):
            element = self.elements.get(element)
        if element is None or element.length < 0:
            return b""
        length = element.length if most is None else min(element.length, most)
        return self.raw[element.offset : element.offset + length]

    def text(self, element: Element | int | None) -> str | None:
        """Text without padding, decoded by SpecificCharacterSet; None where absent or empty."""
        raw = self.value(element, _TEXT_BYTES).strip(b" \0")
        if not raw:
            return None
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        from segtools.decode.dicom.charset import decode_text  # only text beyond ASCII pays for it

        return decode_text(raw, self.value(0x00080005).decode("latin-1"))[0]

    def uid(self, element: Element | int | None) -> str | None:
        """UID without padding; None where absent or empty. Not validated."""
        return self.value(element, _NUMBER_BYTES).strip(b" \0").decode("latin-1") or None

    def integers(self, element: Element | int | None) -> tuple[int, ...]:
        """Integers of a US, SS, UL, SL or IS element; empty where absent or no integers."""
        if isinstance(element, int):
            element = self.elements.get(element)
        if element is None:
            return ()
        raw = self.value(element, _NUMBER_BYTES)
        if element.vr == "IS" or (element.vr in ("", "UN") and element.tag in _IMPLICIT_IS):
            return tuple(int(v) for v in parse_decimals(raw) if v == v and abs(v) < 2**63 and v == int(v))
        kind = {"SS": "h", "UL": "I", "SL": "i"}.get(element.vr, "H")
        count = len(raw) // struct.calcsize(kind)
        return struct.unpack_from(f"{self.cursor.order}{count}{kind}", raw)

    def integer(self, element: Element | int | None) -> int | None:
        """First integer of an element; None where there is none."""
        values = self.integers(element)
        return values[0] if values else None

    # --- sequences -----------------------------------------------------------------------------

    def items(self, element: Element | int | None) -> list[dict[int, Element]]:
        """Items of a sequence, each as its elements by tag; the first of a tag counts.

        Raises
        ------
        CorruptSegError
            ``truncated``, ``malformed-structure``, ``too-deep``.
        """
        if isinstance(element, int):
            element = self.elements.get(element)
        if element is None:
            return []
        return list(self.inside(element).datasets(element))

    def inside(self, element: Element) -> Cursor:
        """Encoding of the items of a sequence.

        In explicit VR, an element without VR comes from within a UN element: so do its items.
        """
        if element.vr == "UN":
            return self.cursor.inside_unknown(element.offset, element.end)
        return self.cursor if element.vr else self.cursor.implicit()


def parse_decimals(raw: bytes) -> tuple[float, ...]:
    r"""Numbers of a DS or IS value (``1.5\-2``); NaN for what is no number."""
    if not raw.strip(b" \0"):
        return ()
    numbers = []
    for part in raw.split(b"\\"):
        try:
            number = float(part.strip(b" \0").decode("ascii"))
        except ValueError:
            number = float("nan")
        numbers.append(number)
    return tuple(numbers)


def open_structure(
    raw: bytes | mmap.mmap, *, stop_before: int | None = None, max_bytes: int = 1 << 34
) -> DicomFile:
    """DicomFile of a DICOM file.

    Parameters
    ----------
    raw : bytes or mmap.mmap
        The whole file.
    stop_before : int, optional
        Tag to stop before, for readers of the header only.
    max_bytes : int, bytes
        Bound of what a deflated data set may become.

    Raises
    ------
    NotSegError
        ``empty-file``, ``not-dicom``.
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``too-deep``, ``inflate-limit``.
    """
    if len(raw) == 0:
        raise NotSegError("empty-file", "The file has no bytes.")
    findings: list[Finding] = []
    try:
        start, named = read_meta(raw, findings)
    except CorruptSegError as error:
        raise _unless_whole(error, raw) from None
    file_bytes = len(raw)
    body = body_syntax(raw, start, named)
    if body == DEFLATED:
        raw, start = _inflate(raw, start, stop_before, max_bytes), 0
    if body != (named if named in NATIVE else EXPLICIT):
        findings.append(contradiction(named, body))
    structure = DicomFile(
        raw,
        transfer_syntax_uid=body if named in NATIVE else named,
        explicit=body != IMPLICIT,
        little_endian=body != BIG_ENDIAN,
        file_bytes=file_bytes,
        findings=findings,
    )
    try:
        structure.scan(start, stop_before)
    except CorruptSegError as error:
        raise _unless_whole(error, raw) from None
    return structure


def _unless_whole(error: CorruptSegError, raw: bytes | mmap.mmap) -> CorruptSegError:
    """`error`; ``malformed-structure`` where it says ``truncated`` of a file that is whole."""
    if error.code != "truncated" or not _ends_with_pixels(raw):
        return error
    return CorruptSegError(
        "malformed-structure",
        f"Lengths contradict each other: {error.message} PixelData (7FE0,0010) ends with the file.",
    )


def _ends_with_pixels(raw: bytes | mmap.mmap) -> bool:
    """Whether the file is whole: a PixelData ends where it ends. Fetching it again would not help.

    ``E0 7F 10 00 4F 42 00 00 10 00 00 00`` in explicit VR: OB, 16 bytes; ``E0 7F 10 00 10 00 00 00`` in
    implicit VR.
    """
    at = raw.rfind(b"\xe0\x7f\x10\x00")
    if at < 0:
        return False
    explicit = int.from_bytes(raw[at + 8 : at + 12], "little")
    implicit = int.from_bytes(raw[at + 4 : at + 8], "little")
    if UNDEFINED in (explicit, implicit):
        return raw[len(raw) - 8 : len(raw)] == b"\xfe\xff\xdd\xe0\0\0\0\0"
    return len(raw) in (at + 12 + explicit, at + 8 + implicit)


def _inflate(raw: bytes | mmap.mmap, start: int, stop_before: int | None, max_bytes: int) -> bytes:
    """Deflated data set (PS3.5 A.5: raw RFC 1951), bounded by what its own header accounts for."""
    stream = zlib.decompressobj(-15)
    try:
        head = stream.decompress(memoryview(raw)[start:], 1 << 20)
        if stop_before is not None and not _needs_more(head, stop_before):
            return head
        limit = min(_accounted(head, len(raw)), max_bytes)
        parts = [head]
        size = len(head)
        while stream.unconsumed_tail and not stream.eof:
            part = stream.decompress(stream.unconsumed_tail, 1 << 24)
            size += len(part)
            if size > limit:
                raise CorruptSegError(
                    "inflate-limit",
                    f"The deflated data set exceeds {limit} bytes, all that its header accounts for.",
                    limit=limit,
                )
            parts.append(part)
        if not stream.eof:
            parts.append(stream.flush())
    except zlib.error as error:
        raise CorruptSegError("malformed-structure", f"The deflated data set is broken: {error}.") from error
    return b"".join(parts)


def _needs_more(head: bytes, stop_before: int) -> bool:
    try:
        partial = DicomFile(
            head,
            transfer_syntax_uid=EXPLICIT,
            explicit=True,
            little_endian=True,
            file_bytes=0,
            findings=[],
        )
        partial.scan(0, stop_before)
    except CorruptSegError:
        return True
    return False


def _accounted(head: bytes, deflated_bytes: int) -> int:
    """Bytes that Rows × Columns × NumberOfFrames explain, with room for the header and functional groups."""
    partial = DicomFile(
        head, transfer_syntax_uid=EXPLICIT, explicit=True, little_endian=True, file_bytes=0, findings=[]
    )
    try:
        partial.scan(0, 0x00280120)
    except CorruptSegError:
        return 64 * deflated_bytes + (64 << 20)
    rows, columns, bits, frames = (
        max(partial.integer(tag) or 1, 1) for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280008)
    )
    return rows * columns * bits * frames // 8 + 65536 * frames + 64 * deflated_bytes + (64 << 20)
