"""Encoders of single frames, and what may be written with which transfer syntax."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Frame = npt.NDArray[Any]

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
JPEG_2000_SMALLEST = 32
"""Rows and columns that OpenJPEG's five levels of wavelets need."""
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Codec:
    """A way to store frames.

    Attributes
    ----------
    name : str
        As people write it.
    transfer_syntax_uid : str
    title : str
        As the standard calls it.
    encode : callable or None
        Of one frame; None for native pixels.
    bits : frozenset of int
        BitsAllocated that may be written with it.
    """

    name: str
    transfer_syntax_uid: str
    title: str
    encode: Callable[[Frame], bytes] | None = None
    bits: frozenset[int] = frozenset({1, 8, 16})


def encode_rle(frame: Frame) -> bytes:
    """RLE Lossless (PS3.5 Annex G): one segment per byte of a pixel, the most significant first."""
    width = frame.dtype.itemsize
    planes = np.ascontiguousarray(frame, frame.dtype.newbyteorder(">")).view(np.uint8)
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


def encode_jpeg_ls(frame: Frame) -> bytes:
    """JPEG-LS Lossless (ISO 14495-1); the precision is that of the element, not of the values."""
    import jpeg_ls

    rows, columns = frame.shape
    source = np.ascontiguousarray(frame, frame.dtype.newbyteorder("<")).tobytes()
    return bytes(jpeg_ls.encode_buffer(source, rows, columns, 1, 8 * frame.dtype.itemsize))


def encode_jpeg_2000(frame: Frame) -> bytes:
    """JPEG 2000 Lossless (ISO 15444-1)."""
    from openjpeg.utils import encode_array

    plain = np.ascontiguousarray(frame)
    return bytes(encode_array(plain, bits_stored=8 * frame.dtype.itemsize, photometric_interpretation=2))


def encode_deflated(frame: Frame) -> bytes:
    """Deflated Image Frame (PS3.5 8.2.16): a raw RFC 1951 stream."""
    packer = zlib.compressobj(_LEVEL, wbits=-15)
    return packer.compress(frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()) + packer.flush()


_BYTES = frozenset({8, 16})
CODECS = (
    Codec("raw", EXPLICIT, "Explicit VR Little Endian"),
    Codec("implicit", IMPLICIT, "Implicit VR Little Endian"),
    Codec("deflated", DEFLATED, "Deflated Explicit VR Little Endian"),
    Codec("rle", RLE, "RLE Lossless", encode_rle, _BYTES),
    Codec("jpeg-ls", JPEG_LS, "JPEG-LS Lossless", encode_jpeg_ls, _BYTES),
    Codec("jpeg-2000", JPEG_2000, "JPEG 2000 Lossless", encode_jpeg_2000, _BYTES),
    Codec("deflated-frame", DEFLATED_FRAME, "Deflated Image Frame Compression", encode_deflated),
)
"""In the order in which `--codec` lists them."""
BY_UID = {codec.transfer_syntax_uid: codec for codec in CODECS}
BY_NAME = {codec.name: codec for codec in CODECS}
