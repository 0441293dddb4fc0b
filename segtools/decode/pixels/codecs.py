"""Compressed frames: RLE, JPEG 2000, HTJ2K, JPEG-LS, deflate, and frames that are only wrapped.

Every decoder gets one frame and is told how many bytes it may become. A frame that cannot become
that many (PS3.5 Annex G: at most 64 to 1; RFC 1951: at most 1032 to 1; JPEG: its own header) is
refused before memory is taken for it; one that becomes more is no frame of this image.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.pixels.encapsulation import Fragments, read_fragments
from segtools.decode.pixels.frames import PIXEL_DATA, Frames, unpacked_binary
from segtools.decode.pixels.jpeg_headers import JpegHeader, jpeg2000_header, jpegls_header
from segtools.errors import CorruptSegError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.decode.dicom.file import Element
    from segtools.decode.pixels.frames import PixelDescription, Stored

MAX_OPAQUE_PIXELS = 1 << 26
"""Pixels of a frame whose codec has no limit of compression; more need a byte per 1,000 pixels."""

_RLE_HEADER = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
_RLE_SLACK = 8
"""Bytes an RLE segment may decode to beyond its frame: padding that looks like a literal run."""
_RLE_EXPANSION = 16
"""Times a frame that an RLE segment's longest expansion may be, to be decoded in one go."""


def open_encapsulated(
    buffer: memoryview,
    element: Element,
    description: PixelDescription,
    *,
    strict_length: bool = True,
    extended_offsets: memoryview | None = None,
) -> tuple[Frames, list[Finding]]:
    """Frames of encapsulated PixelData; parameters and errors as in `pixels.open_frames`."""
    codec = _CODECS.get(description.transfer_syntax_uid)
    if codec is None:
        raise UnsupportedSegError(
            "unsupported-transfer-syntax",
            f"TransferSyntaxUID (0002,0010) is {description.transfer_syntax_uid[:64]!r}, which this reader "
            f"cannot decode.",
            tag="(0002,0010)",
            value=description.transfer_syntax_uid[:64],
        )
    fragments, findings = read_fragments(
        buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=extended_offsets,
        starts_frame=codec.starts_frame,
    )
    if codec.may_lose:
        uid = description.transfer_syntax_uid
        message = f"The transfer syntax {uid} allows loss; nothing tells whether these frames lost any."
        findings.append(Finding("lossy-compression", message, observed=uid, tag="(0002,0010)"))
    if description.segmentation_type == "BINARY" and description.bits_allocated > 1:
        findings.append(unpacked_binary(description))
    return EncodedFrames(buffer, fragments, description, codec), findings


class EncodedFrames(Frames):
    """Frames that are decoded one at a time, when asked for."""

    def __init__(
        self, buffer: memoryview, fragments: Fragments, description: PixelDescription, codec: _Codec
    ) -> None:
        super().__init__(fragments.frame_count, (description.rows, description.columns))
        self._buffer, self._fragments = buffer, fragments
        self._description, self._codec = description, codec

    def frame(self, n: int) -> Stored:
        """(rows, columns) uint8 or uint16: stored values; 0 or 1 where the frame has bits."""
        self._check(n)
        try:
            values = self._codec.decode(self._fragments.frame(self._buffer, n), self._description)
        except CorruptSegError as error:
            raise error.with_attrs(frame=n + 1, tag="(7FE0,0010)") from None
        return values.reshape(self.shape)


@dataclass(frozen=True)
class _Codec:
    """A transfer syntax: how a frame is decoded, how one starts, whether it may lose values."""

    decode: Callable[[bytes, PixelDescription], Stored]
    starts_frame: Callable[[bytes], bool]
    may_lose: bool = False


def _decode_rle(data: bytes, description: PixelDescription) -> Stored:
    segments = _rle_segments(data, description)
    pixels = description.pixels
    if len(segments) == 2:
        high, low = (_decode_rle_segment(segment, pixels) for segment in segments)
        values: Stored = np.stack([low, high], axis=-1).view("<u2")
        return values
    if description.bits_allocated > 1 or 64 * len(segments[0]) >= pixels:
        try:
            return _decode_rle_segment(segments[0], pixels)
        except CorruptSegError:
            if description.bits_allocated > 1:
                raise
    return _unpack(_decode_rle_segment(segments[0], description.frame_bytes), pixels)


def _rle_segments(data: bytes, description: PixelDescription) -> list[bytes]:
    """Segments of an RLE frame (PS3.5 G.5): one per byte of a voxel, the most significant first."""
    need = 2 if description.bits_allocated == 16 else 1
    header = np.frombuffer(data[:64], "<u4") if len(data) >= 64 else np.zeros(16, np.uint32)
    count, offsets = int(header[0]), [int(offset) for offset in header[1 : need + 1]]
    bounds = [*offsets, len(data)]
    if count != need or offsets[0] != 64 or any(a >= b for a, b in pairwise(bounds)):
        raise _failed(
            f"its RLE header names {count} segments at {offsets} in {len(data)} bytes; {need} must be there, "
            f"in order, the first at 64"
        )
    return [data[a:b] for a, b in pairwise(bounds)]


def _decode_rle_segment(segment: bytes, size: int) -> Stored:
    if 64 * len(segment) < size:
        raise _impossible(len(segment), size, "RLE", 64)
    from rle.rle import decode_frame, decode_segment

    try:
        if 64 * len(segment) <= _RLE_EXPANSION * size:
            # What the segment can become is bounded, so it may be decoded before its length is known.
            values: Stored = np.frombuffer(decode_segment(segment), np.uint8)
            return _of_rle_length(values, size)
        values = np.frombuffer(decode_frame(_RLE_HEADER + segment, size, 8, "<"), np.uint8)
    except ValueError as error:
        raise _failed(f"RLE: {error}") from error
    try:
        decode_frame(_RLE_HEADER + segment, size + _RLE_SLACK, 8, "<")
    except ValueError:
        return values
    raise _failed(f"its RLE segment decodes to more than the {size} bytes of a frame")


def _of_rle_length(values: Stored, size: int) -> Stored:
    """`values` without the few bytes that a padding may decode to."""
    if len(values) < size:
        raise _failed(f"its RLE segment decodes to {len(values)} of the {size} bytes of a frame")
    if len(values) >= size + _RLE_SLACK:
        raise _failed(f"its RLE segment decodes to more than the {size} bytes of a frame")
    return values[:size]


def _decode_deflate(data: bytes, description: PixelDescription) -> Stored:
    size = description.frame_bytes
    if 1032 * len(data) < size:
        raise _impossible(len(data), size, "deflate", 1032)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # no zlib header: PS3.5 8.2.16, RFC 1951
    try:
        raw = inflater.decompress(data, size + 2)
    except zlib.error as error:
        raise _failed(f"deflate: {error}") from error
    if len(raw) > size + size % 2:
        raise CorruptSegError(
            "inflate-limit",
            f"A frame of {PIXEL_DATA} inflates beyond the {size} bytes of its rows and columns.",
        )
    if not inflater.eof or len(raw) < size:
        raise _failed(f"its deflated stream ends after {len(raw)} of {size} bytes")
    return _from_bytes(raw, description)


def _decode_wrapped(data: bytes, description: PixelDescription) -> Stored:
    size = description.frame_bytes
    if not size <= len(data) <= size + size % 2:
        raise _failed(f"it has {len(data)} bytes, not {size}")
    return _from_bytes(data, description)


def _decode_jpeg2000(data: bytes, description: PixelDescription) -> Stored:
    _check_header(jpeg2000_header(data), data, description, "JPEG 2000")
    from openjpeg.utils import decode

    try:
        values: Stored = decode(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise _failed(f"JPEG 2000: {error}") from error
    return _check_size(values, description)


def _decode_jpegls(data: bytes, description: PixelDescription) -> Stored:
    header = jpegls_header(data)
    _check_header(header, data, description, "JPEG-LS")
    import jpeg_ls

    # On a broken scan CharLS 2.4 may count zeros to 2**31 before it gives up: seconds, then an error.
    try:
        raw, _ = jpeg_ls.decode_buffer(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise _failed(f"JPEG-LS: {error}") from error
    return _check_size(
        np.frombuffer(raw, np.uint8 if header and header.precision <= 8 else "<u2"), description
    )


def _check_header(header: JpegHeader | None, data: bytes, description: PixelDescription, name: str) -> None:
    """Compare what the codestream says of itself with the data set, before anything is allocated."""
    if header is None:
        raise _failed(f"it is no {name} codestream")
    expected = JpegHeader(description.rows, description.columns, 1, max(description.bits_allocated, 8), False)
    if (
        (header.rows, header.columns, header.components) != (expected.rows, expected.columns, 1)
        or not 1 <= header.precision <= expected.precision
        or header.signed
    ):
        raise _failed(f"its {name} header says {header}, the data set {expected}")
    if description.pixels > max(MAX_OPAQUE_PIXELS, 1000 * len(data)):
        raise CorruptSegError(
            "claims-exceed-bytes",
            f"A frame of {PIXEL_DATA} claims {description.pixels} pixels in {len(data)} bytes of {name}.",
        )


def _check_size(values: Stored, description: PixelDescription) -> Stored:
    if values.size != description.pixels or values.dtype.itemsize > 2:
        raise _failed(f"it decodes to {values.size} values of {values.dtype}")
    return values


def _from_bytes(raw: bytes, description: PixelDescription) -> Stored:
    values = np.frombuffer(raw, np.uint8, description.frame_bytes)
    if description.bits_allocated == 1:
        return _unpack(values, description.pixels)
    return values if description.bits_allocated == 8 else values.view("<u2")


def _unpack(packed: Stored, pixels: int) -> Stored:
    return np.unpackbits(packed.astype(np.uint8, copy=False), count=pixels, bitorder="little")


def _failed(why: str) -> CorruptSegError:
    return CorruptSegError("codec-failed", f"A frame of {PIXEL_DATA} cannot be decoded: {why}.")


def _impossible(have: int, need: int, name: str, ratio: int) -> CorruptSegError:
    return CorruptSegError(
        "claims-exceed-bytes",
        f"A frame of {PIXEL_DATA} has {have} bytes; {name} makes at most {ratio} of each, {need} are needed.",
        observed=have,
        expected=need,
    )


def _starts_rle(head: bytes) -> bool:
    return len(head) >= 64 and head[0] in (1, 2) and head[1:8] == b"\0\0\0\x40\0\0\0"


def _starts_jpeg2000(head: bytes) -> bool:
    return head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "))


def _starts_jpegls(head: bytes) -> bool:
    return head.startswith(b"\xff\xd8\xff")


def _starts_always(_: bytes) -> bool:
    return True  # PS3.5 A.4.11, A.4.13: one fragment per frame


_JPEG2000 = _Codec(_decode_jpeg2000, _starts_jpeg2000)
_JPEG2000_LOSSY = _Codec(_decode_jpeg2000, _starts_jpeg2000, may_lose=True)
_CODECS = {
    "1.2.840.10008.1.2.5": _Codec(_decode_rle, _starts_rle),
    "1.2.840.10008.1.2.8.1": _Codec(_decode_deflate, _starts_always),
    "1.2.840.10008.1.2.1.98": _Codec(_decode_wrapped, _starts_always),
    "1.2.840.10008.1.2.4.80": _Codec(_decode_jpegls, _starts_jpegls),
    "1.2.840.10008.1.2.4.81": _Codec(_decode_jpegls, _starts_jpegls, may_lose=True),
    "1.2.840.10008.1.2.4.90": _JPEG2000,
    "1.2.840.10008.1.2.4.91": _JPEG2000_LOSSY,
    "1.2.840.10008.1.2.4.201": _JPEG2000,
    "1.2.840.10008.1.2.4.202": _JPEG2000,
    "1.2.840.10008.1.2.4.203": _JPEG2000_LOSSY,
}
