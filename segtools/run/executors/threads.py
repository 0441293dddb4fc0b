"""Executors within this process: one batch after the other, or threads."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from segtools.run.executors.base import Function, guarded

if TYPE_CHECKING:
    from segtools.run.batches import Batch
    from segtools.run.executors.base import ExecutorOptions


class SerialExecutor:
    """One batch after the other, in this thread."""

    window = 1

    def __init__(self, function: Function, _: ExecutorOptions) -> None:
        self.function = function
        self.batches: list[Batch] = []

    def submit(self, batch: Batch) -> None:
        """Hand a batch to a worker."""
        self.batches.append(batch)

    def wait(self) -> list[tuple[Batch, Any]]:
        """Wait for at least one answer."""
        batch = self.batches.pop()
        return [(batch, guarded(self.function, batch))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class ThreadExecutor:
    """Threads of this process."""

    def __init__(self, function: Function, options: ExecutorOptions) -> None:
        self.function = function
        self.window = options.window or options.workers
        self.pool = ThreadPoolExecutor(options.workers, thread_name_prefix="batch")
        self.done: queue.SimpleQueue[tuple[Batch, Future[Any]]] = queue.SimpleQueue()

    def submit(self, batch: Batch) -> None:
        """Hand a batch to a worker."""
        future = self.pool.submit(guarded, self.function, batch)
        future.add_done_callback(lambda done: self.done.put((batch, done)))

    def wait(self) -> list[tuple[Batch, Any]]:
        """Wait for at least one answer."""
        batch, future = self.done.get()
        return [(batch, future.result())]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and hasattr(self.function, "cancel"):
            self.function.cancel()
        self.pool.shutdown(wait=True, cancel_futures=True)
