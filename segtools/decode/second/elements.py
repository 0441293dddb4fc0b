"""Elements of a DICOM data set, read a second way: each is believed only as far as its bytes go.

``08 00 60 00 | 43 53 | 02 00 | 4d 52`` is Modality (0008,0060), CS, 2 bytes, "MR"; in implicit VR the same
is ``08 00 60 00 | 02 00 00 00 | 4d 52``. Which of the two it is, the bytes say for each item anew: a header
may lie about the file, and an element of VR UN hides either (PS3.5 6.2.2 note 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from segtools.errors import CorruptSegError

UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_DEEPEST = 64
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def unreadable(why: str) -> CorruptSegError:
    """Make the error ``verify-unreadable``."""
    return CorruptSegError("verify-unreadable", f"The second reading cannot follow the file: {why}.")


class SecondElement(NamedTuple):
    """One element: its value is ``data[start:end]``; `undefined` if its length was.

    `explicit` tells how items in it are read: None is as their own bytes say.
    """

    tag: int
    vr: bytes
    start: int
    end: int
    undefined: bool
    explicit: bool | None


class Elements:
    """Elements and items of a data set.

    Parameters
    ----------
    data : bytes
    little : bool
        Byte order.
    """

    def __init__(self, data: bytes, *, little: bool = True) -> None:
        self.data = data
        self._order = "little" if little else "big"

    def number(self, start: int, size: int) -> int:
        """Unsigned integer at `start`."""
        return int.from_bytes(self.data[start : start + size], self._order)  # type: ignore[arg-type]

    def looks_explicit(self, start: int) -> bool:
        """Whether the element at `start` has a known VR."""
        return self.data[start + 4 : start + 6] in _SHORT | _LONG

    def walk(
        self, start: int, end: int, *, explicit: bool | None = None, delimited: bool = False, depth: int = 0
    ) -> Iterator[SecondElement]:
        """Elements from `start` up to `end`, or where `delimited` to the first delimiter.

        Raises
        ------
        CorruptSegError
            ``verify-unreadable``.
        """
        if depth > _DEEPEST:
            raise unreadable(f"sequences are nested more than {_DEEPEST} deep")
        if explicit is None:
            explicit = self.looks_explicit(start)
        while start + 8 <= end:
            element = self._element(start, end, explicit, depth)
            if element.tag >> 16 == 0xFFFE:
                if delimited:
                    return
                start = element.start  # where a length was stated, a delimiter has nothing to end
                continue
            yield element
            start = element.end
            if element.undefined:
                start += 8 if self._tag(start) == _SEQUENCE_END else 0

    def _tag(self, start: int) -> int:
        return self.number(start, 2) << 16 | self.number(start + 2, 2)

    def _element(self, start: int, end: int, explicit: bool, depth: int) -> SecondElement:
        tag, vr = self._tag(start), self.data[start + 4 : start + 6]
        inner: bool | None = explicit
        if tag >> 16 == 0xFFFE:
            vr, value, length = b"", start + 8, self.number(start + 4, 4)
            return SecondElement(tag, vr, value, value, length == UNDEFINED, inner)
        value, length = start + 8, self.number(start + 4, 4)
        fits = length == UNDEFINED or value + length <= end
        if (explicit and vr.isalpha()) or (not explicit and not fits and vr in _SHORT | _LONG):
            vr = vr.upper()
            if vr in _LONG:
                value, length = start + 12, self.number(start + 8, 4)
            else:
                length = self.number(start + 6, 2)
                if not length and vr not in _SHORT and self._tag(start + 8) <= tag:
                    value, length = start + 12, self.number(start + 8, 4)  # an unknown VR may be a long one
            inner = None if vr == b"UN" else True
        else:
            vr = b""
        if length == UNDEFINED:
            return SecondElement(tag, vr, value, self._end_of_items(value, end, inner, depth), True, inner)
        if value + length > end:
            raise unreadable(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) ends behind what it is in")
        return SecondElement(tag, vr, value, value + length, False, inner)

    def items(self, element: SecondElement, depth: int = 0) -> Iterator[tuple[int, int, bool | None]]:
        """Start, end and VR rule of each item of a sequence."""
        for start, end, _ in self._items(element.start, element.end, element.explicit, depth):
            yield start, end, element.explicit

    def _end_of_items(self, start: int, end: int, explicit: bool | None, depth: int) -> int:
        for _, _, after in self._items(start, end, explicit, depth):
            start = after
        return start

    def _items(
        self, start: int, end: int, explicit: bool | None, depth: int
    ) -> Iterator[tuple[int, int, int]]:
        """Start and end of each item's content, and where the item itself ends."""
        while start + 8 <= end:
            tag, length = self._tag(start), self.number(start + 4, 4)
            if tag != _ITEM:
                return
            if length == UNDEFINED:
                stop = after = self._end_of_elements(start + 8, end, explicit, depth + 1)
                if self._tag(stop) == _ITEM_END:
                    after = stop + 8
            else:
                stop = after = start + 8 + length
                if stop > end:
                    raise unreadable(f"an item of {length} bytes ends behind its sequence")
                if after + 8 <= end and self._tag(after) == _ITEM_END:  # it has nothing to end
                    after += 8
            yield start + 8, stop, after
            start = after

    def _end_of_elements(self, start: int, end: int, explicit: bool | None, depth: int) -> int:
        """Where the delimiter of an item of undefined length is."""
        last = start
        for element in self.walk(start, end, explicit=explicit, delimited=True, depth=depth):
            last = element.end
            if element.undefined and self._tag(last) == _SEQUENCE_END:
                last += 8
        return last
