"""SNOMED codes: the retired style (``T-62000``) and the current one (``10200004``) of one concept."""

from __future__ import annotations

from functools import cache

SNOMED_RT = ("SRT", "SNM3", "99SDM")
"""Retired designators of SNOMED RT style codes (``T-62000``), PS3.16 section 8.1."""

SNOMED_CT = ("SCT",)
"""Designator of SNOMED CT concept identifiers (``10200004``)."""


def equivalent_codes(scheme: str, value: str) -> tuple[str, ...]:
    """The keys ``scheme:value`` under which tables may hold a code, the current one first.

    SNOMED RT and SNOMED CT codes of one concept are equivalent (PS3.16 Annex O), whatever designator
    of the retired scheme a writer used.

    Examples
    --------
    >>> equivalent_codes("SRT", "T-62000")
    ('SCT:10200004', 'SRT:T-62000', 'SNM3:T-62000', '99SDM:T-62000')
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
    """`key` (``scheme:value``) with a retired SNOMED code replaced by its SNOMED CT equivalent."""
    scheme, _, value = key.partition(":")
    return equivalent_codes(scheme, value)[0]


@cache
def _snomed() -> tuple[dict[str, str], dict[str, str]]:
    from pydicom.sr._snomed_dict import mapping  # the pairs of PS3.16 Annex O; no public name

    return mapping["SCT"], mapping["SRT"]
