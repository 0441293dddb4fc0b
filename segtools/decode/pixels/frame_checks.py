"""What every decoder of one frame checks and says alike, and the way from bytes to stored values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.pixels.frames import PIXEL_DATA
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from segtools.decode.pixels.frames import PixelDescription, Stored
    from segtools.decode.pixels.jpeg_headers import JpegHeader

MAX_OPAQUE_PIXELS = 1 << 26
"""Pixels of a frame whose codec has no limit of compression; more need a byte per 1,000 pixels."""


def failed(why: str) -> CorruptSegError:
    """Make the error ``codec-failed``; `why` ends the sentence."""
    return CorruptSegError("codec-failed", f"A frame of {PIXEL_DATA} cannot be decoded: {why}.")


def impossible(have: int, need: int, name: str, ratio: int) -> CorruptSegError:
    """Make the error ``claims-exceed-bytes`` of a codec that makes at most `ratio` bytes of one."""
    return CorruptSegError(
        "claims-exceed-bytes",
        f"A frame of {PIXEL_DATA} has {have} bytes; {name} makes at most {ratio} of each, {need} are needed.",
        observed=have,
        expected=need,
    )


def check_header(header: JpegHeader | None, data: bytes, description: PixelDescription, name: str) -> None:
    """Compare what the codestream says of itself with the data set, before anything is allocated.

    Raises
    ------
    CorruptSegError
        ``codec-failed``, ``claims-exceed-bytes``.
    """
    if header is None:
        raise failed(f"it is no {name} codestream")
    deepest = max(description.bits_allocated, 8)
    if (
        (header.rows, header.columns, header.components) != (description.rows, description.columns, 1)
        or not 1 <= header.precision <= deepest
        or header.signed
    ):
        raise failed(
            f"its {name} header says {header.rows} × {header.columns} pixels of {header.components} "
            f"{'signed ' * header.signed}samples with {header.precision} bits, the data set "
            f"{description.rows} × {description.columns} of 1 with at most {deepest}"
        )
    if description.pixels > max(MAX_OPAQUE_PIXELS, 1000 * len(data)):
        raise CorruptSegError(
            "claims-exceed-bytes",
            f"A frame of {PIXEL_DATA} claims {description.pixels} pixels in {len(data)} bytes of {name}.",
        )


def check_size(values: Stored, description: PixelDescription) -> Stored:
    """`values` if there is one for each pixel, of at most 16 bits."""
    if values.size != description.pixels or values.dtype.itemsize > 2:
        raise failed(f"it decodes to {values.size} values of {values.dtype}")
    return values


def from_bytes(raw: bytes, description: PixelDescription) -> Stored:
    """Stored values of a frame that is not compressed: packed bits, bytes or little-endian words."""
    values = np.frombuffer(raw, np.uint8, description.frame_bytes)
    if description.bits_allocated == 1:
        return unpack(values, description.pixels)
    return values if description.bits_allocated == 8 else values.view("<u2")


def to_bytes(frame: Stored, bits_allocated: int) -> bytes:
    """Make the bytes that `from_bytes` reads."""
    if bits_allocated == 1:
        return np.packbits(frame.ravel() != 0, bitorder="little").tobytes()
    return frame.astype("<u2" if bits_allocated == 16 else np.uint8, copy=False).tobytes()


def unpack(packed: Stored, pixels: int) -> Stored:
    """Bits as bytes, the first in the least significant bit: 0b00000101 begins 1, 0, 1."""
    return np.unpackbits(packed.astype(np.uint8, copy=False), count=pixels, bitorder="little")
