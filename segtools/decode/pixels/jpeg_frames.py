"""JPEG 2000, HTJ2K, JPEG-LS and JPEG: codestreams with a header of their own.

The header is read first and must describe the frame that the data set describes; then a library decodes.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.pixels.frame_checks import check_header, check_size, failed, to_bytes
from segtools.decode.pixels.frames import PIXEL_DATA
from segtools.decode.pixels.jpeg_headers import jpeg2000_header, jpeg_header, jpegls_header
from segtools.errors import UnsupportedSegError, UsageError

if TYPE_CHECKING:
    from segtools.decode.pixels.frames import PixelDescription, Stored

_END_OF_IMAGE = b"\xff\xd9"
_LOSSLESS, _BASELINE = frozenset({0xC3}), frozenset({0xC0, 0xC1})
"""SOF3 (ISO/IEC 10918-1 annex H); SOF0 and SOF1, sequential DCT with Huffman codes (annex F)."""


def starts_jpeg2000(head: bytes) -> bool:
    """SOC and SIZ, or the signature box of a JP2 file."""
    return head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "))


def starts_jpeg(head: bytes) -> bool:
    """SOI and another marker: JPEG and JPEG-LS."""
    return head.startswith(b"\xff\xd8\xff")


def decode_jpeg2000(data: bytes, description: PixelDescription) -> Stored:
    """Decode one frame of JPEG 2000 or HTJ2K."""
    check_header(jpeg2000_header(data), data, description, "JPEG 2000")
    from openjpeg.utils import decode

    try:
        values: Stored = decode(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise failed(f"JPEG 2000: {error}") from error
    return check_size(values, description)


def encode_jpeg2000(frame: Stored, bits_allocated: int) -> bytes:
    """Encode one frame of 8 or 16 bits without loss; it needs 32 rows and columns (five levels)."""
    from openjpeg.utils import encode_array

    values = frame.astype(np.uint16 if bits_allocated == 16 else np.uint8, copy=False)
    return bytes(encode_array(values, bits_stored=bits_allocated, photometric_interpretation=2))


def decode_jpegls(data: bytes, description: PixelDescription) -> Stored:
    """Decode one frame of JPEG-LS, without loss or near."""
    header = jpegls_header(data)
    check_header(header, data, description, "JPEG-LS")
    import jpeg_ls

    # CharLS 2.4 stops at a marker, but at the end of the bytes it counts zeros that are not there, to 2**31
    # (decoder_strategy.h: a negative `valid_bits_` is no error). So there is always a marker to stop at.
    if not data.endswith(_END_OF_IMAGE):
        data += _END_OF_IMAGE
    try:
        raw, _ = jpeg_ls.decode_buffer(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise failed(f"JPEG-LS: {error}") from error
    return check_size(
        np.frombuffer(raw, np.uint8 if header and header.precision <= 8 else "<u2"), description
    )


def encode_jpegls(frame: Stored, bits_allocated: int) -> bytes:
    """Encode one frame of 8 or 16 bits without loss; UsageError ``invalid-mask`` where it is tiny."""
    import jpeg_ls

    rows, columns = frame.shape
    raw = to_bytes(frame, bits_allocated)
    try:
        return bytes(jpeg_ls.encode_buffer(raw, rows, columns, 1, bits_allocated))
    except RuntimeError as error:  # it is given twice the bytes of the frame: too few for a tiny one's header
        raise UsageError(
            "invalid-mask",
            f"A frame of {rows} × {columns} cannot be written as JPEG-LS: {error}",
            hint="Choose RLE Lossless for so small a frame.",
        ) from error


def decode_jpeg_lossless(data: bytes, description: PixelDescription) -> Stored:
    """Decode one frame of at most 8 bits, any predictor; libjpeg-turbo in Pillow reads no deeper."""
    return _decode_by_pillow(data, description, "JPEG Lossless", _LOSSLESS)


def decode_jpeg(data: bytes, description: PixelDescription) -> Stored:
    """Decode one frame of baseline or extended sequential JPEG with 8 bits."""
    return _decode_by_pillow(data, description, "JPEG", _BASELINE)


def _decode_by_pillow(
    data: bytes, description: PixelDescription, name: str, starts_of_frame: frozenset[int]
) -> Stored:
    header = jpeg_header(data, starts_of_frame)
    check_header(header, data, description, name)
    if header and header.precision > 8:
        raise UnsupportedSegError(
            "unsupported-transfer-syntax",
            f"A frame of {PIXEL_DATA} is {name} with {header.precision} bits per sample; "
            "at most 8 can be decoded.",
            tag="(7FE0,0010)",
            value=header.precision,
        )
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with JpegImageFile(BytesIO(data)) as image:
            values: Stored = np.asarray(image)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, MemoryError) as error:
        raise failed(f"{name}: {error}") from error
    if values.dtype != np.uint8:
        raise failed(f"{name}: it decodes to {values.dtype}")
    return check_size(values, description)
