"""The Prefect flow: one task per stage.

Prefect schedules, parameterises, retries and shows a run. Series are not its tasks: the `process` task
runs batches on our own executor, and the ledger of outcomes is ours.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from flows.assemble import open_run
from flows.console import progress
from segtools.errors import Transient
from segtools.run.cohort import exit_code

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from segtools.report.summary import Summary
    from segtools.run.cohort import CohortRun
    from segtools.run.ledger import Outcome
    from segtools.series import SelectedSeries

_ARTIFACT_INTERVAL_S = 5.0
_PASSING = ("query-unavailable", "network-unavailable")


class Stage:
    """Carries a run into a task as one opaque value: Prefect would walk through lists and dataclasses."""

    def __init__(self, run: CohortRun) -> None:
        self.run = run
        self.pending: list[SelectedSeries] = []


def _may_heal(_task: object, _run: object, state: State[Any]) -> bool:
    """Only what may go away by itself is tried again: a wrong cohort is told at once."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, Transient) or getattr(error, "code", None) in _PASSING


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[10, 60],
    retry_jitter_factor=0.5,
    retry_condition_fn=_may_heal,
)
def select(stage: Stage) -> int:
    """Ask the tables which series the cohort is; the number that are new or changed."""
    selection = stage.run.select()
    stage.pending = stage.run.pending()
    get_run_logger().info("%d series selected, %d to do", len(selection.series), len(stage.pending))
    return len(stage.pending)


@task(cache_policy=NO_CACHE)
def process(stage: Stage) -> int:
    """Fetch, decode and write the pending series, batch by batch; the number worked on."""
    total = len(stage.pending)
    artifact = _ProgressArtifact(total)
    with progress("series", total) as advance:

        def on_outcome(outcome: Outcome) -> None:
            advance(1, outcome.bytes_in)
            artifact.advance()

        return stage.run.process(stage.pending, on_outcome)


@task(cache_policy=NO_CACHE)
def commit(stage: Stage) -> dict[str, Any]:
    """Make what was staged the dataset."""
    return stage.run.commit()


@task(cache_policy=NO_CACHE)
def check(stage: Stage) -> int:
    """Apply the catalog's rules; the number of findings."""
    return stage.run.check()


@task(cache_policy=NO_CACHE)
def report(stage: Stage) -> Summary:
    """Write the report; the dataset in numbers, also as an artifact."""
    summary = stage.run.report()
    rows = [{"status": status, "series": count} for status, count in summary.outcomes.items()]
    create_table_artifact(rows, key="idcseg-series", description="Series by status")
    return summary


@flow(name="idc-cohort", validate_parameters=False)
def build_dataset(
    cohort: str,
    dataset: str,
    config: str | None = None,
    overrides: list[str] | None = None,
    index: list[str] | None = None,
    retry: list[str] | None = None,
) -> dict[str, Any]:
    """Select, fetch, decode, write, check and report a cohort.

    Parameters
    ----------
    cohort : str
        Cohort file, or a name in `config/cohorts`.
    dataset : str
        Dataset folder; made, or continued.
    config : str, optional
        Settings file.
    overrides : list of str, optional
        ``section.key=value``.
    index : list of str, optional
        Folders of `idcseg index`.
    retry : list of str, optional
        Error codes whose series are tried again.

    Returns
    -------
    dict
        ``exit_code`` and the summary's numbers.
    """
    indexes = [Path(path) for path in index or ()]
    settings_file = Path(config) if config else None
    with open_run(cohort, Path(dataset), settings_file, overrides or (), indexes, retry or ()) as run:
        stage = Stage(run)
        select(stage)
        process(stage)
        commit(stage)
        check(stage)
        summary = report(stage)
    return {"exit_code": exit_code(summary), **summary.to_dict()}


class _ProgressArtifact:
    """Updated now and then: each update is a call of the server."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.last = time.monotonic()
        self.artifact: Any = create_progress_artifact(0.0, key="idcseg-progress") if total else None

    def advance(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.artifact and (now - self.last >= _ARTIFACT_INTERVAL_S or self.done == self.total):
            self.last = now
            update_progress_artifact(self.artifact, 100.0 * self.done / self.total)
