"""What every executor is: options, the protocol, errors of a batch as values."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from segtools.errors import RunError, SegtoolsError

if TYPE_CHECKING:
    from types import TracebackType

    from segtools.run.batches import Batch


_log = logging.getLogger(__name__)

Function = Callable[["Batch"], Any]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The answer of a batch whose worker died under it."""

    reason: str


class Executor(Protocol):
    """Some workers; at most `window` batches are submitted and not yet answered."""

    window: int

    def submit(self, batch: Batch) -> None:
        """Hand a batch to a worker."""

    def wait(self) -> list[tuple[Batch, Any]]:
        """Wait for at least one answer: a result, a SegtoolsError, or WorkerDied."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def guarded(function: Function, batch: Batch) -> object:
    """What `function` returns or, as a value, the error it raised; errors of ours pass as they are.

    An answer must cross a process border whatever happens, and a defect met in one batch must not end
    a run of thousands: so this border alone catches everything and keeps the traceback as text.
    """
    try:
        return function(batch)
    except SegtoolsError as error:
        return error
    except MemoryError as error:
        return RunError("memory-limit", f"Out of memory in batch {batch.id}: {error}.", batch=batch.id)
    except Exception as error:  # noqa: BLE001 - see above
        text = "".join(traceback.format_exception(error))
        _log.exception("batch %s", batch.id)
        return RunError(
            "internal",
            f"{type(error).__name__} in batch {batch.id}: {error}.",
            batch=batch.id,
            traceback=text,
        )


Kind = Literal["serial", "threads", "processes", "dask"]


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
