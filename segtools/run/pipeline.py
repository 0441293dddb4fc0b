"""What a worker does with a batch: the next download runs while this one is decoded and written.

::

    plan all ─ fetch 1 ─┬─ fetch 2 ─┬─ fetch 3 ─┬─
                        └─ process 1 ┴─ process 2 ┴─ process 3

The first chunks are small, so that processing starts soon. Raw files go as soon as `process` returns,
which is when their outputs are durable; files of a local archive are read in place and stay.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segtools.errors import FetchError
from segtools.fetch.transfer import plan_batch, transfer
from segtools.run.inspect import inspect_dicom
from segtools.run.scratch import Canceled, Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from segtools.fetch.plan import DownloadPlan
    from segtools.objectstore.s5cmd import FetchOptions
    from segtools.run.batches import Batch
    from segtools.run.scratch import Lease
    from segtools.series import FetchedSeries, SelectedSeries

T = TypeVar("T")

_FIRST_CHUNKS = 3
_IMAGE_MEMORY = 6
"""Bytes of memory per byte of an image series: float32 of 16-bit values that were halved losslessly."""


@dataclass(frozen=True)
class PipelineOptions:
    """Limits of the pipeline in one worker.

    Attributes
    ----------
    scratch : Path
        Folder for raw files, on a local disk; shared by all workers of the machine.
    disk_budget_bytes : int, bytes
        Never exceeded by all workers of the machine together.
    memory_budget_bytes : int or None, bytes
        Of this process: series are not processed at once whose estimates exceed it together.
    decoders : int
        Series processed at a time.
    chunk_bytes : int, bytes
        Size of a download.
    """

    scratch: Path
    disk_budget_bytes: int = 20_000_000_000
    memory_budget_bytes: int | None = None
    decoders: int = 1
    chunk_bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class Processed(Generic[T]):
    """What `process` returned for a series, and the time it took.

    Attributes
    ----------
    result : object
    seconds_fetch : float, s
        Its share, by bytes, of the download it came with.
    seconds_process : float, s
    """

    result: T
    seconds_fetch: float
    seconds_process: float


class Pipeline(Generic[T]):
    """Fetch and process the series of a batch; an object to be handed to `run_batches`.

    Parameters
    ----------
    process : callable
        Decodes and writes one fetched series; returns when its outputs are durable. Gets a series
        that could not be fetched too, with its `error`.
    fetch : FetchOptions
    options : PipelineOptions
    estimate : callable
        Bytes of memory that `process` takes for a series; asked only where there is a budget.
    convert : callable, optional
        Does the same with a fetched image series, for nothing in return; each once, and before the series
        that were drawn on it.
    """

    def __init__(
        self,
        process: Callable[[FetchedSeries], T],
        fetch: FetchOptions,
        options: PipelineOptions,
        estimate: Callable[[FetchedSeries], int],
        convert: Callable[[FetchedSeries], None] | None = None,
    ) -> None:
        self.process = process
        self.estimate = estimate
        self.convert = convert
        self.fetch = fetch
        self.options = options
        self._is_canceled = False
        self._stops: set[threading.Event] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.process, self.fetch, self.options, self.estimate, self.convert)

    def cancel(self) -> None:
        """End running downloads and start nothing new; batches under way end with `Canceled`."""
        self._is_canceled = True
        for stop in list(self._stops):
            stop.set()

    def __call__(self, batch: Batch) -> list[Processed[T]]:
        """The results of all series of the batch, in its order.

        Raises
        ------
        EnvironmentProblem
            ``disk-full``, ``network-unavailable``, ``s5cmd-missing``.
        WriteError
            ``write-failed``.
        Canceled
            `cancel` was called.
        """
        stop = threading.Event()
        self._stops.add(stop)
        try:
            if self._is_canceled:
                raise Canceled
            with Scratch(self.options.scratch, self.options.disk_budget_bytes).lease() as lease:
                wanted = frozenset(series.seg_series_uid for series in batch.series)
                return self._overlapped(self._plan(batch, lease, stop), lease, stop, wanted)
        finally:
            self._stops.discard(stop)

    def _plan(self, batch: Batch, lease: Lease, stop: threading.Event) -> list[DownloadPlan]:
        images = _images_first(batch.series) if self.convert is not None else list(batch.series)
        plans = plan_batch(images, lease.folder, self.fetch, stop)
        for plan in plans:
            if plan.error is None and plan.size_bytes > self.options.disk_budget_bytes:
                budget = f"the disk budget is {self.options.disk_budget_bytes}."
                plan.error = FetchError(
                    "exceeds-disk-budget",
                    f"{plan.series.series_url} has {plan.size_bytes} bytes, {budget}",
                    seg_series_uid=plan.series.seg_series_uid,
                )
        return plans

    def _overlapped(
        self, plans: Sequence[DownloadPlan], lease: Lease, stop: threading.Event, wanted: frozenset[str]
    ) -> list[Processed[T]]:
        processed: list[Processed[T]] = []
        fetcher = ThreadPoolExecutor(1, "fetch")
        decoders = ThreadPoolExecutor(self.options.decoders, "decode")
        try:
            chunks = self._chunks(plans)
            ahead: Future[list[_Arrived]] | None = fetcher.submit(self._fetch, next(chunks), lease, stop)
            while ahead is not None:
                arrived = ahead.result()
                chunk = next(chunks, None)
                ahead = None if chunk is None else fetcher.submit(self._fetch, chunk, lease, stop)
                of_images = [one for one in arrived if one.fetched.series.seg_series_uid not in wanted]
                list(decoders.map(self._convert, of_images, repeat(lease)))
                of_masks = [one for one in arrived if one.fetched.series.seg_series_uid in wanted]
                processed += decoders.map(self._process, of_masks, repeat(lease))
        except BaseException:
            stop.set()
            raise
        finally:
            decoders.shutdown(cancel_futures=True)
            fetcher.shutdown(cancel_futures=True)
        return processed

    def _chunks(self, plans: Sequence[DownloadPlan]) -> Iterator[list[DownloadPlan]]:
        """Cut so that two chunks fit into the disk budget, starting small."""
        chunk: list[DownloadPlan] = []
        total = number = 0
        for plan in plans:
            limit = self.options.chunk_bytes >> max(0, _FIRST_CHUNKS - number)
            if chunk and total + plan.size_bytes > min(limit, self.options.disk_budget_bytes // 2):
                yield chunk
                chunk, total, number = [], 0, number + 1
            chunk.append(plan)
            total += plan.size_bytes
        yield chunk

    def _fetch(self, chunk: list[DownloadPlan], lease: Lease, stop: threading.Event) -> list[_Arrived]:
        granted = [plan.size_bytes if plan.error is None else 0 for plan in chunk]
        lease.grow(sum(granted), stop)
        start = time.monotonic()
        fetched = transfer(chunk, self.fetch, stop, inspect_dicom)
        if stop.is_set():
            raise Canceled
        pace = (time.monotonic() - start) / max(1, sum(granted))
        return [
            _Arrived(plan.folder, one, size, round(size * pace, 6))
            for plan, one, size in zip(chunk, fetched, granted, strict=True)
        ]

    def _convert(self, arrived: _Arrived, lease: Lease) -> None:
        assert self.convert is not None  # noqa: S101 - no image is planned otherwise
        size = sum(file.stat().st_size for file in arrived.fetched.files)
        with _memory(self.options.memory_budget_bytes).taken(size * _IMAGE_MEMORY):
            self.convert(arrived.fetched)
        shutil.rmtree(arrived.folder, ignore_errors=True)
        lease.shrink(arrived.granted_bytes)

    def _process(self, arrived: _Arrived, lease: Lease) -> Processed[T]:
        budget = self.options.memory_budget_bytes
        need = 0 if budget is None else self.estimate(arrived.fetched)
        with _memory(budget).taken(need):
            start = time.monotonic()
            result = self.process(arrived.fetched)
            seconds = time.monotonic() - start
        shutil.rmtree(arrived.folder, ignore_errors=True)
        lease.shrink(arrived.granted_bytes)
        return Processed(result, arrived.seconds_fetch, round(seconds, 6))


def _images_first(series: Sequence[SelectedSeries]) -> list[SelectedSeries]:
    """The series of a batch, each behind the images it was drawn on; each image series once."""
    ordered: dict[str, SelectedSeries] = {}
    for one in series:
        for each in (*one.images, one):
            ordered.setdefault(each.seg_series_uid, each)
    return list(ordered.values())


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A fetched series, its own folder, the bytes granted for it and its share of the time."""

    folder: Path
    fetched: FetchedSeries
    granted_bytes: int
    seconds_fetch: float


class _MemoryBudget:
    """Estimated bytes in use by this process; an estimate above the limit waits to be alone."""

    def __init__(self, limit_bytes: float) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0.0
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, size_bytes: int) -> Iterator[None]:
        size = min(size_bytes, self.limit_bytes)
        with self.changed:
            self.changed.wait_for(lambda: self.used_bytes + size <= self.limit_bytes)
            self.used_bytes += size
        try:
            yield
        finally:
            with self.changed:
                self.used_bytes -= size
                self.changed.notify_all()


@cache
def _memory(limit_bytes: int | None) -> _MemoryBudget:
    """One per process, however often the pipeline was unpickled in it."""
    return _MemoryBudget(math.inf if limit_bytes is None else limit_bytes)
