"""GoogleSQL to what an engine runs: queries read as tables, physical names, the other dialect.

Nothing is pasted into SQL text: values travel as parameters, names are nodes of the parsed tree. A
table name stands for, in this order: a table that the engine has, another query of the library
(it becomes a common table expression), or nothing (``query-invalid``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from segtools.errors import QueryError
from segtools.select.sql.conditions import conditions
from segtools.select.sql.constant_folding import settle
from segtools.terminology.names import close_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlglot import exp

    from segtools.select.sql.library import Library, Parameter, Query

Dialect = Literal["bigquery", "duckdb"]

LONGEST_INLINE_LIST = 1000

CHOSEN = "chosen"
"""Name under which `series` reads a user's own query."""


@dataclass(frozen=True)
class Statement:
    """SQL for one engine with its parameters."""

    query: str
    sql: str
    parameters: Mapping[str, tuple[str, Any]]
    """Name → (GoogleSQL type, value)."""

    @property
    def sha256(self) -> str:
        """Hash of the SQL text (parameters are not part of it)."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def values(self) -> dict[str, Any]:
        """Name → value."""
        return {name: value for name, (_, value) in self.parameters.items()}


def statement(
    query: Query,
    values: Mapping[str, Any],
    library: Library,
    relation: Callable[[str], exp.Expr | None],
    dialect: Dialect,
) -> Statement:
    """`query` as one statement of `dialect`.

    Parameters
    ----------
    query : Query
    values : mapping
        Parameter values; those not declared by the query or a query it reads are left out, those
        absent take their default.
    library : Library
        The queries that may be read as tables.
    relation : callable
        Table name → its node for this engine, or None where the engine lacks it.
    dialect : {"bigquery", "duckdb"}

    Raises
    ------
    QueryError
        ``query-invalid``.
    """
    from sqlglot import exp

    tree, used = _expand(query, library, relation)
    declared = {parameter.name: parameter for part in used for parameter in part.parameters}
    parameters = _put_conditions(tree, declared, values)
    for name in sorted({node.name for node in tree.find_all(exp.Parameter)} - parameters.keys()):
        parameter = declared.get(name)
        if parameter is None:
            raise _invalid(query, f"@{name} is not declared in query.yaml")
        if name not in values and not parameter.has_default:
            raise _invalid(query, f"parameter @{name} has no value")
        parameters[name] = (parameter.type, parameter.check(values.get(name, parameter.default)))
    tree = settle(tree, parameters)
    if dialect == "duckdb":
        tree, parameters = _for_duckdb(tree, parameters)
    read = {node.name for node in tree.find_all(exp.Parameter)}
    parameters = {name: entry for name, entry in parameters.items() if name in read}
    return Statement(query.name, tree.sql(dialect=dialect, pretty=True), parameters)


def _put_conditions(
    tree: exp.Query, declared: Mapping[str, Parameter], values: Mapping[str, Any]
) -> dict[str, tuple[str, Any]]:
    """Put the cohort's filters where `tree` asks for them; their parameters."""
    from sqlglot import exp

    parameters: dict[str, tuple[str, Any]] = {}
    for node in list(tree.find_all(exp.Parameter)):
        asked = declared.get(node.name)
        if asked is not None and asked.filters:
            condition, added = conditions(asked.filters, values)
            parameters |= added
            node.replace(exp.Paren(this=condition))
    return parameters


def parse(query: Query) -> exp.Query:
    """The tree of one SELECT; anything else is refused.

    Raises
    ------
    QueryError
        ``query-invalid``.
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        trees = _parsed(query.sql)
    except SqlglotError as error:
        first = str(error).splitlines()[0]
        raise _invalid(query, f"no GoogleSQL: {first}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise _invalid(query, "query.sql must be one SELECT")
    tree = trees[0].copy()
    for forbidden in (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Placeholder):
        for node in tree.find_all(forbidden):
            if not isinstance(node, exp.Query):
                raise _invalid(query, f"not allowed in a query: {node.sql('bigquery')[:80]}")
    return tree


@lru_cache(maxsize=64)
def _parsed(sql: str) -> tuple[exp.Expr | None, ...]:
    import sqlglot

    return tuple(sqlglot.parse(sql, read="bigquery"))


def _expand(
    query: Query, library: Library, relation: Callable[[str], exp.Expr | None]
) -> tuple[exp.Query, list[Query]]:
    """The tree with engine tables in place and the queries it reads as leading CTEs."""
    from sqlglot import exp

    order: list[tuple[str, exp.Query]] = []
    used: list[Query] = []
    busy: list[str] = []

    def visit(part: Query) -> exp.Query:
        tree = parse(part)
        used.append(part)
        local = {cte.alias for cte in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            if table.db or not isinstance(table.this, exp.Identifier):
                raise _invalid(part, f"{table.sql('bigquery')[:80]} is not a logical table")
            name = table.name
            if name in local:
                if name in library:
                    raise _invalid(part, f"the name {name!r} is taken by a query of the library")
                continue
            node = relation(name)
            if node is not None:
                replace_table(table, node)
            elif name in library:
                depend(name, part)
            else:
                close = close_matches(name, library)
                raise _invalid(
                    part, f"unknown table {name!r}" + (f" (near: {', '.join(close)})" if close else "")
                )
        return tree

    def depend(name: str, reader: Query) -> None:
        if name in busy or name == query.name:
            raise _invalid(reader, f"the queries {[*busy, name]} read each other in a circle")
        if name not in [known for known, _ in order]:
            busy.append(name)
            tree = visit(library[name])
            busy.pop()
            order.append((name, tree))

    tree = visit(query)
    own = tree.args.get("with_")
    ctes = [exp.CTE(this=part, alias=exp.TableAlias(this=exp.to_identifier(name))) for name, part in order]
    if ctes:
        existing = own.expressions if own is not None else []
        tree.set("with_", exp.With(expressions=[*ctes, *existing]))
    return tree, used


def no_rows(query: Query) -> exp.Query:
    """A SELECT with the columns that `query` declares and no rows, for an engine without its tables."""
    from sqlglot import exp

    columns = [
        exp.alias_(exp.cast(exp.Null(), exp.DataType.build(kind, dialect="bigquery")), name)
        for name, kind in query.columns.items()
    ]
    nothing = exp.Unnest(
        expressions=[exp.cast(exp.Array(), exp.DataType.build("ARRAY<INT64>", dialect="bigquery"))]
    )
    return exp.select(*columns).from_(exp.alias_(nothing, "nothing", table=True))


def replace_table(table: exp.Table, node: exp.Expr) -> None:
    """Put `node` where `table` stands, under the name it is known by."""
    from sqlglot import exp

    name = table.alias or table.name
    replacement = node.copy()
    if isinstance(replacement, exp.Table):
        replacement.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
    else:
        replacement = exp.Subquery(this=replacement, alias=exp.TableAlias(this=exp.to_identifier(name)))
    for join in table.args.get("joins") or ():
        replacement.append("joins", join)
    table.replace(replacement)


def _for_duckdb(
    tree: exp.Query, parameters: dict[str, tuple[str, Any]]
) -> tuple[exp.Query, dict[str, tuple[str, Any]]]:
    """Rewrite what DuckDB would take otherwise, or slowly.

    ``x IN UNNEST(@list)`` becomes ``x IN ($list__0, $list__1)``, which DuckDB pushes down to the
    Parquet reader, or for a long list a subquery, which is a hash lookup; both have the same
    three-valued meaning. An empty list has no type of its own there, so parameters are cast.
    """
    from sqlglot import exp

    expanded = dict(parameters)
    for node in list(tree.find_all(exp.In)):
        unnest = node.args.get("unnest")
        if not isinstance(unnest, exp.Unnest) or not isinstance(unnest.expressions[0], exp.Parameter):
            continue
        array = unnest.expressions[0]
        kind, values = parameters[array.name]
        node.set("unnest", None)
        if 0 < len(values) <= LONGEST_INLINE_LIST:
            items = {f"{array.name}__{number}": value for number, value in enumerate(values)}
            expanded |= {name: (kind[6:-1], value) for name, value in items.items()}
            node.set("expressions", [exp.Parameter(this=exp.Var(this=name)) for name in items])
        else:
            node.set("query", exp.Subquery(this=exp.select(exp.Explode(this=array.copy()))))
    for parameter in list(tree.find_all(exp.Parameter)):
        declared = exp.DataType.build(expanded[parameter.name][0], dialect="bigquery")
        parameter.replace(exp.cast(parameter.copy(), declared))
    return tree, expanded


def _invalid(query: Query, message: str) -> QueryError:
    return QueryError("query-invalid", f"Query {query.name!r}: {message}.", query=query.name)
