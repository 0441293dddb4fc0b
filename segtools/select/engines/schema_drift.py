"""Tables whose columns come and go: IDC's releases differ, and so do own indexes.

IDC's export has a column only for attributes that some instance of the release populates, and
SegmentAlgorithmName has been a STRING and an ARRAY<STRING>. Every table is therefore read through
a projection onto the schema that the queries are written for; what is absent reads as null, and is
reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from segtools.errors import SelectError

if TYPE_CHECKING:
    from sqlglot import exp

    from segtools.schema import Table

REQUIRED = {
    "segmentations": ("SeriesInstanceUID", "SOPInstanceUID", "SegmentNumber", "SegmentedPropertyType"),
    "series_index": ("SeriesInstanceUID", "PatientID", "StudyInstanceUID", "Modality", "series_aws_url"),
    "instances": ("SeriesInstanceUID", "aws_url"),
}
"""Columns without which a table is of no use."""


@dataclass(frozen=True)
class Projection:
    """A SELECT list that turns a table into what the queries expect."""

    expressions: tuple[exp.Expr, ...]
    missing: frozenset[str]
    exact: bool
    """The table already is what is expected."""


def project(table: Table, have: pa.Schema, where: str) -> Projection:
    """The projection of a table with schema `have` onto `table`.

    Raises
    ------
    SelectError
        ``table-invalid``: a required column is absent, or one has a type nothing can be made of.
    """
    from sqlglot import exp

    by_name = {name.casefold(): have.field(name) for name in have.names}
    lacking = [name for name in REQUIRED.get(table.name, ()) if name.casefold() not in by_name]
    if lacking:
        raise SelectError(
            "table-invalid", f"{where} lacks the columns {lacking}.", table=table.name, columns=lacking
        )
    missing: set[str] = set()
    expressions = []
    exact = list(have.names) == list(table.names)
    for column in table.columns:
        field = by_name.get(column.name.casefold())
        if field is None:
            missing.add(column.name)
            node: exp.Expr = _null(column.type)
        else:
            node = _fit(exp.column(field.name), column.type, field.type, column.name, where, missing)
        exact = exact and isinstance(node, exp.Column)
        expressions.append(exp.alias_(node, column.name))
    return Projection(tuple(expressions), frozenset(missing), exact)


def _fit(
    node: exp.Expr, want: pa.DataType, have: pa.DataType, name: str, where: str, missing: set[str]
) -> exp.Expr:
    from sqlglot import exp

    types = pa.types
    if types.is_struct(want) and types.is_struct(have):
        return _fit_struct(node, want, have, name, where, missing)
    if types.is_list(want) and _is_list(have):
        return _fit_list(node, want, have, name, missing)
    if types.is_string(want) and _is_list(have) and _is_text(have.value_type):
        return exp.Bracket(this=node, expressions=[exp.Literal.number(0)], offset=0, safe=True)
    if types.is_string(want) and _is_list(have) and _is_number(have.value_type):
        first = exp.Bracket(this=node, expressions=[exp.Literal.number(0)], offset=0, safe=True)
        return exp.cast(first, "TEXT")
    if types.is_string(want) and _is_text(have):
        return node
    if types.is_string(want) and _is_number(have):
        return exp.cast(node, "TEXT")
    if types.is_list(want) and types.is_string(want.value_type) and _is_text(have):
        return exp.Array(expressions=[node])
    if types.is_integer(want) and types.is_integer(have):
        return node if have == want else exp.cast(node, _sql_type(want))
    if types.is_null(have):
        return _null(want)
    raise SelectError("table-invalid", f"{where}: column {name} is {have}, {want} is needed.", column=name)


def _fit_struct(
    node: exp.Expr, want: pa.DataType, have: pa.DataType, name: str, where: str, missing: set[str]
) -> exp.Expr:
    from sqlglot import exp

    there = {field.name: field.type for field in have}
    parts: list[exp.Expr] = []
    same = list(there) == [field.name for field in want]
    for field in want:
        if field.name in there:
            inner = exp.Dot(this=node.copy(), expression=exp.to_identifier(field.name))
            part = _fit(inner, field.type, there[field.name], f"{name}.{field.name}", where, missing)
            same = same and part is inner
        else:
            missing.add(f"{name}.{field.name}")
            part = _null(field.type)
        parts.append(exp.PropertyEQ(this=exp.to_identifier(field.name), expression=part))
    if same:
        return node
    made = exp.Struct(expressions=parts)
    absent = exp.Is(this=node.copy(), expression=exp.Null())
    return exp.Case(ifs=[exp.If(this=absent, true=_null(want))], default=made)


def _fit_list(node: exp.Expr, want: pa.DataType, have: pa.DataType, name: str, missing: set[str]) -> exp.Expr:
    wanted, there = want.value_type, have.value_type
    if wanted == there or (pa.types.is_string(wanted) and _is_text(there)):
        return node
    if pa.types.is_struct(wanted) and pa.types.is_struct(there):
        names = {field.name for field in there}
        absent = [field.name for field in wanted if field.name not in names]
        if not absent:
            return node
        missing.update(f"{name}.{field}" for field in absent)
    else:
        missing.add(name)
    return _null(want)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _null(kind: pa.DataType) -> exp.Expr:
    from sqlglot import exp

    return exp.cast(exp.Null(), _sql_type(kind))


def _sql_type(kind: pa.DataType) -> exp.DataType:
    from sqlglot import exp

    return exp.DataType.build(google_type(kind), dialect="bigquery")


def google_type(kind: pa.DataType) -> str:
    """GoogleSQL name of an Arrow type."""
    if pa.types.is_struct(kind):
        return f"STRUCT<{', '.join(f'{field.name} {google_type(field.type)}' for field in kind)}>"
    if _is_list(kind):
        return f"ARRAY<{google_type(kind.value_type)}>"
    if pa.types.is_integer(kind):
        return "INT64"
    if pa.types.is_floating(kind):
        return "FLOAT64"
    return "BOOL" if pa.types.is_boolean(kind) else "STRING"


def parse_google_type(text: str) -> pa.DataType:
    """Arrow type of a GoogleSQL type, as INFORMATION_SCHEMA writes it."""
    from sqlglot import exp

    return _from_node(exp.DataType.build(text, dialect="bigquery"))


def _from_node(node: exp.DataType) -> pa.DataType:
    from sqlglot import exp

    if node.is_type(exp.DataType.Type.ARRAY, exp.DataType.Type.LIST):
        return pa.list_(_from_node(node.expressions[0]))
    if node.is_type(exp.DataType.Type.STRUCT):
        return pa.struct([(part.name, _from_node(part.args["kind"])) for part in node.expressions])
    if node.is_type(*exp.DataType.INTEGER_TYPES):
        return pa.int64()
    if node.is_type(*exp.DataType.FLOAT_TYPES):
        return pa.float64()
    if node.is_type(exp.DataType.Type.BOOLEAN):
        return pa.bool_()
    return pa.string()
