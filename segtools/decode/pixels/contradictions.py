"""PixelData that contradicts its transfer syntax: native where fragments are named, or the reverse.

Encapsulated PixelData has undefined length and consists of items (PS3.5 A.4); native PixelData has the
length of its frames. Where the bytes are clearly the other of the two, they are read so, with a finding;
where they are neither, the refusal says what contradicts what.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segtools.decode.dicom.encoding import EXPLICIT, NATIVE
from segtools.decode.pixels.frames import PIXEL_DATA
from segtools.decode.pixels.native import open_native
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.dicom.file import Element
    from segtools.decode.pixels.frames import Frames, PixelDescription

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_RLE, _WRAPPED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.98"
_JPEG_2000, _JPEG_LS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"


def is_native(buffer: memoryview, element: Element, description: PixelDescription) -> bool:
    """Whether a transfer syntax of compressed frames is named, but PixelData has no items."""
    head = buffer[element.offset : element.offset + 4]
    return description.transfer_syntax_uid not in NATIVE and head not in (_ITEM, _SEQUENCE_END)


def open_as_native(
    buffer: memoryview, element: Element, description: PixelDescription
) -> tuple[Frames, list[Finding]]:
    """Frames of PixelData without items, whatever its transfer syntax and length say.

    Raises
    ------
    CorruptSegError
        ``malformed-structure``: it is not of the length that its frames have uncompressed.
    """
    named = description.transfer_syntax_uid
    value = _value(buffer, element)
    try:
        frames, findings = open_native(
            buffer, value, replace(description, transfer_syntax_uid=EXPLICIT), True
        )
    except CorruptSegError as error:
        raise _neither(description, element, value.length) from error
    if any(finding.code == "trailing-bytes" for finding in findings):
        raise _neither(description, element, value.length)
    stated = "undefined length" if element.length < 0 else f"{value.length} bytes"
    message = (
        f"TransferSyntaxUID (0002,0010) is {named} and {PIXEL_DATA} has {stated} without items: "
        f"{value.length} bytes, as many as its frames have uncompressed."
    )
    return frames, [_contradiction(message, named, EXPLICIT), *findings]


def syntax_of_fragments(
    buffer: memoryview, element: Element, description: PixelDescription
) -> tuple[str, Finding]:
    """Transfer syntax of encapsulated PixelData whose named transfer syntax is native, and the finding.

    Raises
    ------
    CorruptSegError
        ``malformed-structure``: the first fragment fits no known codec, or several.
    """
    table = int.from_bytes(buffer[element.offset + 4 : element.offset + 8], "little")
    first = element.offset + 8 + table
    length = int.from_bytes(buffer[first + 4 : first + 8], "little")
    fitting = _codecs_of(bytes(buffer[first + 8 : first + 8 + min(length, 64)]), length, description)
    named = description.transfer_syntax_uid
    if buffer[first : first + 4] != _ITEM or len(fitting) != 1:
        raise CorruptSegError(
            "malformed-structure",
            f"{PIXEL_DATA} has undefined length and items under the native transfer syntax {named}; "
            f"{len(fitting) or 'no'} codecs fit its first fragment.",
            tag="(7FE0,0010)",
        )
    message = f"TransferSyntaxUID (0002,0010) is {named}, but {PIXEL_DATA} has fragments as of {fitting[0]}."
    return fitting[0], _contradiction(message, named, fitting[0])


def _codecs_of(head: bytes, length: int, description: PixelDescription) -> list[str]:
    """Transfer syntaxes that a fragment may be of.

    JPEG 2000 starts ``FF 4F FF 51`` (SOC, SIZ), JPEG-LS ``FF D8`` with ``FF F7`` (SOF55) soon after; RLE
    with the number of its segments and the first offset, 64: ``01 00 00 00 40 00 00 00``.
    """
    rle = head[1:8] == b"\0\0\0\x40\0\0\0" and head[0] == (2 if description.bits_allocated == 16 else 1)
    fits = {
        _JPEG_2000: head[:4] == b"\xff\x4f\xff\x51",
        _JPEG_LS: head[:2] == b"\xff\xd8" and b"\xff\xf7" in head,
        _RLE: rle,
        _WRAPPED: length in (description.frame_bytes, description.frame_bytes + description.frame_bytes % 2),
    }
    return [uid for uid, fit in fits.items() if fit]


def _value(buffer: memoryview, element: Element) -> Element:
    """`element` with the length of its bytes, without a sequence delimiter behind them."""
    if element.length >= 0:
        return element
    end = element.end
    if buffer[end - 8 : end] == _SEQUENCE_END + bytes(4):
        end -= 8
    return element._replace(length=end - element.offset)


def _neither(description: PixelDescription, element: Element, have: int) -> CorruptSegError:
    stated = "undefined length" if element.length < 0 else "a length"
    return CorruptSegError(
        "malformed-structure",
        f"TransferSyntaxUID (0002,0010) is {description.transfer_syntax_uid} and {PIXEL_DATA} has {stated}, "
        f"but no items; its {have} bytes are not those of {description.frame_count} frames of "
        f"{description.rows} × {description.columns} voxels with {description.bits_allocated} bits.",
        tag="(7FE0,0010)",
    )


def _contradiction(message: str, named: str, found: str) -> Finding:
    return Finding(
        "encoding-contradicts-header", message, observed=found, expected=named[:64], tag="(7FE0,0010)"
    )
