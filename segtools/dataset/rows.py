"""Rows of a dataset's tables as people hold them: dicts, pandas, polars, Arrow, named tuples.

Each library marks a missing value its own way (None, NaN, NaT, NA) and pandas turns an integer column
with a gap into floats, so a row is put into plain Python before anything is read from it.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from segtools.errors import UsageError

Row = dict[str, Any]
"""A row in plain Python; what is missing is None."""


def as_row(value: object, wanted: str) -> Row:
    """The row that `value` is.

    Parameters
    ----------
    value : object
        A mapping, a named tuple, a pandas Series, an Arrow struct, or a table or frame with one row.
    wanted : str
        What the caller takes, for the message: ``"a segment_id or a row of the segments table"``.

    Raises
    ------
    UsageError
        ``argument-invalid``: no row, or more than one.
    """
    row = _mapping(value)
    if row is None:
        rows = _records(value)
        if rows is None:
            raise UsageError(
                "argument-invalid", f"{wanted} is needed, not {type(value).__name__} {_short(value)}."
            )
        if len(rows) != 1:
            raise UsageError(
                "argument-invalid",
                f"{wanted} is needed; this {type(value).__name__} has {len(rows)} rows.",
                hint="Give one row: loop over `to_pylist()`, `to_dict('records')` or `rows(named=True)`.",
            )
        row = rows[0]
    return {str(name): _plain(cell) for name, cell in row.items()}


def text(row: Row, name: str) -> str | None:
    """A text cell; None where it is missing.

    Raises
    ------
    UsageError
        ``argument-invalid``: the cell holds something else.
    """
    cell = row.get(name)
    if cell is None or isinstance(cell, str):
        return cell or None
    raise UsageError("argument-invalid", f"{name} of the row is {_short(cell)}; it is a text.")


def integer(row: Row, name: str) -> int | None:
    """A whole number, also where a library made it a float; None where it is missing.

    Raises
    ------
    UsageError
        ``argument-invalid``: the cell holds something else.
    """
    cell = row.get(name)
    if cell is None:
        return None
    if isinstance(cell, numbers.Real) and float(cell).is_integer():
        return int(float(cell))
    raise UsageError("argument-invalid", f"{name} of the row is {_short(cell)}; it is a whole number.")


def as_text(value: object) -> str | None:
    """`value`, where it is text: a str, or an Arrow or NumPy scalar that holds one."""
    plain = value.as_py() if hasattr(value, "as_py") else value
    return str(plain) if isinstance(plain, str) else None


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    if hasattr(value, "as_py"):  # an Arrow struct; it is a Mapping of scalars
        value = value.as_py()
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        named: dict[str, Any] = value._asdict()
        return named
    if getattr(value, "ndim", None) == 1 and hasattr(value, "to_dict"):  # a pandas Series
        series: dict[Any, Any] = value.to_dict()
        return series
    return None


def _records(value: Any) -> list[Mapping[Any, Any]] | None:
    for method, arguments in (("to_pylist", ()), ("to_dicts", ()), ("to_dict", ("records",))):
        if hasattr(value, method) and hasattr(value, "columns"):
            records: list[Mapping[Any, Any]] = getattr(value, method)(*arguments)
            return records
    return None


def _plain(cell: Any) -> Any:
    if hasattr(cell, "as_py"):
        cell = cell.as_py()
    if type(cell).__name__ in ("NAType", "NaTType"):  # pandas; comparing NA with itself gives NA
        return None
    if isinstance(cell, numbers.Real) and cell != cell:
        return None
    return cell


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
