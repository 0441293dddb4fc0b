"""DICOM elements in a buffer: headers, and skipping what has no length. Never recursive.

One `Cursor` reads one encoding (byte order, explicit or implicit VR; PS3.5 7.1). Every length is
checked against the bytes that are there; nesting is bounded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
MAX_DEPTH = 32
"""Sequences within sequences; a SEG has six."""
_KEPT_ENDS = 1 << 14
"""Sequences whose end is remembered; a bound for hostile files."""

_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"})
_NUMBER_VRS = frozenset({"AT", "FD", "FL", "SL", "SS", "UL", "US"})
VRS: dict[bytes, tuple[str, bool]] = {
    vr.encode(): (vr, vr in _LONG_VRS) for vr in sorted(_LONG_VRS | _TEXT_VRS | _NUMBER_VRS)
}
"""VR as in the file to (VR, whether its length has 4 bytes); PS3.5 7.1.2."""


class Element(NamedTuple):
    """Where an element lies.

    Attributes
    ----------
    tag : int
        ``0x7FE00010`` for (7FE0,0010).
    vr : str
        Empty in implicit VR.
    offset : int, bytes
        Of the value in the buffer.
    length : int, bytes
        Of the value as stated; -1 if undefined. Only PixelData may state more than there is.
    end : int, bytes
        Where the element ends, with its delimiter if it has one; never behind the buffer. Of
        encapsulated PixelData, the end of the buffer: its items end earlier.
    """

    tag: int
    vr: str
    offset: int
    length: int
    end: int


def tag_text(tag: int) -> str:
    """``"(0062,0002)"`` for 0x00620002."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class Cursor:
    """Reads element headers of one encoding.

    Parameters
    ----------
    raw : bytes or mmap.mmap
    explicit, little_endian : bool
    """

    __slots__ = ("_ends", "_length", "_long", "_short", "explicit", "little_endian", "order", "raw", "size")

    def __init__(self, raw: bytes | mmap.mmap, *, explicit: bool, little_endian: bool = True) -> None:
        self.raw = raw
        self.size = len(raw)
        self.explicit = explicit
        self.little_endian = little_endian
        self.order = order = "<" if little_endian else ">"
        self._short = struct.Struct(f"{order}HH2sH")
        self._long = struct.Struct(f"{order}HHI")
        self._length = struct.Struct(f"{order}I")
        self._ends: dict[int, int] = {}

    def implicit(self) -> Cursor:
        """Return the encoding inside a UN element of undefined length (PS3.5 6.2.2): implicit VR LE."""
        return self if not self.explicit else Cursor(self.raw, explicit=False)

    def header(self, position: int, limit: int) -> tuple[int, str, int, int]:
        """Tag, VR, stated length and value offset of the element at `position`.

        Raises
        ------
        CorruptSegError
            ``truncated``: no room for a header before `limit`; ``malformed-structure``: no VR.
        """
        if position + 8 > limit:
            raise self._truncated(position, limit)
        group, element, code, length = self._short.unpack_from(self.raw, position)
        tag = group << 16 | element
        if not self.explicit or group == 0xFFFE:
            return tag, "", self._long.unpack_from(self.raw, position)[2], position + 8
        known = VRS.get(code)
        if known is None:
            raise CorruptSegError(
                "malformed-structure",
                f"{tag_text(tag)} at byte {position} has the VR {code!r}, which does not exist.",
                tag=tag_text(tag),
                offset=position,
            )
        vr, is_long = known
        if not is_long:
            return tag, vr, length, position + 8
        if position + 12 > limit:
            raise self._truncated(position, limit)
        return tag, vr, self._length.unpack_from(self.raw, position + 8)[0], position + 12

    def element(self, position: int, limit: int) -> Element:
        """Element at `position`, skipped to its end.

        Raises
        ------
        CorruptSegError
            ``truncated``, ``malformed-structure``, ``too-deep``.
        """
        tag, vr, length, offset = self.header(position, limit)
        if length == UNDEFINED:
            if tag == PIXEL_DATA:
                return Element(tag, vr, offset, -1, limit)
            return Element(tag, vr, offset, -1, self.inner(tag, vr, position).skip_sequence(offset, limit))
        end = offset + length
        if end > limit:
            if tag != PIXEL_DATA:
                raise self._too_long(tag, position, length, limit)
            end = limit
        return Element(tag, vr, offset, length, end)

    def inner(self, tag: int, vr: str, position: int) -> Cursor:
        """Cursor for the items of an element of undefined length; refused for VRs without items."""
        if vr in ("SQ", ""):
            return self
        if vr == "UN":
            return self.implicit()
        raise CorruptSegError(
            "malformed-structure",
            f"{tag_text(tag)} at byte {position} has VR {vr} and undefined length; only sequences may.",
            tag=tag_text(tag),
            offset=position,
        )

    def datasets(self, element: Element) -> Iterator[dict[int, Element]]:
        """Items of a sequence, each as its elements by tag, the first of a tag; errors as in `element`."""
        position, limit = element.offset, element.end
        while position < limit:
            position, length = self.item(position, limit)
            if length == -1:
                return
            end = limit if length == UNDEFINED else position + length
            found: dict[int, Element] = {}
            while position < end:
                each = self.element(position, end)
                tag, _, _, _, position = each
                if tag == ITEM_END:
                    break
                if tag not in found:
                    found[tag] = each
            yield found

    def item(self, position: int, limit: int) -> tuple[int, int]:
        """Offset and stated length (or `UNDEFINED`) of the item at `position`; (0, -1) at the sequence's end.

        Raises
        ------
        CorruptSegError
            ``truncated``, ``malformed-structure``.
        """
        tag, _, length, offset = self.header(position, limit)
        if tag == SEQUENCE_END:
            return 0, -1
        if tag != ITEM:
            raise CorruptSegError(
                "malformed-structure",
                f"{tag_text(tag)} at byte {position} stands where an item (FFFE,E000) must.",
                tag=tag_text(tag),
                offset=position,
            )
        if length != UNDEFINED and offset + length > limit:
            raise self._too_long(tag, position, length, limit)
        return offset, length

    def skip_sequence(self, position: int, limit: int) -> int:
        """Position behind the delimiter of a sequence of undefined length with its items at `position`."""
        end = self._ends.get(position)
        return end if end is not None and end <= limit else self._skip(position, limit, in_item=False)

    def skip_item(self, position: int, limit: int) -> int:
        """Position behind the delimiter of an item of undefined length with its content at `position`."""
        return self._skip(position, limit, in_item=True)

    def _skip(self, position: int, limit: int, *, in_item: bool) -> int:
        """Walk with a stack of what is open: what has a length is jumped over, never looked into.

        Ends of sequences are kept, as a sequence is looked into level by level.
        """
        cursor: Cursor = self
        opened: list[tuple[bool, Cursor, int]] = [(in_item, self, position)]
        while opened:
            in_item, cursor, begin = opened[-1]
            if not in_item:
                start, length = cursor.item(position, limit)
                if length == -1:
                    opened.pop()
                    position += 8
                    if len(cursor._ends) < _KEPT_ENDS:
                        cursor._ends[begin] = position
                elif length == UNDEFINED:
                    opened.append((True, cursor, start))
                    position = start
                else:
                    position = start + length
                continue
            tag, vr, length, start = cursor.header(position, limit)
            if tag == ITEM_END:
                opened.pop()
                position = start
            elif length != UNDEFINED:
                if start + length > limit:
                    raise self._too_long(tag, position, length, limit)
                position = start + length
            else:
                if len(opened) >= 2 * MAX_DEPTH:
                    raise CorruptSegError(
                        "too-deep",
                        f"Sequences are nested more than {MAX_DEPTH} deep at byte {position}.",
                        offset=position,
                    )
                opened.append((False, cursor.inner(tag, vr, position), start))
                position = start
        return position

    def _truncated(self, position: int, limit: int) -> CorruptSegError:
        return CorruptSegError(
            "truncated" if limit == self.size else "malformed-structure",
            f"An element starts at byte {position}, but only {max(limit - position, 0)} bytes are left.",
            offset=position,
        )

    def _too_long(self, tag: int, position: int, length: int, limit: int) -> CorruptSegError:
        return CorruptSegError(
            "truncated" if limit == self.size else "malformed-structure",
            f"{tag_text(tag)} at byte {position} states {length} bytes; {limit - position} are left.",
            tag=tag_text(tag),
            offset=position,
            value=length,
        )
