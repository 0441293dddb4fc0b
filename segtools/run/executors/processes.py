"""How a batch reaches a worker and its answer comes back: in line, threads, processes, Dask."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Self

from segtools.errors import RunError
from segtools.run.executors.base import Function, WorkerDied, guarded

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from segtools.run.batches import Batch
    from segtools.run.executors.base import ExecutorOptions

_log = logging.getLogger(__name__)


_FAILED_STARTS = 3


class ProcessExecutor:
    """Worker processes, each with one batch at a time on a pipe of its own.

    `concurrent.futures.ProcessPoolExecutor` breaks as a whole when one process dies and cannot say
    which batch it was; here the pipe that ends names it.
    """

    def __init__(self, function: Function, options: ExecutorOptions) -> None:
        self.function = function
        self.memory_bytes = options.memory_bytes
        self.window = options.workers
        self.context = multiprocessing.get_context("spawn")
        self.idle: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}
        self.failed_starts = 0

    def submit(self, batch: Batch) -> None:
        """Hand a batch to a worker."""
        worker = self.idle.pop() if self.idle else self._start()
        worker.batch = batch
        self.busy[worker.pipe] = worker
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its death is seen in wait()
            worker.pipe.send(batch)

    def wait(self) -> list[tuple[Batch, Any]]:
        """Wait for at least one answer."""
        answers: list[tuple[Batch, Any]] = []
        while not answers:
            for pipe in multiprocessing.connection.wait(list(self.busy)):
                assert isinstance(pipe, multiprocessing.connection.Connection)  # noqa: S101 - what we put in
                worker = self.busy[pipe]
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    answers += self._bury(worker)
                    continue
                if not worker.is_ready:
                    worker.is_ready, self.failed_starts = True, 0
                    continue
                del self.busy[pipe]
                self.idle.append(worker)
                answers.append((worker.batch, message))
        return answers

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=_serve, args=(theirs, self.function, self.memory_bytes), name="segtools-worker"
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _bury(self, worker: _Worker) -> list[tuple[Batch, WorkerDied]]:
        del self.busy[worker.pipe]
        worker.pipe.close()
        worker.process.join()
        reason = f"exit code {worker.process.exitcode}"
        _log.warning("worker %s ended with %s", worker.process.pid, reason)
        if worker.is_ready:
            return [(worker.batch, WorkerDied(reason))]
        self.failed_starts += 1
        if self.failed_starts >= _FAILED_STARTS:
            hint = 'A script of your own needs `if __name__ == "__main__":`; else report it with the log.'
            raise RunError("internal", f"Worker processes do not start ({reason}).", hint=hint)
        self.submit(worker.batch)  # which it never saw
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.busy.values():
            worker.process.kill()
        for worker in [*self.idle, *self.busy.values()]:
            worker.pipe.close()
            worker.process.join()
            worker.process.close()


class _Worker:
    batch: Batch

    def __init__(self, process: multiprocessing.context.SpawnProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.is_ready = False


def _serve(pipe: Connection, function: Function, memory_bytes: int | None) -> None:
    """Life of a worker process: ready, then a batch in, an answer out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if memory_bytes is not None:
        _limit_memory(memory_bytes)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(None)
        while True:
            pipe.send(guarded(function, pipe.recv()))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    """Let allocations beyond fail with MemoryError; files that are only mapped do not count."""
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))
