from __future__ import annotations

from tests.factories.buckets import options, s3, select

__all__ = ["options", "s3", "select"]
