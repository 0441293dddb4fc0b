"""One compressed frame decoded a second way, for `segtools.decode.verify`.

No line is shared with the decoders of the first reading, nor a library where there is another one: plain
Python for RLE, ISA-L for deflate, Pillow's build of OpenJPEG for JPEG 2000. Slow, and as careful with the
bytes as they are: nothing is allocated or repeated because a number in the frame says so.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from segtools.errors import CorruptSegError

Values = npt.NDArray[Any]
SecondDecoder = Callable[[bytes, int, int, int], Values]
"""A frame's bytes, rows, columns and BitsAllocated to ``rows * columns`` values in row order."""

_MOST_PIXELS = 1 << 26
_BY_PILLOW = OSError, SyntaxError, ValueError, LookupError, TypeError, AssertionError, EOFError, MemoryError


def refused(why: str) -> CorruptSegError:
    """Make the error ``codec-failed`` of the second reading."""
    return CorruptSegError("codec-failed", f"A frame cannot be decoded a second time: {why}.")


def refuse_size(stated: tuple[int, int, int], wanted: tuple[int, int], have: int) -> None:
    """Refuse a codestream of other rows, columns or components, or of far more pixels than bytes."""
    if stated != (*wanted, 1):
        raise refused(f"its header says {stated} rows, columns and components, not {(*wanted, 1)}")
    if wanted[0] * wanted[1] > max(_MOST_PIXELS, 1000 * have):
        raise refused(f"{have} bytes cannot hold {wanted[0]} × {wanted[1]} pixels")


def wrapped(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """A frame as it is."""
    pixels = rows * columns
    if 8 * len(data) < pixels * bits:
        raise refused(f"it has {len(data)} bytes for {pixels} pixels of {bits} bits")
    if bits == 1:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=pixels, bitorder="little")
    return np.frombuffer(data, "<u2" if bits == 16 else np.uint8, pixels)


def deflated(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """Raw RFC 1951, inflated by ISA-L up to the size of the frame."""
    from isal import igzip_lib, isal_zlib

    size = -(-rows * columns * bits // 8)
    if size > 1032 * len(data):
        raise refused(f"{len(data)} deflated bytes cannot become {size}")
    inflater = isal_zlib.decompressobj(-15)
    try:
        raw = inflater.decompress(data, size + 2)
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub names an instance
        raise refused(f"deflate: {error}") from error
    if len(raw) > size + size % 2 or not inflater.eof:
        raise refused(f"its stream does not end with the {size} bytes of the frame")
    return wrapped(raw, rows, columns, bits)


def rle(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """PackBits in plain Python (PS3.5 G.3.2); of 1 bit per voxel, as bytes or as bits."""
    pixels = rows * columns
    need = 2 if bits == 16 else 1
    if len(data) < 64 or int.from_bytes(data[:4], "little") != need:
        raise refused(f"its RLE header must name {need} segments")
    starts = [int.from_bytes(data[4 + 4 * n : 8 + 4 * n], "little") for n in range(need)]
    ends = [*starts[1:], len(data)]
    planes = [_unpacked(data, start, end, pixels) for start, end in zip(starts, ends, strict=True)]
    if bits == 16:
        high, low = (np.frombuffer(_whole(plane, pixels), np.uint8, pixels) for plane in planes)
        return high.astype(np.uint16) << 8 | low
    if bits == 1 and len(planes[0]) < pixels:
        if len(planes[0]) >= -(-pixels // 8) + 8:
            raise refused(f"an RLE segment makes {len(planes[0])} bytes, for {pixels} voxels")
        return wrapped(planes[0], rows, columns, 1)
    return np.frombuffer(_whole(planes[0], pixels), np.uint8, pixels)


def _unpacked(data: bytes, start: int, end: int, most: int) -> bytes:
    """One PackBits segment, until it ends or has made `most` bytes."""
    if not 64 <= start < end <= len(data):
        raise refused(f"an RLE segment goes from byte {start} to {end} of {len(data)}")
    out = bytearray()
    while start < end and len(out) < most:
        head = data[start]
        if head < 128:  # 02 0a 0b 0c: three bytes as they are
            if start + 2 + head > end and start + 1 < end:  # a last 00 alone is padding
                raise refused("an RLE run ends behind its segment")
            out += data[start + 1 : min(start + 2 + head, end)]
            start += 2 + head
        elif head > 128:  # fe 0a: 257 - 254 = 3 times 0a
            out += data[start + 1 : min(start + 2, end)] * (257 - head)
            start += 2
        else:
            start += 1
    return bytes(out)


def _whole(plane: bytes, pixels: int) -> bytes:
    if len(plane) < pixels:
        raise refused(f"an RLE segment makes {len(plane)} of {pixels} bytes")
    return plane


def jpeg2000(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """JPEG 2000 or HTJ2K by the OpenJPEG in Pillow, which stretches values to 8 or 16 bits."""
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    try:
        with Jpeg2KImageFile(BytesIO(data)) as image:
            stated = image.height, image.width, 1 if image.mode in ("L", "I;16") else 0
            refuse_size(stated, (rows, columns), len(data))
            values = np.asarray(image).ravel()
    except _BY_PILLOW as error:
        if isinstance(error, CorruptSegError):
            raise
        raise refused(f"JPEG 2000: {error}") from error
    at = data.find(b"\xff\x4f\xff\x51")  # SOC, SIZ; bytes 42 on are 07 01 01: 8 bits, not subsampled
    depth = (data[at + 42] & 0x7F) + 1
    return values >> max(8 * values.itemsize - depth, 0)
