"""Transfer syntaxes that segmentations are written with, as people name them.

How a frame is encoded stands in the registry that decoding reads, too: `segtools.decode.pixels.codecs`.
"""

from __future__ import annotations

from segtools.decode.pixels.codecs import CODECS

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"

NATIVE = {
    EXPLICIT: "Explicit VR Little Endian",
    IMPLICIT: "Implicit VR Little Endian",
    DEFLATED: "Deflated Explicit VR Little Endian",
}
"""Syntaxes without encapsulated frames, and their names in PS3.6 table A-1."""

SYNTAX_OF = {
    "raw": EXPLICIT,
    "implicit": IMPLICIT,
    "deflated": DEFLATED,
    "rle": RLE,
    "jpeg-ls": JPEG_LS,
    "jpeg-2000": JPEG_2000,
    "deflated-frame": DEFLATED_FRAME,
}
"""What `--codec` takes."""


def names_for(bits: int) -> dict[str, str]:
    """Transfer syntaxes, and their names, in which pixels of `bits` BitsAllocated may be written."""
    encoded = {
        uid: codec.name for uid, codec in CODECS.items() if codec.encode and bits in codec.encodes_bits
    }
    return NATIVE | encoded


def title(uid: str) -> str:
    """Name of a transfer syntax."""
    return NATIVE.get(uid) or CODECS[uid].name
