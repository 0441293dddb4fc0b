"""What the second reading needs of a file's header, as plain values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from segtools.decode.second.elements import Elements, SecondElement, unreadable
from segtools.errors import CorruptSegError

_DEFLATED = "1.2.840.10008.1.2.1.99"
_KEPT = {
    0x00080070: "manufacturer",
    0x00280008: "stated_frames",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "bits",
    0x00280120: "padding",
    0x00620001: "kind",
}
_HEADER_BYTES, _HEADER_RATIO = 16 << 20, 64
"""Inflated bytes that are read without asking what for, and how many more for each deflated one."""
_TEXT = frozenset({"manufacturer", "kind"})
_PER_FRAME, _SHARED, _SEGMENTS = 0x52009230, 0x52009229, 0x00620002
_PLACE, _POSITION, _NAMED, _NUMBER, _SEGMENT_NUMBER = (
    0x00209113,
    0x00200032,
    0x0062000A,
    0x0062000B,
    0x00620004,
)
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_ITEM_OR_END = b"\xfe\xff\x00\xe0", _SEQUENCE_END[:4]
_PIXELS, _OFFSETS = 0x7FE00010, 0x7FE00001


@dataclass
class SecondFrame:
    """Segment and position of a frame; None where nothing says so."""

    segment: int | None = None
    position: tuple[float, float, float] | None = None


@dataclass
class SecondHeader:
    """A file's description and its PixelData.

    Attributes
    ----------
    kind, manufacturer, syntax : str
        SegmentationType, Manufacturer, TransferSyntaxUID.
    rows, columns, bits : int
    padding : int or None
        PixelPaddingValue.
    stated_frames : int
        NumberOfFrames; 0 where there is no such number.
    frames : list of SecondFrame
        Of PerFrameFunctionalGroupsSequence.
    shared : SecondFrame
    segments : list of int
        SegmentNumbers, in file order.
    pixels : memoryview or None
        Value of PixelData, items and all.
    encapsulated : bool
        The length of PixelData is undefined.
    swapped : bool
        PixelData is big endian OW.
    little : bool
    offsets : bytes
        ExtendedOffsetTable.
    """

    kind: str = ""
    manufacturer: str = ""
    syntax: str = ""
    rows: int = 0
    columns: int = 0
    bits: int = 0
    padding: int | None = None
    stated_frames: int = 0
    frames: list[SecondFrame] = field(default_factory=list)
    shared: SecondFrame = field(default_factory=SecondFrame)
    segments: list[int] = field(default_factory=list)
    pixels: memoryview | None = None
    encapsulated: bool = False
    swapped: bool = False
    little: bool = True
    offsets: bytes = b""


def read_header(data: bytes) -> SecondHeader:
    """Read the header of a file.

    Raises
    ------
    CorruptSegError
        ``verify-unreadable``, ``inflate-limit``.
    """
    header, start = SecondHeader(), 132 if data[128:132] == b"DICM" else 0
    meta = Elements(data)
    if data[start : start + 2] == b"\x02\x00":
        start = _read_meta(meta, start, header)
    if header.syntax == _DEFLATED and not (
        data[start + 1 : start + 2] == b"\0" and meta.looks_explicit(start)
    ):
        data, start = _inflated(data[start:]), 0
    elif data[start : start + 2] not in (b"\x08\x00", b"\x00\x08"):
        with suppress(CorruptSegError):  # deflated, though the header says nothing of it
            inflated = _inflated(data[start:])
            if inflated[:2] == b"\x08\x00":
                data, start = inflated, 0
    header.little = data[start : start + 2] != b"\x00\x08"
    body = Elements(data, little=header.little)
    seen: set[int] = set()
    for element in body.walk(start, len(data)):
        if element.tag in seen:
            continue
        seen.add(element.tag)
        _take(body, element, header)
        if element.tag == _PIXELS and element.undefined and not header.encapsulated:
            break  # how long it is, nobody knows: it is the last
    return header


def _read_meta(meta: Elements, start: int, header: SecondHeader) -> int:
    while meta.data[start : start + 2] == b"\x02\x00":  # what follows may be of the other byte order
        element = next(meta.walk(start, len(meta.data)), None)
        if element is None:
            break
        if element.tag == 0x00020010:
            header.syntax = _text(meta, element)
        start = element.end
    return start


def _inflated(data: bytes) -> bytes:
    """Inflate a deflated data set (raw RFC 1951) by ISA-L, as far as its own header accounts for."""
    from isal import igzip_lib, isal_zlib

    stream = isal_zlib.decompressobj(-15)
    try:
        parts = [stream.decompress(data, _HEADER_BYTES + _HEADER_RATIO * len(data))]
        if not stream.eof:
            parts.append(stream.decompress(stream.unconsumed_tail, _accounted(parts[0]) + 1))
            if stream.unconsumed_tail and not stream.eof:
                raise CorruptSegError(
                    "inflate-limit",
                    f"The deflated data set exceeds {sum(map(len, parts))} bytes, more than its header "
                    "accounts for.",
                )
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub names an instance
        raise unreadable(f"its deflated data set is broken ({error})") from error
    return b"".join(parts)


def _accounted(start: bytes) -> int:
    """Bytes of PixelData, after the part of a header that is there."""
    header, elements = SecondHeader(), Elements(start)
    with suppress(CorruptSegError):  # it is cut off somewhere
        for element in elements.walk(0, len(start)):
            if element.tag in _KEPT:
                _take(elements, element, header)
    return header.rows * header.columns * header.stated_frames * max(header.bits, 8) // 8


def _take(body: Elements, element: SecondElement, header: SecondHeader) -> None:
    name = _KEPT.get(element.tag)
    if name in _TEXT:
        setattr(header, str(name), _text(body, element))
    elif name:
        setattr(header, name, _number(body, element) or 0)
    elif element.tag == _SEGMENTS:
        for item in _items(body, element):
            number = next((_number(body, each) for each in item if each.tag == _SEGMENT_NUMBER), None)
            header.segments.append(number or len(header.segments) + 1)
    elif element.tag == _SHARED:
        header.shared = next((_frame(body, item) for item in _items(body, element)), SecondFrame())
    elif element.tag == _PER_FRAME:
        header.frames = [_frame(body, item) for item in _items(body, element)]
    elif element.tag == _OFFSETS:
        header.offsets = body.data[element.start : element.end]
    elif element.tag == _PIXELS:
        header.encapsulated = (
            element.undefined and body.data[element.start : element.start + 4] in _ITEM_OR_END
        )
        if element.undefined and not header.encapsulated:  # native, with the length left open
            end = len(body.data) - 8 * body.data.endswith(_SEQUENCE_END)
            header.pixels = memoryview(body.data)[element.start : end]
        else:
            header.pixels = memoryview(body.data)[element.start : element.end]
        header.swapped = not header.little and element.vr == b"OW"


def _items(body: Elements, sequence: SecondElement) -> list[list[SecondElement]]:
    return [list(body.walk(start, end, explicit=explicit)) for start, end, explicit in body.items(sequence)]


def _frame(body: Elements, groups: list[SecondElement]) -> SecondFrame:
    frame = SecondFrame()
    for group in groups:
        if group.tag in (_PLACE, _NAMED):
            for element in (_items(body, group) or [[]])[0]:
                if element.tag == _NUMBER:
                    frame.segment = _number(body, element)
                elif element.tag == _POSITION:
                    frame.position = _position(body, element)
    return frame


def _text(body: Elements, element: SecondElement) -> str:
    return body.data[element.start : element.end].decode("latin-1").strip(" \0")


def _number(body: Elements, element: SecondElement) -> int | None:
    """First value of a US, SS or IS."""
    if element.vr == b"IS" or element.tag == 0x00280008:
        text = _text(body, element).split("\\")[0].strip(" \0")
        return int(text) if text.removeprefix("-").isdecimal() and len(text) <= 12 else None
    return body.number(element.start, 2) if element.end - element.start >= 2 else None


def _position(body: Elements, element: SecondElement) -> tuple[float, float, float] | None:
    try:
        x, y, z = (float(part.strip(" \0")) for part in _text(body, element).split("\\"))
    except ValueError:
        return None
    return x, y, z
