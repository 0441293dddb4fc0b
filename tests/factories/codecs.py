"""Encoders of single frames and encapsulation (PS3.5 A.4), small enough to be seen right."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

ITEM = b"\xfe\xff\x00\xe0"
DELIMITER = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def pack_bits(pixels: np.ndarray) -> bytes:
    """Pixels as bits, the first in the least significant bit of the first byte (PS3.5 8.1.1)."""
    return np.packbits(np.asarray(pixels, bool).ravel(), bitorder="little").tobytes()


def raw(pixels: np.ndarray, bits: int) -> bytes:
    """A frame by itself: packed bits, bytes or little-endian words."""
    return pack_bits(pixels) if bits == 1 else pixels.astype(f"<u{bits // 8}").tobytes()


def deflate(pixels: np.ndarray, bits: int) -> bytes:
    """Deflated Image Frame (PS3.5 8.2.16): raw RFC 1951."""
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(raw(pixels, bits)) + compress.flush()


def pack_run(plane: bytes) -> bytes:
    """PackBits of PS3.5 annex G.3.1: replicate runs of 2 and more, literal runs otherwise."""
    out, i = bytearray(), 0
    while i < len(plane):
        run = 1
        while run < 128 and i + run < len(plane) and plane[i + run] == plane[i]:
            run += 1
        if run > 1:
            out += bytes((257 - run, plane[i]))
            i += run
            continue
        end = i + 1
        while end < len(plane) and end - i < 128 and (end + 1 >= len(plane) or plane[end] != plane[end + 1]):
            end += 1
        out += bytes((end - i - 1,)) + plane[i:end]
        i = end
    return bytes(out + b"\0" * (len(out) % 2))


def rle(pixels: np.ndarray, bits: int) -> bytes:
    """An RLE frame: header of 16 words, one segment per byte, most significant first (PS3.5 G.2, G.5).

    One bit per pixel is one byte per pixel here (pydicom #2266).
    """
    width = max(bits // 8, 1)
    planes = pixels.astype(f">u{width}").reshape(-1).view(np.uint8).reshape(-1, width)
    return rle_frame([pack_run(planes[:, b].tobytes()) for b in range(width)])


def rle_packed(pixels: np.ndarray) -> bytes:
    """An RLE frame of packed bits, as some writers make it."""
    return rle_frame([pack_run(pack_bits(pixels))])


def rle_frame(segments: list[bytes]) -> bytes:
    """Segments behind their header."""
    starts = np.cumsum([64] + [len(s) for s in segments[:-1]]).tolist()
    header = struct.pack("<16I", len(segments), *starts, *([0] * (15 - len(segments))))
    return header + b"".join(segments)


def jpeg_2000(pixels: np.ndarray, bits: int) -> bytes:
    """A JPEG 2000 code stream without loss, of at least 32 by 32 pixels (OpenJPEG's five levels)."""
    from openjpeg.utils import encode_array

    dtype = np.uint16 if bits == 16 else np.uint8
    return bytes(encode_array(pixels.astype(dtype), bits_stored=bits, photometric_interpretation=2))


def jpeg_lossless(pixels: np.ndarray, bits: int) -> bytes:
    """A JPEG-LS stream without loss; its precision is that of the data element, not of the values."""
    import jpeg_ls

    rows, columns = pixels.shape
    source = pixels.astype(np.uint16 if bits == 16 else np.uint8).tobytes()
    return bytes(jpeg_ls.encode_buffer(source, rows, columns, 1, max(bits, 8)))


def jpeg_process_14(pixels: np.ndarray, bits: int, predictor: int = 1) -> bytes:
    """A JPEG Lossless stream (ISO/IEC 10918-1 annex H): 17 Huffman codes of 5 bits each, 0 to 16."""
    precision = 16 if bits == 16 else 8
    rows, columns = pixels.shape
    table = bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    start = struct.pack(">BHHB3B", precision, rows, columns, 1, 1, 0x11, 0)
    head = _segment(0xC4, b"\0" + table) + _segment(0xC3, start)
    scan = _segment(0xDA, bytes([1, 1, 0, predictor, 0, 0]))
    values, digits = pixels.astype(int), []
    for y in range(rows):
        for x in range(columns):
            difference = (values[y, x] - _predict(values, y, x, predictor, precision) + 32767) % 65536 - 32767
            size = int(abs(difference)).bit_length()
            digits.append(f"{size:05b}")
            if 0 < size < 16:
                digits.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    text = "".join(digits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + head + scan + data + b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _predict(values: np.ndarray, y: int, x: int, predictor: int, precision: int) -> int:
    """Table H.1 and H.1.1: the middle first, then the line above or the voxel before."""
    if y == 0 or x == 0:
        return int(values[y, x - 1] if x else values[y - 1, x] if y else 1 << (precision - 1))
    a, b, c = int(values[y, x - 1]), int(values[y - 1, x]), int(values[y - 1, x - 1])
    return (a, b, c, a + b - c, a + (b - c >> 1), b + (a - c >> 1), a + b >> 1)[predictor - 1]


def jpeg_baseline(pixels: np.ndarray, bits: int) -> bytes:
    """A baseline JPEG stream of the best quality: not exact."""
    from io import BytesIO

    from PIL import Image

    assert bits == 8
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=100)
    return out.getvalue()


HTJ2K_PIXELS = (np.multiply.outer(np.arange(16), np.arange(18)) % 7 < 2).astype(np.uint8)
"""What `HTJ2K_FRAME` decodes to."""

HTJ2K_FRAME = base64.b64decode(
    "/0//UQApQAAAAAASAAAAEAAAAAAAAAAAAAAAEgAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB"
    "/1wAEyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAIUAAf+TwCX7AQd0AACg"
    "CMAAIwDAEcASQBIAACMA8VoTAPkG0wDAE8AVEAVAFf4IlqV1AAT4BYuyt+YACf5AKp/e1gDALQgFowC0ABAMhAEtkdtZ"
    "b6vz1koibQAAAGwAl0ud2QzsKqLqRmDuABBBwQCuQ7BlEyUjJlU67QD/2Q=="
)
"""Made once with OpenJPH 0.26 (reversible): no encoder of it is among our dependencies."""


def htj2k(pixels: np.ndarray, bits: int) -> bytes:
    """The one frame there is."""
    assert bits == 8
    assert np.array_equal(pixels, HTJ2K_PIXELS)
    return HTJ2K_FRAME


ENCODERS = {
    "1.2.840.10008.1.2.4.201": htj2k,
    "1.2.840.10008.1.2.1.98": raw,
    "1.2.840.10008.1.2.8.1": deflate,
    "1.2.840.10008.1.2.5": rle,
    "1.2.840.10008.1.2.4.90": jpeg_2000,
    "1.2.840.10008.1.2.4.91": jpeg_2000,
    "1.2.840.10008.1.2.4.80": jpeg_lossless,
    "1.2.840.10008.1.2.4.57": jpeg_process_14,
    "1.2.840.10008.1.2.4.70": jpeg_process_14,
    "1.2.840.10008.1.2.4.50": jpeg_baseline,
    "1.2.840.10008.1.2.4.51": jpeg_baseline,
}


def encapsulate(frames: list[bytes], *, offsets: str = "basic", fragments: int = 1) -> bytes:
    """PixelData of undefined length in Explicit VR Little Endian, with the offset table asked for.

    Parameters
    ----------
    frames : list of bytes
        Encoded frames.
    offsets : {"none", "empty", "basic", "wrong", "outside", "extended"}
        "wrong" is off by some bytes, "outside" points behind the end of the data.
    fragments : int
        Pieces that each frame is cut into.
    """
    groups = [_items(frame, fragments) for frame in frames]
    starts = np.cumsum([0] + [len(g) for g in groups[:-1]]).tolist()
    lead, table = b"", b""
    if offsets == "basic":
        table = struct.pack(f"<{len(starts)}I", *starts)
    elif offsets == "wrong":
        table = struct.pack(f"<{len(starts)}I", *(s + 6 for s in starts))
    elif offsets == "outside":
        table = struct.pack(f"<{len(starts)}I", *(0xFFFFFF00 + 2 * i for i in range(len(starts))))
    elif offsets == "extended":
        lengths = [len(f) for f in frames]
        lead = _ov(0x0001, starts) + _ov(0x0002, lengths)
    head = lead + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return head + ITEM + struct.pack("<I", len(table)) + table + b"".join(groups) + DELIMITER


def _items(frame: bytes, fragments: int) -> bytes:
    size = max(2, -(-len(frame) // fragments))
    size += size % 2
    pieces = [frame[i : i + size] for i in range(0, len(frame), size)]
    pieces = [p + b"\0" * (len(p) % 2) for p in pieces]
    return b"".join(ITEM + struct.pack("<I", len(p)) + p for p in pieces)


def _ov(number: int, values: list[int]) -> bytes:
    """ExtendedOffsetTable (7FE0,0001) or its Lengths (7FE0,0002)."""
    data = struct.pack(f"<{len(values)}Q", *values)
    return struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, len(data)) + data
