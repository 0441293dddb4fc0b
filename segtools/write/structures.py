"""Structure name, side and colour of a segment, from its codes alone.

`structure` is the slug of the property type's meaning. Where the type is no anatomy (a nodule, a
lesion), the first region is appended (``nodule_lung``); where it says nothing by itself (``Organ``),
the region stands in its place. The side comes last (``kidney_left``). Labels are never interpreted.
"""

from __future__ import annotations

import colorsys
import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from segtools.decode.volume import Concept, Segment

Laterality = Literal["left", "right", "bilateral"]

_SIDES: dict[str, Laterality] = {
    # SCT and its retired SRT twin (CID 244).
    "7771000": "left",
    "G-A101": "left",
    "24028007": "right",
    "G-A100": "right",
    "51440002": "bilateral",
    "G-A102": "bilateral",
}
_SIDE_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})
_ANATOMY = frozenset({"123037004", "T-D000A", "85756007", "T-D0050", "91772007", "R-42018", "280115004"})
"""Anatomical structure, tissue and their kin (CID 7150), SCT and SRT."""
_VAGUE = frozenset(
    {"organ", "tissue", "anatomical_structure", "body_structure", "region_of_interest", "structure"}
)

# PS3.3 C.10.7.1.1 means D50 (the ICC profile connection space), but the writers behind the data, dcmqi
# and highdicom, relate L*a*b* to sRGB's own white, D65. Read as written: IEC 61966-2-1.
_D65 = (0.9505, 1.0, 1.0889)
_XYZ_TO_RGB = (
    (3.2406, -1.5372, -0.4986),
    (-0.9689, 1.8758, 0.0415),
    (0.0557, -0.2040, 1.0570),
)


def slug(text: str) -> str:
    """Lower-case ASCII words joined by ``_``.

    Examples
    --------
    >>> slug("Neoplasm, Primary")
    'neoplasm_primary'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")


def laterality(segment: Segment) -> Laterality | None:
    """Side by the type's modifiers, else by the regions'; both sides are ``bilateral``."""
    for modifiers in (segment.type_modifiers, segment.region_modifiers):
        sides = {_SIDES[m.value] for m in modifiers if m.scheme in _SIDE_SCHEMES and m.value in _SIDES}
        if sides:
            return sides.pop() if len(sides) == 1 else "bilateral"
    return None


def structure(segment: Segment) -> str:
    """Name for filters; ``unnamed`` where the codes give none.

    Examples
    --------
    ``Kidney`` + left → ``kidney_left``; ``Nodule`` in ``Lung`` → ``nodule_lung``.
    """
    kind = slug(segment.type.meaning) if segment.type else ""
    region = slug(segment.regions[0].meaning) if segment.regions else ""
    if region and (not kind or kind in _VAGUE):
        name = region
    elif region and region not in kind and not _is_anatomy(segment.category):
        name = f"{kind}_{region}"
    else:
        name = kind
    side = laterality(segment)
    if name and side and side not in name.split("_"):
        name = f"{name}_{side}"
    return name or "unnamed"


def _is_anatomy(category: Concept | None) -> bool:
    return category is None or category.value in _ANATOMY


def color_hex(segment: Segment) -> str:
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
