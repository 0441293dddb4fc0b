"""Text from files made fit to be shown: the one place that decides what a terminal or a reader may get.

A label, a file name or a UID may hold what a terminal obeys (ESC, C1), what turns the order of a line
around (bidirectional controls), or what a spreadsheet calculates (``=cmd|…``).
"""

from __future__ import annotations

import json
import re
from typing import Any

_JOINERS = "\u200c\u200d"
"""ZERO WIDTH NON-JOINER and JOINER: part of how Persian, Hindi and emoji are spelled."""
_FORMULA = re.compile(r"[=+\-@]")
_NUMBER = re.compile(r"[+-]?\d[\d.,eE+-]*\Z")


def showable(text: str) -> str:
    r"""Make one line that shows what it says: blanks of any kind are a space, controls are spelled out.

    Examples
    --------
    >>> print(showable("liver\x1b[31m"))
    liver\x1b[31m
    >>> showable("line\nerror [none] all is well")
    'line error [none] all is well'
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return " " if character.isspace() else _spelled(character)


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any, *, default: Any = None, allow_nan: bool = True) -> str:
    """Indented JSON whose strings are the same text, but hold no character that a terminal obeys."""
    text = json.dumps(value, indent=2, default=default, ensure_ascii=False, allow_nan=allow_nan)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" or c in _JOINERS else json.dumps(c)[1:-1] for c in text)


def tsv_cell(value: object) -> str:
    """A cell of a TSV: null is BIDS's ``n/a``; text that a spreadsheet would calculate gets a ``'``."""
    if value is None or value == "":
        return "n/a"
    text = " ".join(showable(str(value)).split())
    is_formula = isinstance(value, str) and _FORMULA.match(text) and not _NUMBER.match(text)
    return f"'{text}" if is_formula else text
