"""What a licence allows, by its short name."""

from __future__ import annotations

import re

NONCOMMERCIAL_PATTERN = (
    r"(^|[^a-z])(cc)?(by)?nc(sa|nd)?($|[^a-z])|non[^a-z]*commercial|(^|[^a-z])(no|not for)[^a-z]+commercial"
)
"""What a licence that forbids commercial use says in lower case; for `re` and for RE2 (DuckDB)."""

_NONCOMMERCIAL = re.compile(NONCOMMERCIAL_PATTERN)
_COMMERCIAL = re.compile(
    r"(cc )?by( sa| nd| \d.*)*|cc ?(0|zero)( .*)?|(.* )?public domain.*|(mit|apache|bsd)( .*)?"
)


def is_noncommercial(license_name: str | None) -> bool:
    """Whether a licence says that it forbids commercial use.

    Examples
    --------
    >>> [is_noncommercial(name) for name in ("CC BY-NC 4.0", "CC-BY_NC", "non-commercial", "CC BY 4.0")]
    [True, True, True, False]
    """
    return _NONCOMMERCIAL.search((license_name or "").lower()) is not None


def allows_commercial_use(license_name: str | None) -> bool | None:
    """Whether a licence allows commercial use; None where its name does not tell."""
    if is_noncommercial(license_name):
        return False
    return True if _COMMERCIAL.fullmatch(_words(license_name)) else None


def license_family(license_name: str | None) -> str:
    """A licence's name without version and spelling: ``CC BY-NC 4.0`` and ``cc-by_nc`` are ``cc by nc``."""
    return re.sub(r"( \d+)+$", "", _words(license_name))


def belongs_to(license_name: str | None, family: str) -> bool:
    """Whether a licence is one of a family named without version: ``CC BY`` has ``CC BY 4.0``."""
    return license_family(license_name) == _words(family)


def _words(license_name: str | None) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", (license_name or "").lower()))
