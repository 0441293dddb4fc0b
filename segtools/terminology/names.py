"""Words as names: slugs, patterns of names, close matches."""

from __future__ import annotations

import difflib
import re
import unicodedata
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATTERN = re.compile(r"[*?]")


def slug(text: str) -> str:
    """Lower-case ASCII words joined by ``_``; empty where no ASCII letter or digit is left.

    Examples
    --------
    >>> slug("Neoplasm, Primary")
    'neoplasm_primary'
    >>> slug("Côlon ascendant")
    'colon_ascendant'
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    # NFKD gives capitals for a few signs ("™" is "TM"), hence lower() after it.
    return re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")


def is_pattern(name: str) -> bool:
    """Whether a name has a wildcard: ``*`` any characters, ``?`` one."""
    return _PATTERN.search(name) is not None


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern stands for, sorted; case, spaces and underscores do not count.

    Examples
    --------
    >>> matching("tcga_*", ["nlst", "tcga_brca", "TCGA LUAD"])
    ['TCGA LUAD', 'tcga_brca']
    """
    # Each piece between wildcards becomes a slug, but keeps the "_" at its ends: "tcga_*" is not "tcga*".
    pieces = re.split(r"([*?])", pattern)
    folded = "".join(piece if piece in ("*", "?") else _folded(piece) for piece in pieces)
    compiled = re.compile(translate(folded))
    return sorted(name for name in set(names) if compiled.match(_folded(name)))


def close_matches(name: str, names: Iterable[str], limit: int = 5) -> list[str]:
    """The names most like `name`, best first; case, spaces and underscores do not count."""
    wanted = slug(name)
    known: dict[str, str] = {}
    for candidate in names:
        known.setdefault(slug(candidate), candidate)
    close = difflib.get_close_matches(wanted, known, n=limit, cutoff=0.6)
    inside = sorted(
        (k for k in known if wanted and k not in close and wanted in k), key=lambda k: (len(k), k)
    )
    return [known[key] for key in (*close, *inside)[:limit]]


def did_you_mean(close: Iterable[str]) -> str | None:
    """The hint with close matches; None where there are none."""
    text = ", ".join(close)
    return f"Did you mean {text}?" if text else None


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", plain.lower())
