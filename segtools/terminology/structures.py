"""Structure name, side and colour of a segment, from its codes alone.

`structure` is the slug of the property type's meaning. Where the type is no anatomy (a nodule, a
lesion), the first region is appended (``nodule_lung``); where it says nothing by itself (``Organ``),
the region stands in its place. The side comes last (``kidney_left``). Labels are never interpreted.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from segtools.terminology.laterality import laterality

if TYPE_CHECKING:
    from segtools.terminology.concepts import CodedSegment, Concept


_ANATOMY = frozenset({"123037004", "T-D000A", "85756007", "T-D0050", "91772007", "R-42018", "280115004"})
"""Anatomical structure, tissue and their kin (CID 7150), SCT and SRT."""
_VAGUE = frozenset(
    {"organ", "tissue", "anatomical_structure", "body_structure", "region_of_interest", "structure"}
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


def structure(segment: CodedSegment) -> str:
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
