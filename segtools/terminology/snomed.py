"""Codes and names of structures: twins of retired codes, slugs, near matches."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SNOMED_RT = ("SRT", "SNM3", "99SDM")
"""Retired designators of SNOMED RT style codes (``T-62000``), PS3.16 section 8.1."""

SNOMED_CT = ("SCT",)
"""Designator of SNOMED CT concept identifiers (``10200004``)."""

SIDES = ("left", "right", "bilateral")


def twins(scheme: str, value: str) -> tuple[str, ...]:
    """The keys ``scheme:value`` under which tables may hold a code.

    SNOMED RT and SNOMED CT codes of one concept are twins (PS3.16 Annex O), whatever designator
    of the retired scheme a writer used.
    """
    if scheme not in (*SNOMED_RT, *SNOMED_CT):
        return (f"{scheme}:{value}",)
    retired_of, current_of = _snomed()
    known = scheme in SNOMED_CT
    current = value if known else current_of.get(value)
    retired = retired_of.get(value) if known else value
    keys = [f"{name}:{current}" for name in SNOMED_CT if current]
    keys += [f"{name}:{retired}" for name in SNOMED_RT if retired]
    return tuple(keys)


def current_key(key: str) -> str:
    """`key` with a retired SNOMED code replaced by its SNOMED CT twin."""
    scheme, _, value = key.partition(":")
    return twins(scheme, value)[0]


@cache
def _snomed() -> tuple[dict[str, str], dict[str, str]]:
    from pydicom.sr._snomed_dict import mapping  # the pairs of PS3.16 Annex O; no public name

    return mapping["SCT"], mapping["SRT"]


def slug(meaning: str, laterality: str | None = None) -> str:
    """A meaning as a name for filters: ``Urinary bladder`` is ``urinary_bladder``."""
    name = re.sub(r"[^a-z0-9]+", "_", meaning.casefold()).strip("_")
    return f"{name}_{laterality}" if laterality else name


def near(name: str, names: Iterable[str], limit: int = 5) -> list[str]:
    """The names most like `name`, best first; case, spaces and underscores do not count."""
    wanted = slug(name)
    known: dict[str, str] = {}
    for candidate in names:
        known.setdefault(slug(candidate), candidate)
    close = difflib.get_close_matches(wanted, known, n=limit, cutoff=0.6)
    inside = sorted(
        (k for k in known if wanted and k not in close and wanted in k), key=lambda k: (len(k), k)
    )
    return [known[key] for key in (*close, *inside)[:limit]]
