"""`idcseg demo`: the pipeline as in production, on an archive made here and served from here."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.children import end_children_with_us
from flows.console import note, print_rows, summary_lines

if TYPE_CHECKING:
    from segtools.index import IndexReport
    from segtools.phantom.archive import Archived

_PARTIAL = 3


def demo(
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))] = Path("demo"),
    direct: bool = False,
) -> int:
    """The whole pipeline on a phantom archive served from this machine.

    Makes a dozen DICOM SEG series, serves them from an S3 endpoint on loopback, indexes them, and runs the
    cohort config/cohorts/demo.yaml on them. One file is broken on purpose. Exits with 0 exactly when
    everything came out as it should.

    Parameters
    ----------
    output
        Folder for archive, index and dataset.
    direct
        Without Prefect.
    """
    from flows.commands.cohort import run_cohort
    from flows.commands.options import Where
    from flows.s3_endpoint import serve_folder
    from flows.way_back import way_back
    from segtools.index import build_index
    from segtools.objectstore.urls import S3
    from segtools.phantom.archive import write_archive

    start = time.monotonic()
    end_children_with_us()
    output = output.resolve()
    archive, index, dataset = output / "archive", output / "index", output / "dataset"
    os.environ.setdefault("PREFECT_HOME", str(output / ".prefect"))
    note(f"1 of 4  making the phantom archive in {archive}")
    expected = write_archive(archive)
    with serve_folder(archive) as endpoint:
        note(f"2 of 4  serving it as S3 at {endpoint}; indexing it")
        report = build_index(archive, index, url_base=S3)
        note("3 of 4  idcseg run demo: select, fetch, decode, write, check, report")
        code = run_cohort(
            "demo", str(dataset), Where((index,), None, (f"fetch.endpoint={endpoint}",)), direct=direct
        )
    note("4 of 4  comparing with what was put in, and one mask's way back to DICOM")
    rows, wrong = _compare(expected, report, dataset)
    rows.append(way_back(dataset, archive, expected, output / "encoded", wrong))
    print_rows(rows, list(rows[0]), title=f"Every SEG series, {time.monotonic() - start:.0f} s in all")
    if code != _PARTIAL:
        wrong.append(f"the run ended with {code}; {_PARTIAL} (partial) was expected")
    for line in wrong:
        note(f"unexpected: {line}")
    load = f"import segtools; print(segtools.open('{dataset}').segments().slice(0, 3).to_pylist())"
    summary_lines([("load it", f'{sys.executable} -c "{load}"')])
    return int(bool(wrong))


def _compare(
    expected: list[Archived], report: IndexReport, dataset: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per SEG series of the archive, and a line per difference from what it should be."""
    from segtools.dataset.layout import Layout
    from segtools.dataset.reader import open_dataset
    from segtools.run.ledger import latest

    skipped = {item.path: item.code for item in report.skipped}
    outcomes = latest(Layout(dataset).ledger)
    with open_dataset(dataset) as opened:
        series = {row["seg_series_uid"]: row for row in opened.series().to_pylist()}
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    for item in expected:
        if item.modality != "SEG":
            continue
        known = series.get(item.series_uid)
        status = known["status"] if known else "skipped" if set(item.paths) & skipped.keys() else "missing"
        code = known["error_code"] if known else next((skipped.get(path) for path in item.paths), None)
        outcome = outcomes.get(item.series_uid)
        rows.append(
            {
                "patient": item.patient_id,
                "what": item.note,
                "status": status,
                "code": code,
                "segments": known["segment_count"] if known else None,
                "volumes": known["volume_count"] if known else None,
                "seconds": outcome.seconds_decode if outcome else None,
            }
        )
        if (status, code) != (item.status, item.code):
            wrong.append(f"{item.patient_id} {item.note}: {status} {code}, not {item.status} {item.code}")
        elif known and known["segment_count"] not in (item.segments, None):
            wrong.append(f"{item.patient_id}: {known['segment_count']} segments, not {item.segments}")
    if extra := series.keys() - {item.series_uid for item in expected}:
        wrong.append(f"series that were never put in: {sorted(extra)}")
    return rows, wrong
