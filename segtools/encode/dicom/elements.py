"""Elements, items and sequences as bytes (PS3.5 7.1), little endian, explicit or implicit VR.

An item is built as a mapping of keywords to values and comes out as bytes with every length stated;
so what occurs a thousand times (a frame's functional groups) is built once per distinct part and
joined.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from segtools.encode.dicom.dictionary import DICTIONARY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LONG_VRS = frozenset({"OB", "OW", "SQ", "UC", "UN", "UR", "UT"})
_NUMBERS = {"US": "H", "UL": "I", "SS": "h", "SL": "i", "FL": "f", "FD": "d"}
ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


class Encoding:
    """One way to write elements.

    Parameters
    ----------
    explicit : bool
        Explicit VR; else implicit.

    Attributes
    ----------
    needs_utf8 : bool
        Whether any text written so far is beyond ASCII.
    """

    def __init__(self, *, explicit: bool) -> None:
        self.explicit = explicit
        self.needs_utf8 = False

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """Tag, VR and length of an element.

        PixelData of 16 bytes, explicit: ``e0 7f 10 00 | 4f 57 | 00 00 | 10 00 00 00`` (OW).
        """
        group, number = tag >> 16, tag & 0xFFFF
        if not self.explicit:
            return struct.pack("<HHI", group, number, length)
        if vr in _LONG_VRS:
            return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length)
        return struct.pack("<HH2sH", group, number, vr.encode(), length)

    def element(self, keyword: str, value: object, vr: str | None = None) -> bytes:
        """Return one element.

        Parameters
        ----------
        keyword : str
        value : str, int, bytes, or a sequence of them
            Text of several values is a sequence of str. Of an SQ: the items' bytes.
        vr : str, optional
            Where the dictionary leaves a choice.
        """
        tag, known = DICTIONARY[keyword]
        vr = vr or known
        content = self._content(vr, value)
        return self.head(tag, vr, len(content)) + content

    def items(self, elements: Mapping[str, object]) -> bytes:
        """Return elements in the order of their tags; those that are None are left out."""
        present = [
            (DICTIONARY[keyword][0], keyword) for keyword, value in elements.items() if value is not None
        ]
        return b"".join(self.element(keyword, elements[keyword]) for _, keyword in sorted(present))

    def sequence(self, keyword: str, *items: bytes) -> bytes:
        """Return a sequence of the items' contents."""
        return self.element(keyword, items)

    def code(self, concept: Sequence[str], **more: object) -> bytes:
        """Content of an item of a code sequence (PS3.3 8.8)."""
        value, scheme, meaning = concept
        elements: dict[str, object] = {"CodeMeaning": meaning, **more}
        if scheme:
            elements["CodingSchemeDesignator"] = scheme
        if value.startswith(("urn:", "http:", "https:")):
            elements["URNCodeValue"] = value
        elif len(value) > 16:
            elements["LongCodeValue"] = value
        else:
            elements["CodeValue"] = value
        return self.items(elements)

    def _content(self, vr: str, value: object) -> bytes:
        if vr == "SQ":
            assert isinstance(value, tuple | list)  # noqa: S101 - a programming error
            return b"".join(ITEM + struct.pack("<I", len(item)) + item for item in value)
        if isinstance(value, bytes):
            return value + b"\0" * (len(value) % 2)
        values = value if isinstance(value, tuple | list) else (value,)
        if vr == "AT":
            return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in values)
        if vr in _NUMBERS:
            return struct.pack(f"<{len(values)}{_NUMBERS[vr]}", *values)
        joined = "\\".join(str(part) for part in values)
        self.needs_utf8 |= not joined.isascii()
        text = joined.encode()
        return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def decimal(number: float) -> str:
    """Return a DS (PS3.5 6.2): at most 16 characters, the most digits that fit, no negative zero.

    Examples
    --------
    >>> decimal(-0.0), decimal(0.703125), decimal(-235.19999999999999), decimal(-1 / 3)
    ('0', '0.703125', '-235.2', '-0.3333333333333')
    """
    number = round(float(number), 10) + 0.0  # what arithmetic leaves behind is no digit of ours
    text = repr(number)
    text = text.removesuffix(".0")
    if len(text) <= 16:
        return text
    for digits in range(16, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    raise AssertionError(number)


def decimals(numbers: Iterable[float]) -> list[str]:
    """Return several values of a DS."""
    return [decimal(number) for number in numbers]
