"""Which text a value may hold (PS3.5 6.2), and the nearest valid one.

`fit` never gives a value that breaks its VR: over-long text is cut, a backslash where it would part
two values becomes a slash, control characters become spaces, dates, times and codes that are none
become nothing. What was changed is said in words, so that a finding can be made of it.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = {"LO": 64, "SH": 16, "CS": 16, "ST": 1024, "LT": 10_240, "UC": 2**20, "UT": 2**20}
_SEVERAL_LINES = frozenset({"ST", "LT", "UT"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_CS = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?")
_AGE = re.compile(r"\d{3}[DWMY]")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,10}")


def fit(vr: str, text: str) -> tuple[str, str | None]:
    """Return a value that `vr` allows, and what had to be changed.

    Parameters
    ----------
    vr : str
        AS, CS, DA, DS, IS, LO, LT, PN, SH, ST, TM, UC, UI or UT.
    text : str
        One value.

    Returns
    -------
    str
        Valid; empty where nothing of the text is.
    str or None
        Words for a finding; None if the text was valid.

    Examples
    --------
    >>> fit("LO", "Kidney")
    ('Kidney', None)
    >>> fit("SH", "left kidney, upper pole")
    ('left kidney, upp', 'it has 23 characters, SH allows 16; cut')
    >>> fit("TM", "24:10")
    ('', "'24:10' is not a TM; left empty")
    """
    if (vr in _LONGEST and vr != "CS") or vr == "PN":
        return _fit_text(vr, text)
    stripped = text.strip(" \0")
    valid = _VALID[vr](stripped)
    if valid is None:
        return "", f"{stripped[:40]!r} is not a {vr}; left empty"
    return valid, None if valid == stripped else f"{stripped[:40]!r} became {valid!r}"


def is_uid(text: str) -> bool:
    """Whether `text` is a UID: numbers without leading zeros, parted by dots, at most 64 characters."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _fit_text(vr: str, text: str) -> tuple[str, str | None]:
    changes = []
    pattern = _CONTROL_IN_LINES if vr in _SEVERAL_LINES else _CONTROL
    fitted = pattern.sub(" ", text)
    if fitted.strip(" ") != text.strip(" \0"):
        changes.append("control characters became spaces")
    if vr not in _SEVERAL_LINES and "\\" in fitted:
        fitted = fitted.replace("\\", "/")
        changes.append("a backslash, which parts two values, became a slash")
    fitted = fitted.rstrip(" ") if vr in _SEVERAL_LINES else fitted.strip(" ")
    if vr == "PN":
        fitted, cut = _fit_name(fitted)
        changes += cut
    elif len(fitted) > _LONGEST[vr]:
        changes.append(f"it has {len(fitted)} characters, {vr} allows {_LONGEST[vr]}; cut")
        fitted = fitted[: _LONGEST[vr]].rstrip(" ")
    return fitted, "; ".join(changes) or None


def _fit_name(text: str) -> tuple[str, list[str]]:
    """At most three groups of at most 64 characters and five components (PS3.5 6.2.1)."""
    groups = ["^".join(group.split("^")[:5])[:64].rstrip(" ^=") for group in text.split("=")[:3]]
    fitted = "=".join(groups).rstrip("=")
    kept = text.rstrip(" ^=")
    return fitted, [] if fitted == kept else [f"{text[:40]!r} is not a PN; cut"]


def _fit_date(text: str) -> str | None:
    if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text):  # ACR-NEMA, PS3.5 6.2 note 1
        text = text.replace(".", "")
    if not re.fullmatch(r"\d{8}", text):
        return None
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
    return text


def _fit_time(text: str) -> str | None:
    if re.fullmatch(r"\d\d(:\d\d){1,2}(\.\d{1,6})?", text):  # ACR-NEMA
        text = text.replace(":", "")
    parts = _TIME.fullmatch(text)
    if parts is None:
        return None
    hour, minute, second = (int(part or 0) for part in parts.groups()[:3])
    return text if hour < 24 and minute < 60 and second <= 60 else None


def _fit_code(text: str) -> str | None:
    code = text.upper().replace("-", "_")
    return code if _CS.fullmatch(code) else None


def _fit_decimal(text: str) -> str | None:
    if not _DECIMAL.fullmatch(text):
        return None
    if len(text) <= 16:
        return text
    from segtools.encode.dicom.elements import decimal

    number = float(text)
    return decimal(number) if number - number == 0 else None


def _fit_integer(text: str) -> str | None:
    if not _INTEGER.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        return None
    return text if len(text) <= 12 else str(int(text))


_VALID: dict[str, Callable[[str], str | None]] = {
    "AS": lambda text: text if _AGE.fullmatch(text) else None,
    "CS": _fit_code,
    "DA": _fit_date,
    "DS": _fit_decimal,
    "IS": _fit_integer,
    "TM": _fit_time,
    "UI": lambda text: text if is_uid(text) else None,
}
