"""Values of the parameters that names and codes of a cohort become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.select.concept_keys import PREFIXES, Concepts, Keys, code_keys
from segtools.select.filters import CohortCode

if TYPE_CHECKING:
    from segtools.select.cohort_spec import CohortSpec, StructuresAll
    from segtools.select.engines.base import Session
    from segtools.select.sql.library import Library


def concept_values(spec: CohortSpec, session: Session, library: Library) -> dict[str, Any]:
    """Values for names and codes; only names need to ask the tables."""
    wanted = {name: getattr(spec, name) for name in PREFIXES}
    together = spec.structures_all
    named = any(isinstance(item, str) for items in wanted.values() for item in items)
    named = named or together is not None
    concepts = Concepts.read(session, library) if named else None
    values: dict[str, Any] = {"by_structure": bool(spec.structures)}
    for name, items in wanted.items():
        found = [
            code_keys(item)
            if concepts is None and isinstance(item, CohortCode)
            else _keys(concepts, name, item)
            for item in items
        ]
        keys = list(dict.fromkeys(key for item in found for key in item.codes))
        values[name] = [key for key in keys if "/" not in key]
        if name == "categories":
            continue
        values[f"sided_{name}"] = [key for key in keys if "/" in key]
        codes = [key.partition(":")[2].partition("/")[0] for key in keys]
        named_keys = list(dict.fromkeys(key for item in found for key in item.concepts))
        if named_keys:
            assert concepts is not None  # noqa: S101 - only names have concept keys
            values["structure_concepts"] = named_keys
            of_names = concepts.type_codes(named_keys)
            codes = [*codes, *of_names] if of_names else []
        values[f"{name.removesuffix('s')}_codes"] = list(dict.fromkeys(codes))
    if together is not None and concepts is not None:
        values |= _together(spec, concepts, together)
    return values


def _together(spec: CohortSpec, concepts: Concepts, together: StructuresAll) -> dict[str, Any]:
    """Values for structures that must all be there; without `structures` they are what matches."""
    groups = [concepts.concept_keys(item) for item in together.of]
    values: dict[str, Any] = {
        "all_numbers": list(range(len(groups))),
        "all_of": [f"{number}#{key}" for number, keys in enumerate(groups) for key in keys],
        "all_within": together.within,
    }
    if not spec.structures:
        keys = list(dict.fromkeys(key for group in groups for key in group))
        values |= {"by_structure": True, "structure_concepts": keys}
        values["structure_codes"] = concepts.type_codes(keys)
    return values


def _keys(concepts: Concepts | None, name: str, item: CohortCode | str) -> Keys:
    assert concepts is not None  # noqa: S101 - read wherever a name is given
    return concepts.keys(name, item)
