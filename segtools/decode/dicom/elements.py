"""DICOM elements in a buffer: headers, and skipping what has no length. Never recursive.

One `Cursor` reads one encoding (byte order, explicit or implicit VR; PS3.5 7.1). Every length is
checked against the bytes that are there; nesting is bounded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from segtools.decode.dicom.headers import (
    ITEM,
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    VRS,
    tag_text,
)
from segtools.decode.dicom.odd_headers import Oddities, odd_header
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    from segtools.decode.dicom.headers import Header

MAX_DEPTH = 32
"""Sequences within sequences; a SEG has six."""
_KEPT_ENDS = 1 << 14
"""Sequences whose end is remembered; a bound for hostile files."""


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


class Cursor:
    """Reads element headers of one encoding.

    Parameters
    ----------
    raw : bytes or mmap.mmap
    explicit, little_endian : bool
    oddities : Oddities, optional
        Takes down what is read though it breaks the rules.
    """

    __slots__ = (
        "_ends",
        "_length",
        "_long",
        "_short",
        "explicit",
        "little_endian",
        "oddities",
        "order",
        "raw",
        "size",
    )

    def __init__(
        self,
        raw: bytes | mmap.mmap,
        *,
        explicit: bool,
        little_endian: bool = True,
        oddities: Oddities | None = None,
    ) -> None:
        self.raw = raw
        self.size = len(raw)
        self.explicit = explicit
        self.little_endian = little_endian
        self.order = order = "<" if little_endian else ">"
        self._short = struct.Struct(f"{order}HH2sH")
        self._long = struct.Struct(f"{order}HHI")
        self._length = struct.Struct(f"{order}I")
        self._ends: dict[int, int] = {}
        self.oddities = Oddities() if oddities is None else oddities

    def implicit(self) -> Cursor:
        """Return the encoding inside a UN element of undefined length (PS3.5 6.2.2): implicit VR LE."""
        return self if not self.explicit else Cursor(self.raw, explicit=False, oddities=self.oddities)

    def inside_unknown(self, position: int, limit: int) -> Cursor:
        """Return the encoding of items inside a UN element, which start at `position`.

        PS3.5 6.2.2 asks for implicit VR; some writers leave explicit VR there. The first element tells:
        ``08 00 00 01 53 48 06 00`` is (0008,0100) SH with 6 bytes, or in implicit VR one with 411,731.
        """
        if not self.explicit:
            return self
        while position + 16 <= limit and self.raw[position : position + 4] == b"\xfe\xff\x00\xe0":
            length = int.from_bytes(self.raw[position + 4 : position + 8], "little")
            if length:
                end = limit if length == UNDEFINED else min(position + 8 + length, limit)
                first = position + 8
                stated = int.from_bytes(self.raw[first + 4 : first + 8], "little")
                if self.raw[first + 4 : first + 6] in VRS and UNDEFINED != stated > end - first - 8:
                    self.oddities.note("odd-element", "A UN element holds explicit VR", position)
                    return self
                break
            position += 8
        return self.implicit()

    def header(self, position: int, limit: int) -> Header:
        """Tag, VR, stated length and value offset of the element at `position`.

        A VR that does not exist is read by the only length that leads on, if there is one.

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
            return odd_header(self, position, limit)
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
            inner = self.inner(tag, vr, position, offset, limit)
            return Element(tag, vr, offset, -1, inner.skip_sequence(offset, limit))
        end = offset + length
        if end > limit:
            if tag != PIXEL_DATA:
                raise self._too_long(tag, position, length, limit)
            end = limit
        return Element(tag, vr, offset, length, end)

    def inner(self, tag: int, vr: str, position: int, offset: int, limit: int) -> Cursor:
        """Cursor for the items, at `offset`, of an element of undefined length.

        Raises
        ------
        CorruptSegError
            ``malformed-structure``: the VR has no items.
        """
        if vr in ("SQ", "", "OB", "OW"):  # OB, OW: fragments of an icon's pixels, jumped by their lengths
            return self
        if vr == "UN":
            return self.inside_unknown(offset, limit)
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
            after_sequence = False  # whether the element before was a sequence with a length
            while position < end:
                each = self.element(position, end)
                tag, vr, stated, _, after = each
                if tag == SEQUENCE_END and length == UNDEFINED and not after_sequence:
                    break  # closes its item too: seen again above
                position = after
                if tag == ITEM_END:
                    break
                after_sequence = vr == "SQ" and stated >= 0
                if tag not in found:
                    found[tag] = each
            yield found

    def item(self, position: int, limit: int) -> tuple[int, int]:
        """Offset and stated length (or `UNDEFINED`) of the item at `position`.

        At the sequence's delimiter, the position behind it and -1. Delimiters of items that have ended
        by their length are passed over.

        Raises
        ------
        CorruptSegError
            ``truncated``, ``malformed-structure``.
        """
        tag, _, length, offset = self.header(position, limit)
        while tag == ITEM_END and not length:
            self.oddities.note("odd-delimiter", "An item delimiter stands where no item is open", position)
            if offset == limit:
                return offset, -1
            position = offset
            tag, _, length, offset = self.header(position, limit)
        if tag == SEQUENCE_END:
            return offset, -1
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
        after_sequence = False  # whether the element before was a sequence with a length
        while opened:
            in_item, cursor, begin = opened[-1]
            if not in_item:
                start, length = cursor.item(position, limit)
                if length == -1:
                    opened.pop()
                    position = start
                    if len(cursor._ends) < _KEPT_ENDS:
                        cursor._ends[begin] = position
                elif length == UNDEFINED:
                    opened.append((True, cursor, start))
                    position = start
                else:
                    position = start + length
                after_sequence = False
                continue
            tag, vr, length, start = cursor.header(position, limit)
            if tag == ITEM_END:
                opened.pop()
                position = start
            elif tag == SEQUENCE_END and not after_sequence:
                cursor.closes_item(position)
                opened.pop()  # its delimiter is missing: the sequence's closes both
                if not opened:
                    return position
            elif length != UNDEFINED:
                if start + length > limit:
                    raise self._too_long(tag, position, length, limit)
                position = start + length
                after_sequence = vr == "SQ"
                continue
            else:
                if len(opened) >= 2 * MAX_DEPTH:
                    raise CorruptSegError(
                        "too-deep",
                        f"Sequences are nested more than {MAX_DEPTH} deep at byte {position}.",
                        offset=position,
                    )
                opened.append((False, cursor.inner(tag, vr, position, start, limit), start))
                position = start
            after_sequence = False
        return position

    def closes_item(self, position: int) -> None:
        """Take down that a sequence's delimiter closes an item of undefined length, too."""
        self.oddities.note("odd-delimiter", "An item is closed by its sequence's delimiter only", position)

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
