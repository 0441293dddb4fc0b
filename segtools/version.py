"""The version: read by packaging, ``idcseg --version`` and provenance."""

from __future__ import annotations

__version__ = "0.1.0"

DECODER = f"segtools/{__version__}"
"""Who decoded, as tables and sidecars say it."""
