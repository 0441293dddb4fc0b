"""Batches over threads, processes or a Dask cluster: in completion order, surviving dead workers.

The one loop here keeps a bounded number of batches in flight, hands each result on and forgets it, and
halves a batch that killed its worker (or raised) until one series is left. The last batches are halved
too, so that no worker idles while another has a whole one before it. A worker may also die of
something else, or of what another thread of it does; so a series whose worker died is run once more at
the end, with nothing else in flight, and blamed only if it happens again. How a batch reaches a worker
is an `Executor`; see `segtools.run.executors.processes`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from segtools.errors import EnvironmentProblem, RunError, SegtoolsError, WriteError
from segtools.run.executors.base import ExecutorOptions, WorkerDied
from segtools.run.executors.open import open_executor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from segtools.run.batches import Batch

T = TypeVar("T")

_AHEAD = 4
"""Batches per one in flight that are looked at ahead, to see the end coming."""

_SHARES = 2
"""A batch near the end is at most this part of what each worker still has to do."""

_SHARE_BYTES = 100_000_000
"""Smaller ones would cost more than they save."""


@dataclass(frozen=True, slots=True)
class Completed(Generic[T]):
    """The result of a batch, or its error.

    Attributes
    ----------
    batch : Batch
        As handed in, or a part of it where it was halved.
    result : object or None
    error : SegtoolsError or None
        An EnvironmentProblem or WriteError may come with a batch of any length: it is nobody's fault
        there and the run had better stop. Any other comes with the one series that causes it.
    """

    batch: Batch
    result: T | None = None
    error: SegtoolsError | None = None


def run_batches(
    function: Callable[[Batch], T], batches: Iterable[Batch], options: ExecutorOptions
) -> Generator[Completed[T], None, None]:
    """Run `function` on each batch; results in order of completion.

    Who stops before the last one closes it: its workers end then.

    Parameters
    ----------
    function : callable
        Must pickle for processes and Dask. Runs again on parts of a batch after a worker's death, so
        it must not mind repetition. A method ``cancel()`` of it is called when a run on threads is
        given up.
    batches : iterable of Batch
        Consumed as workers become free.
    options : ExecutorOptions

    Yields
    ------
    Completed

    Raises
    ------
    RunError
        ``internal``: workers do not start.
    EnvironmentProblem
        ``network-unavailable``: the Dask scheduler cannot be reached, or was lost.
    """
    in_flight = 0
    with open_executor(function, options) as engine:
        queue = _Queue(batches, engine.window)
        while True:
            while in_flight < engine.window and (batch := queue.take(in_flight)):
                engine.submit(batch)
                in_flight += 1
            if not in_flight:
                return
            for batch, answer in engine.wait():
                in_flight -= 1
                if not isinstance(answer, SegtoolsError | WorkerDied):
                    yield Completed(batch, result=answer)
                elif isinstance(answer, EnvironmentProblem | WriteError):
                    yield Completed(batch, error=answer)
                elif error := queue.give_back(batch, answer):
                    yield Completed(batch, error=error)


class _Queue:
    """What is still to run: the source, parts of failed batches, and at the end the suspects."""

    def __init__(self, batches: Iterable[Batch], window: int) -> None:
        self.source = iter(batches)
        self.window = window
        self.ahead: deque[Batch] = deque()
        self.is_end_seen = False
        self.parts: deque[Batch] = deque()
        self.suspects: deque[Batch] = deque()
        self.accused: set[str] = set()
        self.is_alone = False

    def take(self, in_flight: int) -> Batch | None:
        """The next batch that may join those in flight."""
        if self.is_alone and in_flight:
            return None
        batch = self.parts.popleft() if self.parts else self._next()
        self.is_alone = batch is None and bool(self.suspects) and not in_flight
        return self.suspects.popleft() if self.is_alone else batch

    def _next(self) -> Batch | None:
        """The source's next batch; once its end is seen, a fair share of what remains."""
        while not self.is_end_seen and len(self.ahead) < _AHEAD * self.window:
            self._look_ahead()
        if not self.ahead:
            return None
        remaining = sum(batch.cost_bytes for batch in self.ahead)
        batch = self.ahead.popleft()
        if self.is_end_seen and self.window > 1:
            share = max(_SHARE_BYTES, remaining / (_SHARES * self.window))
            while len(batch) > 1 and batch.cost_bytes > share:
                batch, rest = batch.halves()
                self.ahead.appendleft(rest)
        return batch

    def _look_ahead(self) -> None:
        batch = next(self.source, None)
        if batch is None:
            self.is_end_seen = True
        else:
            self.ahead.append(batch)

    def give_back(self, batch: Batch, answer: SegtoolsError | WorkerDied) -> SegtoolsError | None:
        """Queue a failed batch again, in parts or as a suspect; its error if it is to blame."""
        if len(batch) > 1:
            self.parts.extend(batch.halves())
            return None
        if isinstance(answer, SegtoolsError):
            return answer
        if batch.id in self.accused:
            return _worker_lost(batch, answer)
        self.accused.add(batch.id)
        self.suspects.append(batch)
        return None


def _worker_lost(batch: Batch, death: WorkerDied) -> RunError:
    uid = batch.series[0].seg_series_uid
    return RunError(
        "worker-lost",
        f"Series {uid} ended its worker, and again when nothing else was running ({death.reason}).",
        seg_series_uid=uid,
    )
