"""RLE Lossless, written by NumPy: a label map's frame has few runs, and only those are looked at."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.pixels.frames import Stored


def encode_rle(frame: Stored, bits_allocated: int) -> bytes:
    """Encode one frame of 8 or 16 bits (PS3.5 Annex G): a segment per byte, the most significant first."""
    width = bits_allocated // 8
    planes = np.ascontiguousarray(frame, f">u{width}").view(np.uint8)
    segments = [_pack(planes[:, byte::width]) for byte in range(width)]
    starts = np.cumsum([64, *(len(segment) for segment in segments[:-1])]).tolist()
    return struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(starts))) + b"".join(segments)


def _pack(plane: npt.NDArray[np.uint8]) -> bytes:
    """PackBits (PS3.5 G.3.1), rows apart: runs of 2 to 128 as (257 - n, value), the rest literally.

    A row ``5 5 5 7 8`` becomes ``fe 05 | 01 07 08``.
    """
    flat, columns = plane.reshape(-1), plane.shape[1]
    changes = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=changes[1:])
    changes[::columns] = True
    starts = np.flatnonzero(changes)
    lengths = np.diff(np.append(starts, flat.size))
    pieces = -(-lengths // 128)
    if pieces.max() > 1:
        first = np.repeat(np.cumsum(pieces) - pieces, pieces)
        nth = np.arange(len(first)) - first
        starts = np.repeat(starts, pieces) + 128 * nth
        lengths = np.minimum(128, np.repeat(lengths, pieces) - 128 * nth)
    return _tokens(flat[starts], lengths, starts % columns == 0)


def _tokens(
    values: npt.NDArray[np.uint8], lengths: npt.NDArray[np.int64], opens_row: npt.NDArray[np.bool_]
) -> bytes:
    """Tokens of runs; neighbouring runs of 1 within a row share one literal token of at most 128."""
    count = len(values)
    single = lengths == 1
    opens = single & (opens_row | ~np.append(False, single[:-1]))
    index = np.arange(count)
    since = index - np.maximum.accumulate(np.where(opens, index, 0))
    opens |= single & (since % 128 == 0)
    heads = ~single | opens
    sizes = 1 + heads
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    out = np.zeros(total + total % 2, np.uint8)
    out[ends - 1] = values
    at = np.flatnonzero(heads)
    run = np.diff(np.append(at, count))  # of a literal token: how many runs of 1 it holds
    out[ends[at] - 2] = np.where(single[at], run - 1, 257 - lengths[at]).astype(np.uint8)
    return out.tobytes()
