"""What a licence allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def is_noncommercial(license_name: str | None) -> bool:
    """Whether a licence's short name says NC: "CC BY-NC 4.0"."""
    words = (license_name or "").upper().replace("-", " ").split()
    return "NC" in words or "NONCOMMERCIAL" in words
