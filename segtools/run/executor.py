"""Batches over threads, processes or a Dask cluster: in completion order, surviving dead workers.

The one loop here keeps a bounded number of batches in flight, hands each result on and forgets it, and
halves a batch that killed its worker (or raised) until the one series to blame stands alone. How a
batch reaches a worker is an `Engine`; see `segtools.run.engines`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from segtools.errors import EnvironmentProblem, RunError, SegtoolsError, WriteError
from segtools.run.engines import WorkerDied, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from segtools.run.batches import Batch

T = TypeVar("T")

Kind = Literal["serial", "threads", "processes", "dask"]

_DEATHS_ALONE = 2
"""A worker may also die of something else: a series is blamed when it was alone twice."""


@dataclass(frozen=True)
class ExecutorOptions:
    """Where batches run.

    Attributes
    ----------
    kind : {"serial", "threads", "processes", "dask"}
    workers : int
        Threads or processes; of an existing Dask cluster (`address`) its own number counts.
    address : str or None
        Of a Dask scheduler, ``tcp://host:8786``; None starts a cluster on this machine.
    memory_bytes : int or None, bytes
        Limit of one worker process.
    window : int or None
        Batches in flight; default: the workers, twice as many on Dask, so that none waits.
    """

    kind: Kind = "processes"
    workers: int = 1
    address: str | None = None
    memory_bytes: int | None = None
    window: int | None = None


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
) -> Iterator[Completed[T]]:
    """Run `function` on each batch; results in order of completion.

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
    source = iter(batches)
    again: deque[Batch] = deque()
    deaths: Counter[str] = Counter()
    in_flight = 0
    with open_engine(function, options) as engine:
        while True:
            while in_flight < engine.window:
                batch = again.popleft() if again else next(source, None)
                if batch is None:
                    break
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
                elif len(batch) > 1:
                    again.extend(batch.halves())
                elif isinstance(answer, SegtoolsError):
                    yield Completed(batch, error=answer)
                else:
                    deaths[batch.id] += 1
                    if deaths[batch.id] < _DEATHS_ALONE:
                        again.append(batch)
                    else:
                        yield Completed(batch, error=_worker_lost(batch, answer))


def _worker_lost(batch: Batch, death: WorkerDied) -> RunError:
    uid = batch.series[0].seg_series_uid
    return RunError(
        "worker-lost",
        f"Series {uid} ended its worker {_DEATHS_ALONE} times while alone ({death.reason}).",
        seg_series_uid=uid,
    )
