"""Decide what parameters alone decide, before an engine sees the statement.

A filter that is not set reads ``ARRAY_LENGTH(@collections) = 0 OR collection_id IN
UNNEST(@collections)``. With the empty list that is TRUE whatever the row; saying so here keeps
engines from reading columns for nothing, and BigQuery bills by column. Only the shapes below are
touched, all of them constant in both dialects; no value is ever pasted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlglot import exp

    Parameters = Mapping[str, tuple[str, Any]]


def settle(tree: exp.Query, parameters: Parameters) -> exp.Query:
    """`tree` with its constant conditions folded and the common table expressions they leave unread dropped.

    Parameters
    ----------
    tree : sqlglot.exp.Query
        Changed in place.
    parameters : mapping
        Name → (GoogleSQL type, value).
    """
    from sqlglot import exp

    for node in list(tree.walk(bfs=False)):
        known = _constant(node, parameters)
        if known is not None:
            node.replace(exp.Boolean(this=known))
    for node in reversed(list(tree.walk(bfs=True))):
        folded = _fold(node)
        if folded is not node:
            node.replace(folded)
    for clause in list(tree.find_all(exp.Where, exp.Qualify)):
        if _truth(clause.this) is True:
            clause.pop()
    _drop_unread(tree)
    return tree


def _constant(node: exp.Expr, parameters: Parameters) -> bool | None:
    """Truth value of a condition on a parameter alone, or None."""
    from sqlglot import exp

    if isinstance(node, exp.EQ) and node.expression.sql() == "0":
        side = node.this
        if isinstance(side, exp.ArraySize) and isinstance(side.this, exp.Parameter):
            return len(parameters[side.this.name][1]) == 0
        if isinstance(side, exp.Parameter):
            return bool(parameters[side.name][1] == 0)
    if isinstance(node, exp.Parameter) and parameters[node.name][0] == "BOOL":
        return bool(parameters[node.name][1])
    if isinstance(node, exp.In) and isinstance(unnest := node.args.get("unnest"), exp.Unnest):
        array = unnest.expressions[0]
        if isinstance(array, exp.Parameter) and not parameters[array.name][1]:
            return False  # nothing, not even NULL, is in an empty list
    return None


def _fold(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    if isinstance(node, exp.And | exp.Or):
        decisive = isinstance(node, exp.Or)
        left, right = node.this, node.expression
        if _truth(left) is decisive or _truth(right) is decisive:
            return exp.Boolean(this=decisive)
        if _truth(left) is not None:
            return _condition(right)
        return _condition(left) if _truth(right) is not None else node
    if isinstance(node, exp.Not) and (inner := _truth(node.this)) is not None:
        return exp.Boolean(this=not inner)
    if isinstance(node, exp.Paren | exp.Coalesce) and (inner := _truth(node.this)) is not None:
        return exp.Boolean(this=inner)
    return node


def _condition(node: exp.Expr) -> exp.Expr:
    """`node`, typed; sqlglot's arguments are not."""
    return node


def _truth(node: exp.Expr) -> bool | None:
    from sqlglot import exp

    return bool(node.this) if isinstance(node, exp.Boolean) else None


def _drop_unread(tree: exp.Query) -> None:
    """Remove leading common table expressions that nothing reads any more."""
    from sqlglot import exp

    while (leading := tree.args.get("with_")) is not None:
        read = {table.name for table in tree.find_all(exp.Table) if not table.db}
        unread = [cte for cte in leading.expressions if cte.alias not in read]
        if not unread:
            return
        for cte in unread:
            cte.pop()
        if not leading.expressions:
            leading.pop()
