"""Commands on a dataset: show, check, report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from flows.commands.cohort import print_outcome
from flows.console import note, print_json, print_table


def show(
    dataset: Path,
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
        Dataset folder.
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
    from segtools.dataset import open_dataset

    with open_dataset(dataset) as opened:
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


def check(dataset: Path, /, *, json: bool = False) -> int:
    """Read a dataset back and compare every file and row.

    Parameters
    ----------
    dataset
        Dataset folder.
    json
        Machine-readable output.
    """
    from segtools.check import audit
    from segtools.codes import Severity
    from segtools.dataset import open_dataset

    with open_dataset(dataset) as opened:
        findings = audit(opened)
    rows = findings.to_pylist()
    if json:
        print_json(rows)
    elif rows:
        print_table(findings.select(_SHOWN["findings"]), as_json=False)
    else:
        note("every file and row is as the tables say")
    return int(any(Severity[row["severity"].upper()] >= Severity.ERROR for row in rows))


def report(dataset: Path, /) -> None:
    """Write a dataset's report again.

    Parameters
    ----------
    dataset
        Dataset folder.
    """
    from segtools.dataset import open_dataset
    from segtools.report.html import render
    from segtools.write.layout import Layout

    with open_dataset(dataset) as opened:
        note(f"wrote {render(opened, Layout(dataset).report)}")
