"""A committed table against its declaration in `segtools.schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from segtools.files import only_itself
from segtools.finding import Finding
from segtools.schema import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segtools.dataset.reader import Dataset


def check_table(dataset: Dataset, table: Table) -> list[Finding]:
    """Findings about a table: types, nulls, allowed values, minima, key and order."""
    found: list[Finding] = []
    for path in dataset.table_paths(table.name):
        found += _declaration(path, table)
    if found:
        return found
    found += _values(dataset, table)
    found += _key(dataset, table)
    for path in dataset.table_paths(table.name):
        found += _order(dataset, table, path)
    return found


def _declaration(path: Path, table: Table) -> list[Finding]:
    schema = pq.read_schema(path).remove_metadata()
    if schema.names != list(table.names):
        missing = sorted({*table.names} ^ {*schema.names})
        return [_violation(table, f"has not the declared columns ({', '.join(missing) or 'their order'})")]
    return [
        _violation(table, f"column {c.name} has type {schema.field(c.name).type}, declared is {c.type}")
        for c in table.columns
        if schema.field(c.name).type != c.type
    ]


def _values(dataset: Dataset, table: Table) -> Iterator[Finding]:
    """All columns' rules in one pass over the table."""
    rules = [(column, what, test) for column in table.columns for what, test in _tests(column)]
    counts = ", ".join(f"count(*) FILTER ({test})" for _, _, test in rules)
    if not rules:
        return
    result = dataset.sql(f"SELECT {counts} FROM {table.name}")
    for (column, what, _), broken in zip(rules, result.columns, strict=True):
        if rows := broken[0].as_py():
            yield _violation(table, f"column {column.name} has {rows} rows that are {what}")


def _tests(column: Column) -> Iterator[tuple[str, str]]:
    name = f'"{column.name}"'
    if not column.nullable:
        yield "null", f"{name} IS NULL"
    if column.values:
        allowed = ", ".join(f"'{value}'" for value in column.values)
        yield f"none of {' '.join(column.values)}", f"{name} NOT IN ({allowed})"
    if column.minimum is not None:
        yield f"below {column.minimum:g}", f"{name} < {column.minimum}"
    if str(column.type) in ("double", "float"):
        yield "not finite", f"NOT isfinite({name})"


def _key(dataset: Dataset, table: Table) -> Iterator[Finding]:
    if not table.key:
        return
    key = ", ".join(table.key)
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table.name} GROUP BY {key} HAVING count(*) > 1)"
    if repeated := dataset.sql(query).column(0)[0].as_py():
        yield _violation(table, f"repeats {repeated} values of its key {key}")


def _order(dataset: Dataset, table: Table, path: Path) -> Iterator[Finding]:
    """Count neighbours in the wrong order within a page; null sorts last, as the commit writes it."""
    if not table.order:
        return
    parts = ", ".join(f"({name} IS NULL), {name}" for name in table.order)
    query = (
        f"SELECT count(*) FROM (SELECT row({parts}) AS own,"
        f" lag(row({parts})) OVER (ORDER BY file_row_number) AS before"
        " FROM read_parquet($path, file_row_number = true)) WHERE own < before"
    )
    if displaced := dataset.sql(query, {"path": only_itself(path)}).column(0)[0].as_py():
        yield _violation(table, f"has {displaced} rows out of order")


def _violation(table: Table, what: str) -> Finding:
    return Finding("schema-violation", f"Table {table.name} {what}.", scope="dataset")
