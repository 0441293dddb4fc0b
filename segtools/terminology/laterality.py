"""The side of a structure, from coded modifiers. `queries/segment_meanings` holds the same rule in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from segtools.terminology.snomed import SNOMED_CT, SNOMED_RT

if TYPE_CHECKING:
    from segtools.terminology.concepts import CodedSegment


Laterality = Literal["left", "right", "bilateral"]

SIDES: tuple[Laterality, ...] = get_args(Laterality)

# CID 244: SNOMED CT and retired value of each side.
_VALUES: dict[Laterality, tuple[str, str]] = {
    "left": ("7771000", "G-A101"),
    "right": ("24028007", "G-A100"),
    "bilateral": ("51440002", "G-A102"),
}

_SIDE_OF: dict[tuple[str, str], Laterality] = {
    (scheme, value): side
    for side, (current, retired) in _VALUES.items()
    for schemes, value in ((SNOMED_CT, current), (SNOMED_RT, retired))
    for scheme in schemes
}


def laterality(segment: CodedSegment) -> Laterality | None:
    """Side by the type's modifiers, else by the regions'; left and right together are ``bilateral``."""
    for modifiers in (segment.type_modifiers, segment.region_modifiers):
        found = {_SIDE_OF[key] for m in modifiers if (key := (m.scheme, m.value)) in _SIDE_OF}
        if found:
            return found.pop() if len(found) == 1 else "bilateral"
    return None
