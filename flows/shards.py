"""Run shards as flow runs on a work pool: start, watch, start again what died."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import get_client, get_run_logger
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling

from flows.deploy import register, require_pool
from segtools.errors import RunError
from segtools.run import shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

    from segtools.run.cohort import CohortRun
    from segtools.series import SelectedSeries


@dataclass
class _Running:
    """A shard and its present flow run."""

    name: str
    attempt: int
    id: UUID
    pending_since: float | None = None


class ShardedRun:
    """The processing of one run, divided among flow runs of a deployment.

    Parameters
    ----------
    run : CohortRun
        Entered: it holds the dataset.
    parameters : mapping
        Of the shard's flow, besides which shard it is.
    deployment : str
        ``flow/deployment``; see `shard_deployment`.
    attempts : int
        A shard that was lost so many times ends the run.
    pending_limit_s : float, s
        A flow run that stays PENDING lost its process before it could say so; nobody else would notice.
    poll_s : float, s
        Time between two looks at the shards.
    """

    def __init__(
        self,
        run: CohortRun,
        parameters: Mapping[str, Any],
        deployment: str,
        *,
        attempts: int = 3,
        pending_limit_s: float = 1800.0,
        poll_s: float = 2.0,
    ) -> None:
        self.run, self.parameters, self.deployment = run, dict(parameters), deployment
        self.attempts, self.pending_limit_s, self.poll_s = attempts, pending_limit_s, poll_s
        self.id = str(flow_run.get_id())[:8]
        self.seen = 0

    def process(self, series: Sequence[SelectedSeries], count: int, advance: Callable[[int], None]) -> int:
        """Work through `series` in at most `count` shards; the number of series worked on.

        Raises
        ------
        RunError
            ``shard-failed``: a shard failed, was cancelled, or was lost too often.
        """
        names = shards.plan(self.run.view, series, count, self.id)
        running: dict[str, _Running] = {}
        try:
            for name in names:
                running[name] = self._start(name, 1)
            while running:
                time.sleep(self.poll_s)
                for shard in list(running.values()):
                    self._look(shard, running)
                self._tell(advance)
        finally:
            self._end(running.values(), Cancelling())
        self.run.processed += self.seen
        shards.clear(self.run.claim)
        return self.seen

    def _start(self, name: str, attempt: int) -> _Running:
        job = self.run.job
        started: Any = run_deployment(
            self.deployment,
            parameters=self.parameters
            | {"shard": name, "attempt": attempt, "number": job.run, "settings_hash": job.settings_hash},
            flow_run_name=f"shard-{name}-{attempt}",
            timeout=0,
        )
        return _Running(name, attempt, started.id)

    def _look(self, shard: _Running, running: dict[str, _Running]) -> None:
        """Take a shard that is done off the list; start one that was lost again."""
        with get_client(sync_client=True) as client:
            seen = client.read_flow_run(shard.id)
        state = seen.state
        if state is None:
            return
        if state.is_failed() or state.is_cancelling() or state.is_cancelled():
            why = f": {state.message.rstrip('.')}" if state.message else ""
            raise RunError("shard-failed", f"Shard {shard.name}: {state.name}{why}.")
        is_stuck = self._is_stuck(shard, seen)
        if not (state.is_final() or is_stuck):
            return
        if is_stuck:  # for good: a container that starts after all finds itself cancelled, and ends
            self._end([shard], Cancelled(message="It stayed pending, and was given up."))
        left = len(shards.remaining(self.run.view, shard.name))
        if not left:
            del running[shard.name]
            return
        if shard.attempt >= self.attempts:
            raise RunError(
                "shard-failed", f"Shard {shard.name} was lost {shard.attempt} times, {left} series are left."
            )
        get_run_logger().warning("shard %s: %s, %d series left; again", shard.name, state.name, left)
        running[shard.name] = self._start(shard.name, shard.attempt + 1)

    def _is_stuck(self, shard: _Running, seen: FlowRun) -> bool:
        if seen.state is None or not seen.state.is_pending():
            shard.pending_since = None
            return False
        shard.pending_since = shard.pending_since or time.monotonic()
        return time.monotonic() - shard.pending_since > self.pending_limit_s

    def _tell(self, advance: Callable[[int], None]) -> None:
        done = shards.recorded(self.run.view, self.id)
        if done > self.seen:
            advance(done - self.seen)
            self.seen = done

    def _end(self, running: Iterable[_Running], state: State[Any]) -> None:
        for shard in running:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(shard.id, state)


def shard_deployment(flow: Flow[..., Any], pool: str) -> str:
    """Name of the deployment of `flow` on `pool`: the operator's own, or one made here.

    Raises
    ------
    SpecError
        ``settings-invalid``: there is no such work pool.
    """
    name = f"{flow.name}/{pool}"
    require_pool(pool, "run.shard_work_pool")
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(name)
        except ObjectNotFound:
            register(flow, pool, pool)
    return name
