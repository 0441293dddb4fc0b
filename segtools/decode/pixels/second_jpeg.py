"""JPEG Lossless (ISO/IEC 10918-1 annex H) in plain Python: the second reading of such frames.

Each voxel is predicted from its neighbours; what is stored is a Huffman code of the number of bits of the
difference, then those bits. With ``1010`` for 3 bits, ``1010 101`` is +5 and ``1010 010`` is -5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segtools.decode.pixels.second_frames import Values, refuse_size, refused

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass
class JpegScan:
    """What stands before the entropy-coded data of the first scan, and where that data starts.

    Attributes
    ----------
    precision, rows, columns, components : int
        Of the frame header.
    parameters : bytes
        Last three bytes of the scan header.
    tables : dict of int to bytes
        Huffman tables by class and destination: 16 counts of codes by length, then their values.
    presets : bytes
        Payload of the last LSE marker of type 1 (JPEG-LS).
    restart : int
        Restart interval; 0 is none.
    start : int
        Offset of the entropy-coded data.
    """

    precision: int = 0
    rows: int = 0
    columns: int = 0
    components: int = 0
    selector: int = 0
    parameters: bytes = b""
    tables: dict[int, bytes] = field(default_factory=dict)
    presets: bytes = b""
    restart: int = 0
    start: int = 0


def scan_of(data: bytes, start_of_frame: int) -> JpegScan:
    """Read the marker segments up to the first scan.

    Raises
    ------
    CorruptSegError
        ``codec-failed``.
    """
    scan, position = JpegScan(), 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if length < 2 or len(body) != length - 2:
            break
        position += 2 + length
        if marker == start_of_frame and len(body) >= 6:
            scan.precision = body[0]
            scan.rows, scan.columns = (int.from_bytes(body[n : n + 2], "big") for n in (1, 3))
            scan.components = body[5]
        elif marker == 0xC4:
            _add_tables(scan.tables, body)
        elif marker == 0xDD:
            scan.restart = int.from_bytes(body, "big")
        elif marker == 0xF8 and body[:1] == b"\x01":
            scan.presets = body[1:]
        elif marker == 0xDA and len(body) == 6 and body[0] == 1:
            scan.selector, scan.parameters, scan.start = body[2], body[3:], position
            return scan
    raise refused("there is no scan of one component behind its markers")


def _add_tables(tables: dict[int, bytes], body: bytes) -> None:
    while len(body) >= 17:
        size = 17 + sum(body[1:17])
        tables[body[0]] = body[1:size]
        body = body[size:]


def strips(data: bytes, start: int) -> list[bytes]:
    """Entropy-coded bytes between restart markers, stuffing included, up to any other marker."""
    found, begin, position = [], start, start
    while (position := data.find(b"\xff", position)) >= 0 and position + 1 < len(data):
        marker = data[position + 1]
        if 0xD0 <= marker <= 0xD7:
            found.append(data[begin:position])
            begin = position + 2
        elif marker >= 0x80:
            return [*found, data[begin:position]]
        position += 2 if marker != 0xFF else 1
    return [*found, data[begin:]]


def jpeg_lossless(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """Decode one frame of JPEG Lossless with any predictor and up to 16 bits."""
    scan = scan_of(data, 0xC3)
    refuse_size((scan.rows, scan.columns, scan.components), (rows, columns), len(data))
    predictor, point = scan.parameters[0], scan.parameters[2] & 15
    if not 1 <= predictor <= 7 or not point < scan.precision <= max(bits, 8):
        raise refused(f"predictor {predictor}, {scan.precision} bits, point transform {point}")
    if scan.restart % columns:
        raise refused(f"its restart interval of {scan.restart} is not a whole number of lines")
    codes = _codes(scan.tables.get(scan.selector >> 4, b""))
    out = np.zeros((rows, columns), np.uint16)
    step = scan.restart // columns or rows
    pieces = strips(data, scan.start)
    for number, top in enumerate(range(0, rows, step)):
        if number >= len(pieces):
            raise refused("its restart intervals are fewer than its lines ask for")
        text = _bits(pieces[number].replace(b"\xff\x00", b"\xff"))
        lines = out[top : min(top + step, rows)]
        _decode_strip(text, codes, lines, predictor, 1 << (scan.precision - point - 1))
    if out.max() >> (scan.precision - point):
        raise refused(f"a voxel is {out.max()}, of {scan.precision - point} bits")
    return (out << point).ravel()


def _bits(data: bytes) -> str:
    return np.unpackbits(np.frombuffer(data, np.uint8)).tobytes().translate(_DIGITS).decode("ascii")


_DIGITS = bytes.maketrans(b"\0\1", b"01")


def _codes(table: bytes) -> dict[str, int]:
    """Codes in order of length, each one more than the one before (annex C.2)."""
    code, at, codes = 0, 16, {}
    for length, count in enumerate(table[:16], 1):
        for value in table[at : at + count]:
            codes[f"{code:0{length}b}"] = value
            code += 1
        at, code = at + count, code << 1
    if not codes or max(map(len, codes)) > 16 or max(codes.values()) > 16:
        raise refused("its Huffman table is none of lossless JPEG")
    return codes


def _decode_strip(
    text: str, codes: dict[str, int], lines: npt.NDArray[np.uint16], predictor: int, middle: int
) -> None:
    position, above = 0, [middle] * lines.shape[1]
    for y, line in enumerate(lines):
        row: list[int] = []
        for x in range(len(line)):
            length = 1
            while (size := codes.get(text[position : position + length])) is None:
                length += 1
                if length > 16:
                    raise refused(f"no code of its Huffman table stands at line {y}, column {x}")
            position += length
            difference = 32768 if size == 16 else 0
            if 0 < size < 16:
                if position + size > len(text):
                    raise refused(f"its bits end in line {y}")
                difference = int(text[position : position + size], 2)
                if text[position] == "0":
                    difference -= (1 << size) - 1
                position += size
            if x == 0:
                predicted = above[0]
            elif y == 0:
                predicted = row[-1]
            else:
                predicted = _predicted(predictor, row[-1], above[x], above[x - 1])
            row.append((predicted + difference) & 0xFFFF)
        line[:] = above = row


def _predicted(predictor: int, left: int, above: int, corner: int) -> int:
    """Prediction of table H.1."""
    if predictor == 1:
        return left
    if predictor == 2:
        return above
    if predictor == 3:
        return corner
    if predictor == 4:
        return left + above - corner
    if predictor == 5:
        return left + ((above - corner) >> 1)
    if predictor == 6:
        return above + ((left - corner) >> 1)
    return (left + above) >> 1
