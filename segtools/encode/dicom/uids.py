"""UIDs that follow from what they are for."""

from __future__ import annotations

from hashlib import sha256


def uid_from(*parts: object) -> str:
    """Return a UID under 2.25 (PS3.5 B.2) that is always the same for the same parts."""
    digest = sha256("\0".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
