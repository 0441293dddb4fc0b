"""The name of a structure, from its codes alone.

A name is the slug of the property type's meaning. Where the type is no anatomy (a nodule, a lesion),
the first region is appended (``nodule_lung``); where it says nothing by itself (``Organ``), the region
stands in its place. The side comes last (``kidney_left``). Labels are never interpreted.

The same rule names the rows of a dataset, what `idcseg structures` lists, and what a cohort file asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.terminology.laterality import SIDES, laterality
from segtools.terminology.names import slug

if TYPE_CHECKING:
    from segtools.terminology.concepts import CodedSegment, Concept

UNNAMED = "unnamed"
"""The name of what has no meaning in letters that a name can hold."""

_ANATOMY = frozenset({"123037004", "T-D000A", "85756007", "T-D0050", "91772007", "R-42018", "280115004"})
"""Anatomical structure, tissue and their kin (CID 7150), SCT and SRT."""
_VAGUE = frozenset(
    {"organ", "tissue", "anatomical_structure", "body_structure", "region_of_interest", "structure"}
)


def structure(segment: CodedSegment) -> str:
    """Name for filters; ``unnamed`` where the codes give none.

    Examples
    --------
    ``Kidney`` + left → ``kidney_left``; ``Nodule`` in ``Lung`` → ``nodule_lung``.
    """
    region = segment.regions[0] if segment.regions else None
    return structure_name(segment.type, segment.category, region, laterality(segment))


def structure_name(
    kind: Concept | None, category: Concept | None, region: Concept | None, side: str | None
) -> str:
    """Name of what has this property type, category, first region and side; see `structure`."""
    return structure_names(kind, category, region, side)[0]


def structure_names(
    kind: Concept | None, category: Concept | None, region: Concept | None, side: str | None
) -> tuple[str, ...]:
    """All names that stand for a structure, its own first, then the broader ones.

    Examples
    --------
    A left nodule in the lung: ``nodule_lung_left``, ``nodule_lung``, ``nodule_left``, ``nodule``.
    """
    of_kind = slug(kind.meaning) if kind else ""
    of_region = slug(region.meaning) if region else ""
    if of_region and (not of_kind or of_kind in _VAGUE):
        base = of_region
    elif of_region and f"_{of_region}_" not in f"_{of_kind}_" and not _is_anatomy(category):
        base = f"{of_kind}_{of_region}"
    else:
        base = of_kind
    bases = [name for name in dict.fromkeys((base, of_kind)) if name]
    names = [name for base in bases for name in (_sided(base, side), base)]
    return tuple(dict.fromkeys(names)) or (UNNAMED,)


def spellings(name: str) -> tuple[str, ...]:
    """Slugs that a name written by a person may mean: ``left kidney`` also means ``kidney_left``."""
    plain = slug(name)
    first, _, rest = plain.partition("_")
    return (plain, f"{rest}_{first}") if rest and first in SIDES else (plain,)


def _sided(name: str, side: str | None) -> str:
    return f"{name}_{side}" if side and side not in name.split("_") else name


def _is_anatomy(category: Concept | None) -> bool:
    return category is None or category.value in _ANATOMY
