"""The registry of codecs: one row says everything about a transfer syntax of compressed frames.

Reading (`encoded_frames`), the second reading (`segtools.decode.verify`) and writing (`segtools.encode`)
take a codec from here and from nowhere else. A new one is a row and the functions that it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtools.decode.pixels import (
    jpeg_frames,
    plain_frames,
    rle,
    rle_encode,
    second_frames,
    second_jpeg,
    second_jpegls,
)
from segtools.decode.pixels.frame_checks import to_bytes
from segtools.errors import UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.decode.pixels.frames import PixelDescription, Stored
    from segtools.decode.pixels.second_frames import SecondDecoder

    Decoder = Callable[[bytes, PixelDescription], Stored]
    Encoder = Callable[[Stored, int], bytes]


@dataclass(frozen=True)
class Codec:
    """A transfer syntax whose PixelData is encapsulated.

    Attributes
    ----------
    uid, name : str
        TransferSyntaxUID (0002,0010) and its name in PS3.6 table A-1.
    decode : callable
        One frame's bytes and the PixelDescription to ``rows * columns`` values, uint8 or uint16, in row
        order. Raises CorruptSegError and nothing else; bounds memory and time by the bytes it is given.
    requires : tuple of str
        Distributions that `decode` and `encode` import, beside numpy.
    starts_frame : callable
        Whether the first 64 bytes of a fragment can start a frame.
    second : callable or None
        The same by other code (`second_frames`, `second_jpeg`, `second_jpegls`), for `verify`; None: there
        is none among our dependencies.
    second_requires : tuple of str
        Distributions that `second` imports.
    encode : callable or None
        (rows, columns) uint8 or uint16 and BitsAllocated to one frame's bytes, without loss.
    encodes_bits : tuple of int
        BitsAllocated that `encode` takes.
    smallest_side : int
        Rows and columns that a frame to encode must have at least.
    may_lose : bool
        The syntax allows loss.
    """

    uid: str
    name: str
    decode: Decoder
    requires: tuple[str, ...]
    starts_frame: Callable[[bytes], bool]
    second: SecondDecoder | None
    second_requires: tuple[str, ...] = ()
    encode: Encoder | None = None
    encodes_bits: tuple[int, ...] = (8, 16)
    smallest_side: int = 1
    may_lose: bool = False


_JPEG2000 = jpeg_frames.decode_jpeg2000, ("pylibjpeg-openjpeg",), jpeg_frames.starts_jpeg2000
_JPEGLS = jpeg_frames.decode_jpegls, ("pyjpegls",), jpeg_frames.starts_jpeg
_JPEG_LOSSLESS = jpeg_frames.decode_jpeg_lossless, ("pillow",), jpeg_frames.starts_jpeg
_JPEG = jpeg_frames.decode_jpeg, ("pillow",), jpeg_frames.starts_jpeg
_SECOND_JPEG2000 = second_frames.jpeg2000, ("pillow",)

_ROWS = (
    Codec(
        "1.2.840.10008.1.2.5",
        "RLE Lossless",
        rle.decode_rle,
        ("pylibjpeg-rle",),
        rle.starts_rle,
        second_frames.rle,
        encode=rle_encode.encode_rle,
    ),
    Codec(
        "1.2.840.10008.1.2.8.1",
        "Deflated Image Frame Compression",
        plain_frames.decode_deflated,
        (),
        plain_frames.starts_always,
        second_frames.deflated,
        ("isal",),
        encode=plain_frames.encode_deflated,
        encodes_bits=(1, 8, 16),
    ),
    Codec(
        "1.2.840.10008.1.2.1.98",
        "Encapsulated Uncompressed Explicit VR Little Endian",
        plain_frames.decode_wrapped,
        (),
        plain_frames.starts_always,
        second_frames.wrapped,
        encode=to_bytes,
        encodes_bits=(1, 8, 16),
    ),
    Codec(
        "1.2.840.10008.1.2.4.80",
        "JPEG-LS Lossless Image Compression",
        *_JPEGLS,
        second_jpegls.jpegls,
        encode=jpeg_frames.encode_jpegls,
    ),
    Codec(
        "1.2.840.10008.1.2.4.81",
        "JPEG-LS Lossy (Near-Lossless) Image Compression",
        *_JPEGLS,
        second_jpegls.jpegls,
        may_lose=True,
    ),
    Codec(
        "1.2.840.10008.1.2.4.90",
        "JPEG 2000 Image Compression (Lossless Only)",
        *_JPEG2000,
        *_SECOND_JPEG2000,
        encode=jpeg_frames.encode_jpeg2000,
        smallest_side=32,
    ),
    Codec(
        "1.2.840.10008.1.2.4.91",
        "JPEG 2000 Image Compression",
        *_JPEG2000,
        *_SECOND_JPEG2000,
        may_lose=True,
    ),
    Codec(
        "1.2.840.10008.1.2.4.201",
        "High-Throughput JPEG 2000 Image Compression (Lossless Only)",
        *_JPEG2000,
        *_SECOND_JPEG2000,
    ),
    Codec(
        "1.2.840.10008.1.2.4.202",
        "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)",
        *_JPEG2000,
        *_SECOND_JPEG2000,
    ),
    Codec(
        "1.2.840.10008.1.2.4.203",
        "High-Throughput JPEG 2000 Image Compression",
        *_JPEG2000,
        *_SECOND_JPEG2000,
        may_lose=True,
    ),
    Codec(
        "1.2.840.10008.1.2.4.57",
        "JPEG Lossless, Non-Hierarchical (Process 14)",
        *_JPEG_LOSSLESS,
        second_jpeg.jpeg_lossless,
    ),
    Codec(
        "1.2.840.10008.1.2.4.70",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
        *_JPEG_LOSSLESS,
        second_jpeg.jpeg_lossless,
    ),
    # Two inverse cosine transforms may differ by one: a second reading could only cry wolf.
    Codec("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)", *_JPEG, None, may_lose=True),
    Codec("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)", *_JPEG, None, may_lose=True),
)

CODECS = {codec.uid: codec for codec in _ROWS}
"""TransferSyntaxUID to codec."""


def codec_of(uid: str) -> Codec:
    """Find the codec of a TransferSyntaxUID.

    Raises
    ------
    UnsupportedSegError
        ``unsupported-transfer-syntax``.
    """
    codec = CODECS.get(uid)
    if codec is None:
        raise UnsupportedSegError(
            "unsupported-transfer-syntax",
            f"TransferSyntaxUID (0002,0010) is {uid[:64]!r}, which this reader cannot decode.",
            tag="(0002,0010)",
            value=uid[:64],
        )
    return codec
