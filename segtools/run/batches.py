"""Cutting a selection into batches: the unit that an executor hands to a worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from segtools.series import SelectedSeries

BATCH_BYTES = 2_000_000_000
BATCH_COUNT = 64

SERIES_BYTES = 4_000_000
"""What a series costs beside its bytes, in bytes: its headers, its files, its rows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some series that one worker processes together.

    Attributes
    ----------
    series : tuple of SelectedSeries
    """

    series: tuple[SelectedSeries, ...]

    @property
    def id(self) -> str:
        """16 hex digits: hash of its series' versions; the same series give the same id."""
        digest = hashlib.sha256()
        for one in self.series:
            digest.update(f"{one.seg_series_uid}\0{one.crdc_series_uuid}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """Bytes of its series, and of their images, as the tables state them."""
        images = {image.seg_series_uid: image.size_bytes for one in self.series for image in one.images}
        return sum(one.size_bytes for one in self.series) + sum(images.values())

    @property
    def cost_bytes(self) -> int:
        """What it costs to work through, as bytes of one large series would."""
        return self.size_bytes + SERIES_BYTES * len(self.series)

    def __len__(self) -> int:
        return len(self.series)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches with half of the series each, in order."""
        middle = len(self.series) // 2
        return Batch(self.series[:middle]), Batch(self.series[middle:])


def cut(
    series: Iterable[SelectedSeries], batch_bytes: int = BATCH_BYTES, batch_count: int = BATCH_COUNT
) -> Iterator[Batch]:
    """Cut series, in their order, into batches of at most `batch_bytes` and `batch_count`.

    A series larger than `batch_bytes` is a batch of its own.

    Parameters
    ----------
    series : iterable of SelectedSeries
    batch_bytes : int, bytes
    batch_count : int
    """
    pending: list[SelectedSeries] = []
    total = 0
    for one in series:
        if pending and (len(pending) >= batch_count or total + one.size_bytes > batch_bytes):
            yield Batch(tuple(pending))
            pending, total = [], 0
        pending.append(one)
        total += one.size_bytes
    if pending:
        yield Batch(tuple(pending))
