"""Frames that are deflated (PS3.5 8.2.16, A.4.13), and frames that are only wrapped (PS3.5 A.4.11)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from segtools.decode.pixels.frame_checks import failed, from_bytes, impossible, to_bytes
from segtools.decode.pixels.frames import PIXEL_DATA
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from segtools.decode.pixels.frames import PixelDescription, Stored


def starts_always(_: bytes) -> bool:
    """One fragment per frame is the rule of both syntaxes: nothing in the bytes tells."""
    return True


def decode_deflated(data: bytes, description: PixelDescription) -> Stored:
    """Inflate one frame (raw RFC 1951, at most 1032 to 1), up to its size and no further."""
    size = description.frame_bytes
    if 1032 * len(data) < size:
        raise impossible(len(data), size, "deflate", 1032)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        raw = inflater.decompress(data, size + 2)
    except zlib.error as error:
        raise failed(f"deflate: {error}") from error
    if len(raw) > size + size % 2:
        raise CorruptSegError(
            "inflate-limit",
            f"A frame of {PIXEL_DATA} inflates beyond the {size} bytes of its rows and columns.",
        )
    if not inflater.eof or len(raw) < size:
        raise failed(f"its deflated stream ends after {len(raw)} of {size} bytes")
    return from_bytes(raw, description)


def encode_deflated(frame: Stored, bits_allocated: int) -> bytes:
    """Deflate one frame of 1, 8 or 16 bits."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(to_bytes(frame, bits_allocated)) + compressor.flush()


def decode_wrapped(data: bytes, description: PixelDescription) -> Stored:
    """One frame as it is, with or without the pad byte to even length."""
    size = description.frame_bytes
    if not size <= len(data) <= size + size % 2:
        raise failed(f"it has {len(data)} bytes, not {size}")
    return from_bytes(data, description)
