"""Deployments: the flow that watches for news, on a schedule, served here or run by a work pool."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from prefect import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.exceptions import ObjectNotFound
from prefect.types.entrypoint import EntrypointType

from flows.server import OFFLINE
from segtools.errors import SpecError
from segtools.objectstore.urls import is_bucket_url

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
"""Runs of one deployment never overlap. Not CANCEL_NEW: a run whose process died before it started stays
PENDING and keeps its slot until the lease ends (300 s), and CANCEL_NEW would drop every run until then."""

_ENVIRONMENT = OFFLINE | {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "segtools",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""Of the flow runs; the heartbeat, in s, is what docs/zombie-automation.yaml waits three times for."""


@dataclass(frozen=True)
class Schedule:
    """When to look for news.

    Attributes
    ----------
    cron : str
        Five fields, as cron has them.
    timezone : str
        IANA name.
    is_paused : bool
        Registered, but not running yet.
    """

    cron: str
    timezone: str = "UTC"
    is_paused: bool = False

    def arguments(self) -> dict[str, Any]:
        """What Prefect wants.

        Raises
        ------
        SpecError
            ``settings-invalid``: no cron expression, or no such time zone.
        """
        from prefect.schedules import Cron
        from prefect.server.schemas.schedules import CronSchedule
        from pydantic import ValidationError

        try:
            CronSchedule(cron=self.cron, timezone=self.timezone)  # refuses here what the server would
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SpecError(
                "settings-invalid",
                f"Schedule {self.cron!r} in {self.timezone!r}: {text}.",
                hint="As in --cron '0 5 * * *' --timezone Europe/Berlin.",
                key="cron",
            ) from None
        return {"schedule": Cron(self.cron, timezone=self.timezone), "paused": self.is_paused}


def register(
    flow: Flow[..., Any],
    name: str,
    pool: str,
    parameters: dict[str, Any] | None = None,
    schedule: Schedule | None = None,
) -> UUID:
    """Register a deployment of `flow` on a work pool, or replace it.

    Its workers import the flow from the installed package, so there is no code to pull.

    Raises
    ------
    SpecError
        ``settings-invalid``: there is no such work pool, or no such schedule.
    """
    require_pool(pool, "pool")
    once = {} if schedule is None else {"concurrency_limit": ONE_AT_A_TIME, **schedule.arguments()}
    deployment: Any = flow.to_deployment(
        name,
        parameters=parameters or {},
        work_pool_name=pool,
        job_variables={"env": _ENVIRONMENT},
        entrypoint_type=EntrypointType.MODULE_PATH,
        **once,
    )
    made: UUID = deployment.apply()
    return made


def require_pool(pool: str, key: str) -> None:
    """Make sure that the server has a work pool.

    Raises
    ------
    SpecError
        ``settings-invalid``.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            raise SpecError(
                "settings-invalid",
                f"{key}: the Prefect server has no work pool {pool!r}.",
                hint=f"`prefect work-pool create {pool} --type process`, then start a worker for it.",
                key=key,
            ) from None


def serve(flow: Flow[..., Any], name: str, parameters: dict[str, Any], schedule: Schedule) -> None:
    """Register a deployment of `flow` and run what falls due, in this process, until it is stopped."""
    flow.serve(
        name,
        parameters=parameters,
        global_limit=ONE_AT_A_TIME,
        limit=1,
        print_starting_message=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
        **schedule.arguments(),
    )


def deployment_name(dataset: str) -> str:
    """A deployment's name: the dataset's, without what Prefect forbids in names."""
    path = PurePosixPath(dataset) if is_bucket_url(dataset) else Path(dataset).resolve()
    return re.sub(r"[/%&<>]+", "-", path.name) or "dataset"
