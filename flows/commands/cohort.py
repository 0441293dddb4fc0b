"""Commands that carry a cohort out: plan, run, fetch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.children import end_children_with_us
from flows.commands.options import Where, select_cohort
from flows.console import (
    agrees,
    bytes_text,
    duration_text,
    note,
    print_json,
    print_rows,
    progress,
    summary_lines,
)
from flows.server import quiet_console, require_server, server_errors
from segtools.errors import FetchError, MissingError, SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def plan(cohort: str, /, *, where: Where = Where(), json: bool = False) -> None:
    """What a cohort would select, cost and need, before anything moves.

    Parameters
    ----------
    cohort
        Cohort file, or the name of one in config/cohorts.
    where
        Sources and settings.
    json
        Machine-readable output.
    """
    from segtools.select import plan as make_plan

    spec, settings, selection = select_cohort(cohort, where)
    made = make_plan(selection, spec)
    if json:
        print_json(made.to_dict())
        return
    release = f"IDC v{made.idc_version}" if made.idc_version else "own archive"
    segments = "unknown: no segment table was asked" if made.segments is None else made.segments
    cost = f"{bytes_text(made.query_bytes)}, USD {made.query_cost_usd:.2f}" if made.query_bytes else "none"
    limit = settings.run.confirm_above_bytes
    needs_yes = "; `idcseg run` needs --yes for it" if limit is not None and made.bytes > limit else ""
    summary_lines(
        [
            ("cohort", f"{made.cohort} ({release}, {made.engine})"),
            ("collections", _counted(made.collections)),
            ("patients", made.patients),
            ("series", made.series),
            ("segments", segments),
            ("download", f"{bytes_text(made.bytes)}{needs_yes}"),
            ("disk needed", f"about {bytes_text(made.disk_bytes)}"),
            ("time", f"about {duration_text(made.seconds)}, at 1 Gbit/s"),
            ("query cost", cost),
            ("licences", _counted(made.licenses)),
            *([("non-commercial", f"{made.noncommercial} series")] if made.noncommercial else []),
            ("to cite", _counted(made.citations)),
        ]
    )


def _counted(counts: Mapping[str, int], limit: int = 6) -> str:
    shown = [f"{name or 'not stated'} ({count:,})" for name, count in list(counts.items())[:limit]]
    more = len(counts) - limit
    return ", ".join(shown) + (f", and {more} more" if more > 0 else "")


def run(
    cohort: str,
    /,
    *,
    output: Annotated[str, Parameter(name=("--output", "-o"))],
    where: Where = Where(),
    yes: bool = False,
    replace: bool = False,
    direct: bool = False,
    json: bool = False,
) -> int:
    """Select, fetch, decode and write a cohort as a dataset: the whole pipeline.

    Run again, it does only what is new or changed.

    Parameters
    ----------
    cohort
        Cohort file, or the name of one in config/cohorts.
    output
        Dataset folder, or s3://bucket/name; made, or continued.
    where
        Sources and settings.
    yes
        Download however much it is; without it, more than run.confirm_above_bytes is refused.
    replace
        Delete volumes of the dataset that this cohort does not select; without it, that is refused.
    direct
        Without Prefect: no server, no record of the run but the dataset's own.
    json
        Machine-readable output.
    """
    where = where.agreeing(yes=yes, replace=replace)
    while True:
        try:
            return run_cohort(cohort, output, where, direct=direct, json=json)
        except UsageError as error:
            option = _CONSENT.get(error.code)
            if option is None or not agrees(f"{error.message} Go on?"):
                raise
            where = where.agreeing(yes=option == "yes", replace=option == "replace")


_CONSENT = {"download-not-confirmed": "yes", "deletion-not-confirmed": "replace"}
"""Errors that a person at a terminal may answer, and the option that answers them beforehand."""


def run_cohort(
    cohort: str,
    output: str,
    where: Where,
    *,
    direct: bool = False,
    json: bool = False,
    retry: tuple[str, ...] = (),
) -> int:
    """Run a cohort and show what came of it; the exit code."""
    output = output.rstrip("/") or "/"
    end_children_with_us()
    if direct:
        from flows.run_factory import open_run, run_stages
        from segtools.run.cohort import exit_code

        _refuse_shards(where)
        summary = run_stages(open_run(cohort, output, where.config, where.set, where.index, retry))
        result = {"exit_code": exit_code(summary), **summary.to_dict()}
    else:
        result = _run_flow(cohort, output, where, retry)
    if json:
        print_json(result)
    else:
        print_outcome(result, output)
    return int(result["exit_code"])


def _refuse_shards(where: Where) -> None:
    """Shards are flow runs: without Prefect all would be done here, on one machine, unasked."""
    if (count := where.settings().run.shards) > 1:
        raise SpecError(
            "settings-invalid",
            f"run.shards is {count}, but --direct is without Prefect, which runs the shards.",
            hint="Leave --direct out, or add --set run.shards=1.",
            key="run.shards",
        )


def _look_before_starting(cohort: str, output: str, where: Where) -> None:
    """Tell a wrong name or setting at once, not after a server was started for it."""
    from segtools.select import load_spec

    settings = where.settings()
    spec = load_spec(cohort)
    for folder in settings.make_sources(spec, where.index).indexes:
        if not folder.is_dir():
            raise MissingError("not-found", f"There is no index folder {folder}.", path=str(folder))
    settings.make_home(output)


def _run_flow(cohort: str, output: str, where: Where, retry: tuple[str, ...]) -> dict[str, Any]:
    _look_before_starting(cohort, output, where)
    quiet_console()
    require_server(ephemeral=True)
    if not os.environ.get("PREFECT_API_URL"):
        note("starting a Prefect server for this run (--direct runs without one) …")
    with server_errors():
        from flows.pipeline import build_dataset

        result: dict[str, Any] = build_dataset(
            cohort=cohort,
            dataset=output,
            config=str(where.config) if where.config else None,
            overrides=list(where.set),
            index=[str(path) for path in where.index],
            retry=list(retry),
        )
    return result


def print_outcome(result: Mapping[str, Any], dataset: str) -> None:
    """The end table of a run: counts, failures with their reasons, and what to open."""
    series = result["outcomes"]
    print_rows(
        [
            {
                **{status: series.get(status, 0) for status in ("ok", "warned", "failed", "retired")},
                "segments": result["segment_count"],
                "volumes": result["volume_count"],
                "size": bytes_text(result["volume_bytes"]),
            }
        ],
        ["ok", "warned", "failed", "retired", "segments", "volumes", "size"],
        title="Series",
    )
    if result["failures"]:
        rows = [
            {
                "code": failure["code"],
                "series": failure["series_count"],
                "example": failure["examples"][0]["seg_series_uid"],
                "why": failure["examples"][0]["message"],
            }
            for failure in result["failures"]
        ]
        print_rows(rows, ["code", "series", "example", "why"], title="Failed")
    summary_lines(
        [
            ("tables", f"{dataset}/tables"),
            ("volumes", f"{dataset}/volumes"),
            ("report", f"{dataset}/report/report.html"),
        ]
    )


def fetch(
    cohort: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    where: Where = Where(),
    yes: bool = False,
    json: bool = False,
) -> int:
    """Download a cohort's DICOM SEG files, each one checked.

    Parameters
    ----------
    cohort
        Cohort file, or the name of one in config/cohorts.
    output
        Folder for them: <collection>/<PatientID>/<SeriesInstanceUID>/.
    where
        Sources and settings.
    yes
        Download however much it is; without it, more than run.confirm_above_bytes is refused.
    json
        Machine-readable output.
    """
    from segtools.fetch.download import keep_series
    from segtools.run.batches import cut
    from segtools.run.inspect import inspect_dicom
    from segtools.series import iter_selection

    _, settings, selection = select_cohort(cohort, where.agreeing(yes=yes))
    sizes = selection.series["size_bytes"].to_pylist()
    settings.make_consent().download(sum(sizes), len(sizes))
    rows = []
    with progress("series", selection.series.num_rows) as advance:
        series = iter_selection(selection.series, selection.objects)
        for batch in cut(series, settings.run.batch_bytes, settings.run.batch_series):
            for fetched in keep_series(batch.series, output, settings.fetch, inspect_dicom):
                advance(1, sum(path.stat().st_size for path in fetched.files))
                error = fetched.error
                rows.append(
                    {
                        "seg_series_uid": fetched.series.seg_series_uid,
                        "files": len(fetched.files),
                        "fetch_verified": fetched.verified,
                        "error_code": error.code if error else None,
                        "error_message": error.message if error else None,
                    }
                )
    failed = [row for row in rows if row["error_code"]]
    if json:
        print_json(rows)
    else:
        for row in failed:
            note(f"failed [{row['error_code']}] {row['seg_series_uid']}: {row['error_message']}")
        summary_lines([("series", len(rows)), ("failed", len(failed)), ("folder", output)])
    return FetchError.exit_code if rows and len(failed) == len(rows) else 3 if failed else 0
