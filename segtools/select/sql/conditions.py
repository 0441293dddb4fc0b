"""A cohort's filters as conditions of SQL: nodes of the parsed tree, values as parameters.

A query asks for them by a parameter that ``query.yaml`` declares with ``filters: <group>``; here that
parameter becomes the conditions of the keys that are given, TRUE where none is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from segtools.select.filters import CONCEPTS, Filter, filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlglot import exp

Parameters = dict[str, tuple[str, Any]]


def conditions(group: str, values: Mapping[str, Any]) -> tuple[exp.Expr, Parameters]:
    """The condition of all keys of a group that have a value, and its parameters.

    Parameters
    ----------
    group : str
        One of `segtools.select.filters.GROUPS`.
    values : mapping
        Key → value, ``image_<key>`` → value of a key about images; ``exclude_<key>`` → what is left out.
        Ranges are mappings of ``min`` and ``max``.
    """
    from sqlglot import exp

    parts: list[exp.Expr] = []
    parameters: Parameters = {}
    for key, made in filters(group).items():
        if key in CONCEPTS:
            continue
        name = f"image_{key}" if group == "images" else key
        if values.get(name) not in (None, (), []):
            parts.append(_condition(name, made, values[name], parameters))
        if unwanted := values.get(f"exclude_{name}"):
            # A null is not one of the excluded values, so its row stays.
            inner = _condition(f"exclude_{name}", made, unwanted, parameters)
            parts.append(exp.Not(this=exp.Coalesce(this=inner, expressions=[exp.false()])))
    return (exp.and_(*parts) if parts else exp.true()), parameters


def _condition(name: str, made: Filter, value: Any, parameters: Parameters) -> exp.Expr:
    from sqlglot import exp

    column = exp.column(made.column)

    def parameter(suffix: str, kind: str, content: Any) -> exp.Expr:
        key = f"{name}{suffix}"
        parameters[key] = (kind, content)
        return exp.Parameter(this=exp.Var(this=key))

    if made.comparison == "reads_like":
        lower = exp.Lower(this=exp.cast(column, "TEXT"))
        return exp.RegexpLike(this=lower, expression=parameter("", "STRING", reading_like(value)))
    if made.comparison.startswith("any_"):
        return _any(name, made, value, parameters)
    if made.comparison in ("between", "dates"):
        kind = "FLOAT64" if made.comparison == "between" else "STRING"
        parts: list[exp.Expr] = []
        if value.get("min") is not None:
            parts.append(exp.GTE(this=column, expression=parameter("_min", kind, value["min"])))
        if value.get("max") is not None:
            parts.append(exp.LTE(this=column.copy(), expression=parameter("_max", kind, value["max"])))
        return exp.Paren(this=exp.and_(*parts))
    if made.comparison == "after":
        return exp.GT(this=column, expression=parameter("", "INT64", value))
    if made.comparison == "is":
        return exp.EQ(this=column, expression=parameter("", "BOOL", value))
    values = parameter("", "ARRAY<STRING>", list(value))
    return exp.In(this=column, unnest=exp.Unnest(expressions=[values]))


def _any(name: str, made: Filter, value: Any, parameters: Parameters) -> exp.Expr:
    """The comparison of single values, for any item of a list."""
    import sqlglot

    item = Filter("item", "between" if made.comparison == "any_between" else "reads_like")
    condition = _condition(name, item, value, parameters)
    shape = f"EXISTS(SELECT 1 FROM UNNEST({made.column}) AS item WHERE TRUE)"
    exists = sqlglot.parse_one(shape, read="bigquery")
    exists.find(sqlglot.exp.Where).set("this", condition)  # type: ignore[union-attr]
    return exists


def reading_like(patterns: Iterable[str]) -> str:
    """A regular expression (RE2) for whole lower-case texts that equal one of `patterns` or match it.

    Examples
    --------
    >>> reading_like(["T2*", "ADC"])
    '^(?s:t2.*|adc)$'
    """
    pieces = (re.split(r"([*?])", pattern.lower()) for pattern in patterns)
    wild = {"*": ".*", "?": "."}
    return (
        f"^(?s:{'|'.join(''.join(wild.get(part) or re.escape(part) for part in parts) for parts in pieces)})$"
    )
