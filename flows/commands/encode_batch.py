"""`idcseg encode-batch`: many masks to DICOM SEG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.console import note, print_json


def encode_batch(
    jobs: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    retry: bool = False,
    json: bool = False,
) -> int:
    """Encode the masks of a table, one DICOM SEG per line; call it again to continue.

    Parameters
    ----------
    jobs
        CSV or Parquet with the columns output, masks (several parted by `;`), source, meta and the other
        options of `idcseg encode`; paths are relative to its folder.
    output
        Folder of the objects; `encoded.csv` there says what became of each.
    retry
        Try jobs again that failed and did not change.
    json
        Machine-readable output.
    """
    from dataclasses import asdict

    from segtools.encode.jobs.batch import JobOutcome, read_jobs
    from segtools.encode.jobs.batch import encode_batch as run_batch

    def told(outcome: JobOutcome, earlier: bool) -> None:
        when = " (before)" if earlier else ""
        if outcome.status == "ok":
            note(f"ok{when} {outcome.output} ({outcome.size_bytes:,} bytes, {outcome.segments} segments)")
        else:
            note(f"error [{outcome.code}]{when} {outcome.output}: {outcome.message}")

    outcomes = run_batch(read_jobs(jobs), output, retry=retry, told=told)
    if json:
        print_json([asdict(outcome) for outcome in outcomes])
    failed = sum(outcome.status != "ok" for outcome in outcomes)
    note(f"{len(outcomes) - failed} of {len(outcomes)} jobs are encoded; now `idcseg index {output}`")
    if failed:
        return 3 if failed < len(outcomes) else 1
    return 0
