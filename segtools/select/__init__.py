"""Which series a cohort is: one SQL, two engines.

`load_spec` reads a cohort file, `select` answers it, `plan` says what it would cost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtools.select.bigquery import BigQueryEngine
    from segtools.select.cohort import json_schema, load_spec, parse_spec
    from segtools.select.local import LocalEngine
    from segtools.select.mirroring import mirror
    from segtools.select.planning import Plan, Rates, plan
    from segtools.select.query import Library
    from segtools.select.related import changes, source_series, viewer_links
    from segtools.select.selection import Selection, estimate, select
    from segtools.select.sources import Sources
    from segtools.select.spec import CohortSpec
    from segtools.select.terms import near
    from segtools.select.vocabulary import structures

_HOMES = {
    "BigQueryEngine": "bigquery",
    "CohortSpec": "spec",
    "Library": "query",
    "LocalEngine": "local",
    "Plan": "planning",
    "Rates": "planning",
    "Selection": "selection",
    "Sources": "sources",
    "changes": "related",
    "estimate": "selection",
    "json_schema": "cohort",
    "load_spec": "cohort",
    "mirror": "mirroring",
    "near": "terms",
    "parse_spec": "cohort",
    "plan": "planning",
    "select": "selection",
    "source_series": "related",
    "structures": "vocabulary",
    "viewer_links": "related",
}

__all__ = [
    "BigQueryEngine",
    "CohortSpec",
    "Library",
    "LocalEngine",
    "Plan",
    "Rates",
    "Selection",
    "Sources",
    "changes",
    "estimate",
    "json_schema",
    "load_spec",
    "mirror",
    "near",
    "parse_spec",
    "plan",
    "select",
    "source_series",
    "structures",
    "viewer_links",
]


def __getattr__(name: str) -> Any:
    """Import a name from its module on first use: DuckDB, sqlglot and pydantic cost seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
