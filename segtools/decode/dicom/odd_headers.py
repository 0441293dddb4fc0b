"""Elements that break the rules, read where their bytes leave one reading only.

One bad element that nobody needs must not cost the file. A VR that does not exist may be a known one in
lower case, one of a later edition (PS3.5 6.2 gives those the long form), an invented one in the short
form, or no VR at all: an element in implicit VR. Each reading says where the next element starts; it
holds where one really starts there, with a higher tag, or where its item ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segtools.decode.dicom.headers import (
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    VRS,
    tag_text,
)
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import mmap

    from segtools.decode.dicom.headers import Header

_AHEAD = 6
"""Odd elements in a row that are looked through."""
_MOST_LOOKS = 1 << 20
"""Headers looked at for odd elements in one file; a bound for hostile files."""


class Oddities:
    """What was read of a data set though it breaks the rules: one finding of a kind, with its first place."""

    def __init__(self) -> None:
        self.looks = 0
        self._first: dict[tuple[str, str], int] = {}

    def note(self, code: str, what: str, position: int) -> None:
        """Take an oddity down."""
        self._first.setdefault((code, what), position)

    @property
    def findings(self) -> list[Finding]:
        """``odd-element``, ``odd-delimiter``."""
        return [Finding(code, f"{what}, first at byte {at}.") for (code, what), at in self._first.items()]


class _Cursor(Protocol):
    """What is needed of `segtools.decode.dicom.elements.Cursor`."""

    raw: bytes | mmap.mmap
    little_endian: bool
    oddities: Oddities

    def header(self, position: int, limit: int) -> Header:
        """See there."""


def odd_header(cursor: _Cursor, position: int, limit: int) -> Header:
    """Header of an element in explicit VR whose VR does not exist.

    Raises
    ------
    CorruptSegError
        ``malformed-structure``: no reading leads on, or several do.
    """
    tag, code = _tag(cursor, position), cursor.raw[position + 4 : position + 6]
    readings = [each for each in _readings(cursor, position) if _leads_on(cursor, each, limit, _AHEAD)]
    folded = [each for each in readings if each[1] == code.decode("latin-1").upper()]
    chosen = folded or readings
    if len({(offset, length) for _, _, length, offset in chosen}) != 1:
        raise CorruptSegError(
            "malformed-structure",
            f"{tag_text(tag)} at byte {position} has the VR {code!r}, which does not exist; {len(chosen)} of "
            f"the lengths it may have lead to another element, one must.",
            tag=tag_text(tag),
            offset=position,
        )
    what = f"{tag_text(tag)} has the VR {code!r}" if chosen[0][1] else f"{tag_text(tag)} has no VR"
    cursor.oddities.note("odd-element", what, position)
    return chosen[0]


def _tag(cursor: _Cursor, position: int) -> int:
    order = "little" if cursor.little_endian else "big"
    raw = cursor.raw
    group = int.from_bytes(raw[position : position + 2], order)  # type: ignore[arg-type]
    return group << 16 | int.from_bytes(raw[position + 2 : position + 4], order)  # type: ignore[arg-type]


def _readings(cursor: _Cursor, position: int) -> list[Header]:
    """Headers that the bytes may be.

    ``08 00 70 00 58 58 02 00 54 20`` is (0008,0070) with the invented VR XX and 2 bytes, or in implicit VR
    one with 0x00025858 bytes.
    """
    order = "little" if cursor.little_endian else "big"
    tag, head = _tag(cursor, position), cursor.raw[position + 4 : position + 12]
    code = head[:2]
    short = int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
    long = int.from_bytes(head[4:8], order) if len(head) == 8 and head[2:4] == b"\0\0" else UNDEFINED  # type: ignore[arg-type]
    implicit = int.from_bytes(head[:4], order)  # type: ignore[arg-type]
    readings: list[Header] = []
    known = VRS.get(code.upper())
    if known is not None:
        vr, is_long = known
        readings.append((tag, vr, long, position + 12) if is_long else (tag, vr, short, position + 8))
    elif code.isalpha():
        readings += [(tag, "UN", short, position + 8), (tag, "UN", long, position + 12)]
    readings.append((tag, "", implicit, position + 8))
    return [each for each in readings if each[2] != UNDEFINED]


def _leads_on(cursor: _Cursor, header: Header, limit: int, ahead: int) -> bool:
    """Whether another element, or the end of what holds it, follows an element."""
    cursor.oddities.looks += 1
    tag, _, length, offset = header
    end = offset + length
    if end == limit:
        return True
    if end + 8 > limit or cursor.oddities.looks > _MOST_LOOKS:
        return False
    following = _tag(cursor, end)
    if following in (ITEM_END, SEQUENCE_END):
        return cursor.raw[end + 4 : end + 8] == b"\0\0\0\0"
    if following <= tag:
        return False
    if cursor.raw[end + 4 : end + 6] not in VRS:
        return ahead > 0 and any(_leads_on(cursor, each, limit, ahead - 1) for each in _readings(cursor, end))
    try:
        _, _, stated, start = cursor.header(end, limit)
    except CorruptSegError:
        return False
    return stated == UNDEFINED or following == PIXEL_DATA or start + stated <= limit
