"""RLE Lossless (PS3.5 annex G): a header of 16 words, then one PackBits segment per byte of a voxel.

A frame of 8 bits begins ``01 00 00 00 | 40 00 00 00 | 56 × 00``: one segment, at byte 64. In a segment
``03 07 08 09 0a`` is the four bytes behind 03 as they are, ``fd 07`` is 257 - 253 = 4 times 07, ``80`` is
nothing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.pixels.frame_checks import failed, impossible, unpack
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from segtools.decode.pixels.frames import PixelDescription, Stored

_SLACK = 8
"""Bytes a segment may decode to beyond its frame: padding that looks like a literal run."""


def starts_rle(head: bytes) -> bool:
    """Whether a fragment begins with an RLE header of one or two segments."""
    return len(head) >= 64 and head[0] in (1, 2) and head[1:8] == b"\0\0\0\x40\0\0\0"


def decode_rle(data: bytes, description: PixelDescription) -> Stored:
    """Decode one frame; of 1 bit per voxel, both a byte per voxel and packed bits are met."""
    segments = _segments(data, description)
    pixels = description.pixels
    if len(segments) == 2:
        high, low = (_decode_segment(segment, pixels) for segment in segments)
        values: Stored = np.stack([low, high], axis=-1).view("<u2")
        return values
    if description.bits_allocated > 1 or 64 * len(segments[0]) >= pixels:
        try:
            return _decode_segment(segments[0], pixels)
        except CorruptSegError:
            if description.bits_allocated > 1:
                raise
    return unpack(_decode_segment(segments[0], description.frame_bytes), pixels)


def _segments(data: bytes, description: PixelDescription) -> list[bytes]:
    """Segments of an RLE frame (PS3.5 G.5): one per byte of a voxel, the most significant first."""
    need = 2 if description.bits_allocated == 16 else 1
    header = np.frombuffer(data[:64], "<u4") if len(data) >= 64 else np.zeros(16, np.uint32)
    count, offsets = int(header[0]), [int(offset) for offset in header[1 : need + 1]]
    bounds = [*offsets, len(data)]
    if count != need or offsets[0] != 64 or any(a >= b for a, b in pairwise(bounds)):
        raise failed(
            f"its RLE header names {count} segments at {offsets} in {len(data)} bytes; {need} must be there, "
            f"in order, the first at 64"
        )
    return [data[a:b] for a, b in pairwise(bounds)]


def _decode_segment(segment: bytes, size: int) -> Stored:
    if 64 * len(segment) < size:
        raise impossible(len(segment), size, "RLE", 64)
    if len(segment) > 2 * (size + _SLACK):  # a run of one voxel takes two bytes, no run takes more for each
        raise failed(f"its RLE segment has {len(segment)} bytes for the {size} of a frame")
    from rle.rle import decode_segment

    try:
        values: Stored = np.frombuffer(decode_segment(segment), np.uint8)
    except ValueError as error:
        raise failed(f"RLE: {error}") from error
    return _of_length(values, size)


def _of_length(values: Stored, size: int) -> Stored:
    """`values` without the few bytes that a padding may decode to."""
    if len(values) < size:
        raise failed(f"its RLE segment decodes to {len(values)} of the {size} bytes of a frame")
    if len(values) >= size + _SLACK:
        raise failed(f"its RLE segment decodes to more than the {size} bytes of a frame")
    return values[:size]
