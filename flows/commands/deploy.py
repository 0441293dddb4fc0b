"""`idcseg deploy`: run a cohort whenever IDC releases, or an own index changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.commands.options import Where
from flows.console import note, print_json, summary_lines
from flows.server import require_server, server_errors
from segtools.errors import SpecError

if TYPE_CHECKING:
    from flows.deploy import Schedule

_DEFAULT = Where()


def deploy(
    cohort: str,
    /,
    *,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    cron: str = "0 5 * * *",
    timezone: str = "UTC",
    serve: bool = False,
    pool: str | None = None,
    name: str | None = None,
    paused: bool = False,
    where: Where = _DEFAULT,
    yes: bool = False,
    replace: bool = False,
    json: bool = False,
) -> None:
    """Register a scheduled run that looks for news, and works only if there is some.

    News is a newer IDC release, a changed index, cohort file or setting, or an interrupted run. Needs a
    Prefect server that stays (PREFECT_API_URL). See docs/operations.md.

    Parameters
    ----------
    cohort
        Cohort file, or the name of one in config/cohorts.
    output
        Dataset folder, or s3://bucket/name; made, or continued.
    cron
        When to look: minute, hour, day, month, weekday.
    timezone
        Of the schedule, as Europe/Berlin.
    serve
        Run what falls due in this process, until it is stopped: a laptop or one VM.
    pool
        Work pool whose workers run what falls due.
    name
        Of the deployment; default: the dataset folder's.
    paused
        Register it, but do not run it yet.
    where
        Sources and settings.
    yes
        Let runs download however much it is; without it, more than run.confirm_above_bytes is refused.
    replace
        Let runs delete volumes that the cohort file, once changed, does not select.
    json
        Machine-readable output.
    """
    from segtools.select import load_spec

    if serve == (pool is not None):
        raise SpecError(
            "settings-invalid",
            "A deployment is either served here or given to a work pool.",
            hint="Give --serve, or --pool NAME.",
            key="pool",
        )
    where = where.agreeing(yes=yes, replace=replace)
    where.settings()
    load_spec(cohort)
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "segtools")
    require_server(ephemeral=False)
    with server_errors():
        from flows.deploy import Schedule, deployment_name
        from flows.run_factory import portable_parameters

        parameters = portable_parameters(cohort, output, where.config, where.set, where.index)
        called = name or deployment_name(output)
        _register(called, parameters, Schedule(cron, timezone, paused), pool, json=json)


def _register(
    name: str, parameters: dict[str, object], schedule: Schedule, pool: str | None, *, json: bool
) -> None:
    from flows import deploy as deployments
    from flows.pipeline import watch_release

    full = f"{watch_release.name}/{name}"
    if pool is None:
        note(f"serving {full} ({schedule.cron}, {schedule.timezone}); stop it with Ctrl-C")
        deployments.serve(watch_release, name, parameters, schedule)
        return
    made = deployments.register(watch_release, name, pool, parameters, schedule)
    if json:
        print_json({"deployment": full, "id": str(made), "parameters": parameters})
        return
    summary_lines(
        [
            ("deployment", full),
            ("schedule", f"{schedule.cron} {schedule.timezone}{', paused' if schedule.is_paused else ''}"),
            ("work pool", pool),
            ("run it now", f"prefect deployment run '{full}'"),
            ("start a worker", f"prefect worker start --pool {pool}"),
        ]
    )
