"""What there is to choose from: names with counts, tables with columns, and any query over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa

from segtools import schema
from segtools.errors import UsageError
from segtools.select.concept_keys import require_segments, structures
from segtools.select.engines.schema_drift import google_type
from segtools.select.sql.library import Library, Query
from segtools.terminology.names import close_matches, is_pattern, matching, slug

if TYPE_CHECKING:
    from typing import Any

    from segtools.select.engines.base import Engine, Session
    from segtools.select.engines.sources import Sources

Listed = Literal[
    "collections",
    "analysis-results",
    "licenses",
    "dois",
    "cancer-types",
    "tumor-locations",
    "species",
    "algorithms",
    "structures",
    "columns",
]
LISTED: tuple[str, ...] = get_args(Listed)

BASE_TABLES = (schema.IDC_SERIES, schema.IDC_SEGMENTATIONS, schema.IDC_IMAGES, schema.IDC_INSTANCES)
"""The tables that all queries rest on, as every source has them."""

_AD_HOC = "query"


def listing(
    what: str,
    sources: Sources,
    engine: Engine,
    like: str | None = None,
    idc_version: int | str = "latest",
) -> pa.Table:
    """Names that a cohort file can use, with counts, the most frequent first.

    Parameters
    ----------
    what : str
        One of `LISTED`.
    sources, engine
    like : str, optional
        Only names that contain or resemble this, or match it as a pattern.

    Raises
    ------
    UsageError
        ``filter-invalid``: there is no such list.
    SelectError
        ``source-missing``: no source has segments, which algorithms and structures need.
    """
    if what not in LISTED:
        close = close_matches(what, LISTED)
        raise UsageError(
            "filter-invalid",
            f"There is no list {what!r}.",
            hint=f"Did you mean {', '.join(close)}?" if close else f"There are {', '.join(LISTED)}.",
            near=close,
        )
    if what == "structures":
        return structures(sources, engine, like, idc_version)
    if what == "columns":
        return _like(columns(Library()), "column", like)
    with engine.open(sources, idc_version) as session:
        if what == "algorithms":
            require_segments(session, "The list of algorithms")
            table = session.run("algorithms", _release(session), Library()).table
            return _like(table, "algorithm_name", like)
        table = session.run("series_terms", _release(session), Library()).table
    kind = what.replace("-", "_")
    rows = [row for row in table.to_pylist() if row["kind"] == kind]
    rows.sort(key=lambda row: (-row["series_count"], row["term"]))
    names = pa.array([row["term"] for row in rows], pa.string())
    counts = pa.array([row["series_count"] for row in rows], pa.int64())
    return _like(pa.table({"name": names, "series_count": counts}), "name", like)


def columns(library: Library) -> pa.Table:
    """Every table that a query may read, with its columns and their GoogleSQL types."""
    rows = [
        {"table": table.name, "column": column.name, "type": google_type(column.type)}
        for table in BASE_TABLES
        for column in table.columns
    ]
    known = {table.name for table in BASE_TABLES}
    rows += [
        {"table": name, "column": column, "type": kind}
        for name in library
        if name not in known
        for column, kind in library[name].columns.items()
    ]
    names = ("table", "column", "type")
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))


def query(sql: str, sources: Sources, engine: Engine, idc_version: int | str = "latest") -> pa.Table:
    """The rows of a query over the logical tables (`docs/tables.md`).

    Parameters
    ----------
    sql : str
        One SELECT in GoogleSQL.
    sources, engine

    Raises
    ------
    QueryError
        ``query-invalid``: it is no SELECT, or reads what is no logical table.
    SelectError
        ``query-too-expensive``, ``table-invalid``.
    """
    library = Library().with_query(Query(_AD_HOC, sql), _AD_HOC)
    with engine.open(sources, idc_version) as session:
        return session.run(_AD_HOC, _release(session), library).table


def _release(session: Session) -> dict[str, Any]:
    version = session.facts.idc_version
    return {} if version is None else {"idc_version": version}


def _like(table: pa.Table, column: str, like: str | None) -> pa.Table:
    if like is None:
        return table
    names = [name or "" for name in table[column].to_pylist()]
    if is_pattern(like):
        wanted = set(matching(like, names))
    else:
        wanted = {name for name in names if slug(like) in slug(name)}
        wanted = wanted or set(close_matches(like, names, limit=20))
    return table.filter(pa.array([name in wanted for name in names], pa.bool_()))
