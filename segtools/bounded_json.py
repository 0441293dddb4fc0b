"""JSON from outside, read within bounds: nesting and numbers."""

from __future__ import annotations

import json
from typing import Any

_LONGEST_NUMBER = 64
_LARGEST = 2**64


def load_json(raw: bytes | str) -> Any:
    """Plain value of a JSON text.

    Raises
    ------
    ValueError
        Whatever is wrong with it, deep nesting and numbers of more than 64 bits too.
    """
    try:
        return json.loads(raw, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _integer(text: str) -> int:
    value = int(text) if len(text) <= _LONGEST_NUMBER else _LARGEST
    if not -_LARGEST < value < _LARGEST:
        raise ValueError("a number needs more than 64 bits")
    return value
