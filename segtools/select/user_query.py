"""A query of the user's own, made safe to stand beside ours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segtools.select.sql.library import Query

if TYPE_CHECKING:
    pass


QUERY_PREFIX = "query_"


def prefixed(query: Query) -> Query:
    """The user's query with its parameters renamed, so that none can meet one of ours."""
    from sqlglot import exp

    from segtools.select.sql.statement import parse

    tree = parse(query)
    for node in tree.find_all(exp.Parameter):
        node.set("this", exp.Var(this=f"{QUERY_PREFIX}{node.name}"))
    parameters = tuple(replace(item, name=f"{QUERY_PREFIX}{item.name}") for item in query.parameters)
    return replace(query, sql=tree.sql(dialect="bigquery"), parameters=parameters)
