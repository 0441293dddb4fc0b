"""The executor that the options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.run.executors.processes import ProcessExecutor
from segtools.run.executors.threads import SerialExecutor, ThreadExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.run.executors.base import Executor, ExecutorOptions, Function, Kind


def _dask(function: Function, options: ExecutorOptions) -> Executor:
    from segtools.run.executors.dask import DaskExecutor  # heavy, and an optional dependency

    return DaskExecutor(function, options)


EXECUTORS: dict[Kind, Callable[[Function, ExecutorOptions], Executor]] = {
    "serial": SerialExecutor,
    "threads": ThreadExecutor,
    "processes": ProcessExecutor,
    "dask": _dask,
}
"""Every executor by `ExecutorOptions.kind`; a new one is a row here and a word in `base.Kind`."""


def open_executor(function: Function, options: ExecutorOptions) -> Executor:
    """The executor of `ExecutorOptions.kind`."""
    return EXECUTORS[options.kind](function, options)
