"""Commands on a dataset: show, check, report, status, retry."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.commands.cohort import print_outcome, run_cohort
from flows.commands.options import Where, temporary_folder
from flows.console import (
    bytes_text,
    duration_text,
    note,
    print_json,
    print_table,
    summary_lines,
)
from segtools.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.dataset.reader import Dataset


def show(
    dataset: str,
    /,
    *,
    where: str | None = None,
    table: Literal["segments", "series", "findings"] = "segments",
    columns: tuple[str, ...] = (),
    limit: int = 50,
    json: bool = False,
) -> None:
    """What a dataset holds; or its rows that match a condition.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    where
        SQL condition on the table's columns: "structure = 'liver' AND volume_ml > 1500".
    table
        The table whose rows to show.
    columns
        Columns to show; may be repeated.
    limit
        Rows to print for people; --json prints all.
    json
        Machine-readable output.
    """
    with opened_dataset(dataset) as opened:
        if where is None and not columns and table == "segments":
            from segtools.report.summary import summarize

            summary = summarize(opened).to_dict()
            if json:
                print_json(summary)
            else:
                print_outcome(summary, dataset)
            return
        shown = list(columns) or (None if json else _SHOWN[table])
        rows = getattr(opened, table)(where, shown)
    print_table(rows, as_json=json, limit=None if json else limit)


_SHOWN = {
    "segments": ["segment_id", "patient_id", "structure", "volume_ml", "status", "volume_path"],
    "series": ["collection_id", "patient_id", "seg_series_uid", "status", "error_code", "segment_count"],
    "findings": ["rule", "severity", "seg_series_uid", "segment_number", "message"],
}


def check(dataset: str, /, *, json: bool = False) -> int:
    """Read a dataset back and compare every file and row.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    json
        Machine-readable output.
    """
    from segtools.check import audit
    from segtools.codes import Severity

    with opened_dataset(dataset) as opened:
        findings = audit(opened)
    rows = findings.to_pylist()
    if json:
        print_json(rows)
    elif rows:
        print_table(findings.select(_SHOWN["findings"]), as_json=False)
    else:
        note("every file and row is as the tables say")
    return int(any(Severity[row["severity"].upper()] >= Severity.ERROR for row in rows))


def report(dataset: str, /) -> None:
    """Write a dataset's report again.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    """
    from flows.settings import load_settings
    from segtools.report.html import render

    home = load_settings().make_home(dataset)
    with home.look(temporary_folder) as view, view.open() as opened:
        page = view.layout.report
        render(opened, page)
        view.write(page)
    note(f"wrote {dataset}/{view.layout.relative(page)}")


def status(dataset: str, /, *, json: bool = False) -> None:
    """Where a dataset stands: running or not, what is done, what failed and why.

    Reads its files only, so it may be asked at any time and from any machine that sees it.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    json
        Machine-readable output.
    """
    from flows.settings import load_settings
    from segtools.run.status import read_status

    found = read_status(load_settings().make_home(dataset), temporary_folder)
    if json:
        print_json(found.to_dict())
        return
    who = found.holder or {}
    by = f" on {who['host']}, process {who['pid']}, since {who['started']}" if "pid" in who else ""
    release = f"IDC v{found.idc_version}" if found.idc_version else "own archive"
    lines: list[tuple[str, object]] = [
        ("state", f"{found.state}{by}"),
        ("last commit", f"{found.name} ({release})" if found.committed_series else "none"),
        ("committed", f"{found.committed_series:,} series, {found.committed_segments:,} segments"),
        ("staged", f"{found.staged_series:,} series wait for the commit"),
        ("outcomes", _counted(found.outcomes)),
        ("failed", _counted(found.failures)),
        ("pending", "no run under way" if found.pending_series is None else found.pending_series),
        ("bytes", f"{bytes_text(found.bytes_in)} in, {bytes_text(found.bytes_out)} out"),
    ]
    if found.rate_bytes_s is not None and found.eta_s is not None:
        lines.append(("rate", f"{bytes_text(found.rate_bytes_s)}/s, about {duration_text(found.eta_s)} left"))
    summary_lines(lines)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def retry(
    dataset: str,
    /,
    *,
    code: Annotated[tuple[str, ...], Parameter(name=("--code", "-c"))] = (),
    where: Where = Where(),
    direct: bool = False,
    json: bool = False,
) -> int:
    """Try failed series of a dataset again: its own cohort, with these error codes.

    Takes the options of the run that made it (--index, --config, --set). Series whose transfer failed are
    tried by every run; this is for the others, after their cause was mended.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    code
        Error code, as `idcseg status` lists them; may be repeated. Default: all of them.
    where
        Sources and settings.
    direct
        Without Prefect.
    json
        Machine-readable output.
    """
    from segtools.run.status import read_status

    home = where.settings().make_home(dataset)
    failures = read_status(home, temporary_folder).failures
    with home.look(temporary_folder) as view, temporary_folder() as folder:
        cohort, manifest = folder / "cohort.yaml", view.document(view.layout.manifest)
        text = view.document(view.layout.document("cohort.yaml"))
        if text is None or manifest is None:
            raise MissingError(
                "not-found",
                f"{dataset} was never committed, so it has no cohort.yaml.",
                hint="Run `idcseg run` again: it continues.",
                path=f"{dataset}/{cohort.name}",
            )
        if unknown := sorted(set(code) - failures.keys()):
            near = get_close_matches(unknown[0], failures)
            raise UsageError(
                "not-found",
                f"No series of {dataset} failed with {unknown[0]!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"Failed ones: {_counted(failures)}.",
                value=unknown[0],
            )
        if not failures:
            note(f"no series of {dataset} failed")
            return 0
        for path, content in ((cohort, text), (folder / view.layout.manifest.name, manifest)):
            path.write_bytes(content)
        codes = code or tuple(failures)
        return run_cohort(str(cohort), dataset, where, direct=direct, json=json, retry=codes)


def opened_dataset(dataset: str) -> Dataset:
    """The dataset in a folder or bucket, by the settings in force."""
    from flows.settings import load_settings
    from segtools.dataset.reader import open_dataset

    return open_dataset(dataset, load_settings().bucket_options())
