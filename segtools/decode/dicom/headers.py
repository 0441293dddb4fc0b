"""What an element header is made of: tags that delimit, and value representations (PS3.5 7.1, 7.5).

Explicit VR Little Endian, as bytes: ``28 00 10 00 55 53 02 00`` is (0028,0010) US with 2 bytes;
``62 00 02 00 53 51 00 00 7E 01 00 00`` is (0062,0002) SQ with 0x17E bytes: a VR of the long form, two
bytes reserved, then a length of four. Implicit VR has tag and four bytes of length only.
"""

from __future__ import annotations

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010

_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"})
_NUMBER_VRS = frozenset({"AT", "FD", "FL", "SL", "SS", "UL", "US"})
VRS: dict[bytes, tuple[str, bool]] = {
    vr.encode(): (vr, vr in _LONG_VRS) for vr in sorted(_LONG_VRS | _TEXT_VRS | _NUMBER_VRS)
}
"""VR as in the file to (VR, whether its length has 4 bytes); PS3.5 7.1.2."""

Header = tuple[int, str, int, int]
"""Tag, VR (empty in implicit VR), stated length, offset of the value."""


def tag_text(tag: int) -> str:
    """``"(0062,0002)"`` for 0x00620002."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
