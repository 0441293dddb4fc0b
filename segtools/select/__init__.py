"""Which series a cohort is: one SQL, two engines.

`load_spec` reads a cohort file, `select` answers it, `plan` says what it would cost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtools.select.cohort_file import json_schema, load_spec, parse_spec
    from segtools.select.cohort_spec import CohortSpec
    from segtools.select.concept_keys import structures
    from segtools.select.cost_estimate import CostEstimate, Rates, plan
    from segtools.select.discover import listing, query
    from segtools.select.engines.bigquery import BigQueryEngine
    from segtools.select.engines.duckdb import LocalEngine
    from segtools.select.engines.mirror import mirror, mirror_indexes
    from segtools.select.engines.sources import Sources
    from segtools.select.related import changes, source_series, viewer_links
    from segtools.select.selection import Selection, estimate, select
    from segtools.select.sql.library import Library

_MODULES = {
    "BigQueryEngine": "engines.bigquery",
    "CohortSpec": "cohort_spec",
    "Library": "sql.library",
    "LocalEngine": "engines.duckdb",
    "CostEstimate": "cost_estimate",
    "Rates": "cost_estimate",
    "Selection": "selection",
    "Sources": "engines.sources",
    "changes": "related",
    "estimate": "selection",
    "json_schema": "cohort_file",
    "listing": "discover",
    "load_spec": "cohort_file",
    "mirror": "engines.mirror",
    "mirror_indexes": "engines.mirror",
    "parse_spec": "cohort_file",
    "plan": "cost_estimate",
    "query": "discover",
    "select": "selection",
    "source_series": "related",
    "structures": "concept_keys",
    "viewer_links": "related",
}

__all__ = [
    "BigQueryEngine",
    "CohortSpec",
    "CostEstimate",
    "Library",
    "LocalEngine",
    "Rates",
    "Selection",
    "Sources",
    "changes",
    "estimate",
    "json_schema",
    "listing",
    "load_spec",
    "mirror",
    "mirror_indexes",
    "parse_spec",
    "plan",
    "query",
    "select",
    "source_series",
    "structures",
    "viewer_links",
]


def __getattr__(name: str) -> Any:
    """Import a name from its module on first use: DuckDB, sqlglot and pydantic cost seconds."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
