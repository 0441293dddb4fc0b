from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from segtools.run.ledger import Outcome
from segtools.series import SelectedSeries

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def series() -> Callable[..., SelectedSeries]:
    """Series number `n` of a table."""

    def make(n: int, size_bytes: int = 100, url: str = "s3://bucket/u/") -> SelectedSeries:
        return SelectedSeries("phantoms", f"P{n}", "1.2", f"1.2.{n}", f"uuid-{n}", url, size_bytes, 1)

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """Outcome of series number `n`."""

    def make(n: int, **changes: object) -> Outcome:
        row: dict[str, object] = {
            "seg_series_uid": f"1.2.{n}",
            "crdc_series_uuid": f"uuid-{n}",
            "settings_hash": "abc",
            "status": "ok",
            "segment_count": 7,
        }
        return Outcome(**(row | changes))  # type: ignore[arg-type]

    return make
