"""Which series a cohort is: one SQL, two engines.

`load_spec` reads a cohort file, `select` answers it, `plan` says what it would cost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtools.select.cohort import load_spec, parse_spec
    from segtools.select.local import LocalEngine
    from segtools.select.selection import Selection, estimate, select
    from segtools.select.sources import Sources
    from segtools.select.spec import CohortSpec
    from segtools.select.terms import near
    from segtools.select.vocabulary import structures

_HOMES = {
    "CohortSpec": "spec",
    "LocalEngine": "local",
    "Selection": "selection",
    "Sources": "sources",
    "estimate": "selection",
    "load_spec": "cohort",
    "near": "terms",
    "parse_spec": "cohort",
    "select": "selection",
    "structures": "vocabulary",
}

__all__ = [
    "CohortSpec",
    "LocalEngine",
    "Selection",
    "Sources",
    "estimate",
    "load_spec",
    "near",
    "parse_spec",
    "select",
    "structures",
]


def __getattr__(name: str) -> Any:
    """Import a name from its module on first use: DuckDB, sqlglot and pydantic cost seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
