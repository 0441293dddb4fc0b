"""What a JPEG 2000, JPEG-LS or JPEG codestream says of itself, read without decoding it."""

from __future__ import annotations

import struct
from typing import NamedTuple


class JpegHeader(NamedTuple):
    """Size and sample format of a codestream."""

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool


def jpeg2000_header(data: bytes) -> JpegHeader | None:
    """Image size of a JPEG 2000 or HTJ2K codestream (ISO/IEC 15444-1 A.5.1), bare or in a JP2 file.

    None where there is no SIZ marker, the components are subsampled, or the tiles are senseless.
    """
    start = _codestream(data)
    if start < 0 or data[start : start + 4] != b"\xff\x4f\xff\x51" or len(data) < start + 45:
        return None
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components, depth, step_x, step_y = struct.unpack_from(
        ">8IH3B", data, start + 8
    )
    sound = x0 < x1 and y0 < y1 and tile_x and tile_y and tile_x0 <= x0 and tile_y0 <= y0
    if not sound or components != 1 or step_x != 1 or step_y != 1:
        return None
    return JpegHeader(y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, bool(depth & 0x80))


def _codestream(data: bytes) -> int:
    """Where the codestream starts; behind the boxes of a JP2 file (not conformant, but met)."""
    if not data.startswith(b"\0\0\0\x0cjP  "):
        return 0
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"jp2c":
            return position + (16 if size == 1 else 8)
        if size < 8:
            return -1
        position += size
    return -1


def jpegls_header(data: bytes) -> JpegHeader | None:
    """Image size of a JPEG-LS codestream (ISO/IEC 14495-1 C.2.2); None where there is no SOF55."""
    return jpeg_header(data, frozenset({0xF7}))


def jpeg_header(data: bytes, starts_of_frame: frozenset[int]) -> JpegHeader | None:
    """Image size after the first frame header (ISO/IEC 10918-1 B.2.2) with one of the markers given.

    ``ff c3 | 00 0b | 08 | 00 22 | 00 25 | 01 | 01 11 00`` is SOF3, 11 bytes, 8 bits per sample, 34 rows,
    37 columns, 1 component. None where there is none before the scan.

    Parameters
    ----------
    data : bytes
        A codestream from SOI on.
    starts_of_frame : frozenset of int
        Second bytes of the markers, such as 0xC3.
    """
    if data[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        size = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in starts_of_frame:
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, position + 4)
            return JpegHeader(rows, columns, components, precision, signed=False)
        if marker == 0xFF:
            position += 1  # fill byte
        elif marker < 0xC0 or marker == 0xDA or size < 2:
            return None
        else:
            position += 2 + size
    return None
