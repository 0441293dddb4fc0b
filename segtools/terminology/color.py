"""The colour of a structure."""

from __future__ import annotations

import colorsys
import hashlib
from typing import TYPE_CHECKING

from segtools.terminology.laterality import laterality
from segtools.terminology.structures import structure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segtools.terminology.concepts import CodedSegment


# PS3.3 C.10.7.1.1 means D50 (the ICC profile connection space), but the writers behind the data, dcmqi
# and highdicom, relate L*a*b* to sRGB's own white, D65. Read as written: IEC 61966-2-1.
_D65 = (0.9505, 1.0, 1.0889)


_XYZ_TO_RGB = (
    (3.2406, -1.5372, -0.4986),
    (-0.9689, 1.8758, 0.0415),
    (0.0557, -0.2040, 1.0570),
)

_RGB_TO_XYZ = (
    (0.4124, 0.3576, 0.1805),
    (0.2126, 0.7152, 0.0722),
    (0.0193, 0.1192, 0.9505),
)


def color_hex(segment: CodedSegment) -> str:
    """``#RRGGBB``: as recommended in the file, else a stable colour of the structure's code."""
    if segment.cielab is not None:
        return _hex(cielab_to_srgb(segment.cielab))
    if segment.rgb is not None:
        return _hex(segment.rgb)
    concept = segment.type
    key = f"{concept.scheme}:{concept.value}" if concept else structure(segment)
    digest = hashlib.sha256(f"{key}:{laterality(segment) or ''}".encode()).digest()
    hue, light, saturation = digest[0] / 256, 0.40 + digest[1] / 1024, 0.55 + digest[2] / 768
    return _hex(round(255 * part) for part in colorsys.hls_to_rgb(hue, light, saturation))


def cielab_to_srgb(encoded: tuple[int, int, int]) -> tuple[int, int, int]:
    """SRGB, 0 to 255, of a RecommendedDisplayCIELabValue (PS3.3 C.10.7.1.1).

    Parameters
    ----------
    encoded : (3,) tuple of int, 0 to 65535
        L* scaled from 0..100, a* and b* from -128..127.
    """
    lightness = encoded[0] / 65535 * 100
    a, b = (value / 65535 * 255 - 128 for value in encoded[1:])
    y = (lightness + 16) / 116
    xyz = [white * _inverse_f(part) for white, part in zip(_D65, (y + a / 500, y, y - b / 200), strict=True)]
    red, green, blue = (
        _companded(sum(factor * part for factor, part in zip(row, xyz, strict=True))) for row in _XYZ_TO_RGB
    )
    return red, green, blue


def _inverse_f(t: float) -> float:
    return float(t**3) if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)


def _companded(linear: float) -> int:
    linear = min(max(linear, 0.0), 1.0)
    value = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * value)


def _hex(rgb: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02X}" for part in rgb)


def srgb_to_cielab(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """RecommendedDisplayCIELabValue of an sRGB colour, 0 to 255: the inverse of `cielab_to_srgb`."""
    linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in (c / 255 for c in rgb)]
    xyz = [sum(factor * part for factor, part in zip(row, linear, strict=True)) for row in _RGB_TO_XYZ]
    x, y, z = (_f(part / white) for part, white in zip(xyz, _D65, strict=True))
    lightness, a, b = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    scaled = (lightness / 100, (a + 128) / 255, (b + 128) / 255)
    first, second, third = (round(min(max(part, 0.0), 1.0) * 65535) for part in scaled)
    return first, second, third


def _f(t: float) -> float:
    return float(t ** (1 / 3)) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29
