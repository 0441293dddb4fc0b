"""How the report writes numbers, and what it does to strings of strangers before they are escaped."""

from __future__ import annotations

import math
import re
from urllib.parse import quote

from markupsafe import Markup, escape

from segtools.showable import showable

MAXIMUM_TEXT = 160
"""Characters of a string from the dataset that are shown."""


def count(number: int) -> str:
    """Write a number with thousands separated: 126,051."""
    return f"{number:,}"


def size(number: int) -> str:
    """Write bytes in decimal units, as object stores bill them: 14.2 TB."""
    value, units = float(number), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{_three_digits(value)}\N{NO-BREAK SPACE}{units[0]}"


def milliliters(volume_ml: float) -> str:
    """Write a volume with three significant digits, never with an exponent."""
    return _three_digits(volume_ml)


def _three_digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    text = f"{value:.{min(decimals, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(text: str | None, limit: int = MAXIMUM_TEXT) -> str:
    """Cut a stranger's string to `limit` characters, `segtools.showable`; escaping is the template's job."""
    if text is None:
        return ""
    text = " ".join(showable(text[: 4 * limit]).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def prose(sentence: str) -> Markup:
    """Turn the `backticks` of our own sentences into code; the rest is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))  # noqa: S704 - escaped


def doi_url(doi: str) -> str | None:
    """Make the link of a DOI, or None for what is no DOI."""
    name = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", doi.strip(), flags=re.IGNORECASE)
    if re.fullmatch(r"10\.\d{4,9}/[^\s<>\"']{1,200}", name) is None:
        return None
    return f"https://doi.org/{quote(name, safe='/.:;()_-')}"
