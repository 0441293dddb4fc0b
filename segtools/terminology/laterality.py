"""The side of a structure, from coded modifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from segtools.terminology.concepts import CodedSegment


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


def laterality(segment: CodedSegment) -> Laterality | None:
    """Side by the type's modifiers, else by the regions'; both sides are ``bilateral``."""
    for modifiers in (segment.type_modifiers, segment.region_modifiers):
        sides = {_SIDES[m.value] for m in modifiers if m.scheme in _SIDE_SCHEMES and m.value in _SIDES}
        if sides:
            return sides.pop() if len(sides) == 1 else "bilateral"
    return None
