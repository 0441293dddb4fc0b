"""The executor that the options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.run.executors.base import Executor, Function
from segtools.run.executors.processes import ProcessExecutor
from segtools.run.executors.threads import SerialExecutor, ThreadExecutor

if TYPE_CHECKING:
    from segtools.run.executors.base import ExecutorOptions


def open_executor(function: Function, options: ExecutorOptions) -> Executor:
    """The engine of `ExecutorOptions.kind`."""
    if options.kind == "serial":
        return SerialExecutor(function)
    if options.kind == "threads":
        return ThreadExecutor(function, options)
    if options.kind == "processes":
        return ProcessExecutor(function, options)
    from segtools.run.executors.dask import DaskExecutor  # heavy, and an optional dependency

    return DaskExecutor(function, options)
