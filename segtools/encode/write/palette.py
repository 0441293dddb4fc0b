"""Colours of a label map as a lookup table (PS3.3 C.7.9), for PALETTE COLOR."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from segtools.terminology.color import color_hex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.decode.volume import Segment


def palette(segments: Sequence[Segment], bits: int) -> dict[str, object]:
    """Attributes of a palette with an entry per value, 0 black.

    Entries have 16 bits, an 8-bit colour c as 257 c: ``0x80`` becomes ``0x8080``.
    """
    entries = max(segment.number for segment in segments) + 1
    columns = [[0] * entries for _ in range(3)]
    for segment in segments:
        color = bytes.fromhex(color_hex(segment)[1:])
        for column, value in zip(columns, color, strict=True):
            column[segment.number] = value * 257
    elements: dict[str, object] = {
        "PhotometricInterpretation": "PALETTE COLOR",
        "ICCProfile": _srgb_profile(),
    }
    for name, column in zip(("Red", "Green", "Blue"), columns, strict=True):
        # 65536 entries are stated as 0 (PS3.3 C.7.6.3.1.5)
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [entries % 65_536, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = struct.pack(f"<{entries}H", *column)
    return elements


def _srgb_profile() -> bytes:
    """Pillow's sRGB profile without the hour of its making (bytes 24 to 35)."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]
