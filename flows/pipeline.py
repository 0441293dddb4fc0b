"""The Prefect flow: one task per step.

Prefect schedules, parameterises, retries and shows a run. Series are not its tasks: the `process` task
runs batches on our own executor, and the ledger of outcomes is ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.artifacts import ProgressArtifact, show_summary
from flows.console import progress
from flows.network import keep_loopback_direct
from flows.run_factory import open_run, portable_parameters
from flows.settings import load_settings
from flows.shards import ShardedRun, shard_deployment
from segtools.errors import Transient
from segtools.run import shards
from segtools.run.cohort import exit_code
from segtools.run.staleness import RunReason, staleness

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from segtools.report.summary import Summary
    from segtools.run.cohort import CohortRun
    from segtools.run.ledger import Outcome
    from segtools.run.staleness import Staleness
    from segtools.series import SelectedSeries

_REASONS = {
    RunReason.NO_DATASET: "there is no dataset yet",
    RunReason.COHORT_CHANGED: "the cohort file changed",
    RunReason.INTERRUPTED: "a run was interrupted",
    RunReason.SETTINGS_CHANGED: "a setting that outputs depend on changed",
    RunReason.NEW_RELEASE: "IDC v{release} is out, the dataset has {committed}",
    RunReason.INDEX_CHANGED: "an index changed",
}

keep_loopback_direct()  # in workers of Prefect's too, which no command of ours starts

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
    stage.pending = stage.run.plan()
    get_run_logger().info("%d series selected, %d to do", len(selection.series), len(stage.pending))
    return len(stage.pending)


@task(cache_policy=NO_CACHE)
def process(stage: Stage) -> int:
    """Fetch, decode and write the pending series, batch by batch; the number worked on."""
    total = len(stage.pending)
    artifact = ProgressArtifact(stage.run.home.name, total)
    with progress("series", total) as advance:

        def on_outcome(outcome: Outcome) -> None:
            advance(1, outcome.bytes_in)
            artifact.advance()

        return stage.run.process(stage.pending, on_outcome)


@task(cache_policy=NO_CACHE)
def process_sharded(stage: Stage, parameters: dict[str, Any], count: int, pool: str) -> int:
    """As `process`, in flow runs on a work pool; the number worked on."""
    total = len(stage.pending)
    if not total:
        return 0
    artifact = ProgressArtifact(stage.run.home.name, total)
    sharded = ShardedRun(stage.run, parameters, shard_deployment(process_shard, pool))
    with progress("series", total) as advance:

        def on_done(done: int) -> None:
            advance(done, 0)
            artifact.advance(done)

        return sharded.process(stage.pending, count, on_done)


@task(cache_policy=NO_CACHE)
def process_part(stage: Stage, shard: str, attempt: int, number: int, settings_hash: str) -> int:
    """Fetch, decode and write what remains of a shard; the number worked on."""
    return shards.process(stage.run, shard, attempt, number, settings_hash)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[10, 60], retry_condition_fn=_may_heal)
def look(stage: Stage) -> str | None:
    """Ask whether there is anything to run for; the reason."""
    found = staleness(stage.run)
    return None if found is None else _phrase(found)


def _phrase(found: Staleness) -> str:
    release = "none" if found.committed_release is None else f"v{found.committed_release}"
    return _REASONS[found.reason].format(release=found.release, committed=release)


@task(cache_policy=NO_CACHE)
def merge(stage: Stage) -> int:
    """Make the next state of the dataset of what is committed and staged; its number of segments."""
    return int(stage.run.merge()["tables"]["segments"]["rows"])


@task(cache_policy=NO_CACHE)
def check(stage: Stage) -> int:
    """Apply the catalog's rules; the number of findings."""
    return stage.run.check()


@task(cache_policy=NO_CACHE)
def report(stage: Stage) -> Summary:
    """Draw the report; the dataset in numbers, also as artifacts."""
    summary = stage.run.report()
    show_summary(stage.run.home.name, summary)
    return summary


@task(cache_policy=NO_CACHE)
def commit(stage: Stage) -> None:
    """Make the merged state the dataset."""
    stage.run.commit()


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
        Dataset folder, or ``s3://bucket/name``; made, or continued.
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
    settings = load_settings(Path(config) if config else None, overrides or ()).run
    with _open(cohort, dataset, config, overrides, index, retry) as run:
        stage = Stage(run)
        select(stage)
        if settings.shards > 1 and settings.shard_work_pool:
            parameters = portable_parameters(cohort, dataset, config, overrides or (), index or ())
            process_sharded(stage, parameters, settings.shards, settings.shard_work_pool)
        else:
            process(stage)
        merge(stage)
        check(stage)
        summary = report(stage)
        commit(stage)
    return {"exit_code": exit_code(summary), **summary.to_dict()}


@flow(name="idc-cohort-shard", validate_parameters=False)
def process_shard(
    shard: str,
    attempt: int,
    number: int,
    settings_hash: str,
    cohort: str,
    dataset: str,
    config: str | None = None,
    overrides: list[str] | None = None,
    index: list[str] | None = None,
) -> int:
    """Work through one shard of a run of `build_dataset`, which starts it; the number of series.

    The first four are of `segtools.run.shards.process`, the others as there.
    """
    stage = Stage(_open(cohort, dataset, config, overrides, index))
    return process_part(stage, shard, attempt, number, settings_hash)


@flow(name="idc-watch", validate_parameters=False)
def watch_release(
    cohort: str,
    dataset: str,
    config: str | None = None,
    overrides: list[str] | None = None,
    index: list[str] | None = None,
) -> dict[str, Any] | State[Any]:
    """Run `build_dataset`, with the same parameters, if there is anything to run for.

    Otherwise the run ends Completed, its state named Unchanged.
    """
    reason = look(Stage(_open(cohort, dataset, config, overrides, index)))
    if reason is None:
        return Completed(name="Unchanged", message="Nothing new: neither release, index nor settings.")
    get_run_logger().info("running, because %s", reason)
    return build_dataset(cohort, dataset, config, overrides, index)


def _open(
    cohort: str,
    dataset: str,
    config: str | None,
    overrides: list[str] | None,
    index: list[str] | None,
    retry: list[str] | None = None,
) -> CohortRun:
    indexes = [Path(path) for path in index or ()]
    settings_file = Path(config) if config else None
    return open_run(cohort, dataset, settings_file, overrides or (), indexes, retry or ())
