"""What a run shows in Prefect's UI: progress, a table of outcomes, a summary. One set per dataset."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.console import bytes_text
from segtools.dataset.layout import Layout
from segtools.objectstore.urls import is_bucket_url

if TYPE_CHECKING:
    from segtools.report.summary import Summary

_INTERVAL_S = 5.0


def artifact_key(dataset: str, what: str) -> str:
    """Key of a dataset's artifact: its name, 6 digits that tell apart those of one name, and `what`."""
    place = dataset if is_bucket_url(dataset) else str(Path(dataset).resolve())
    name = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(place).name.lower()).strip("-")[:40]
    tag = hashlib.sha256(place.encode()).hexdigest()[:6]
    return "-".join(filter(None, ("idcseg", name, tag, what)))


class ProgressArtifact:
    """A bar that is moved now and then: each update is a call of the server."""

    def __init__(self, dataset: str, total: int) -> None:
        self.total, self.done = total, 0
        self.last = time.monotonic()
        self.artifact: Any = None
        if total:
            key = artifact_key(dataset, "progress")
            self.artifact = create_progress_artifact(0.0, key=key, description=f"{total:,} series to do")

    def advance(self, count: int = 1) -> None:
        """Tell that `count` more series are done."""
        self.done += count
        now = time.monotonic()
        if self.artifact and (now - self.last >= _INTERVAL_S or self.done == self.total):
            self.last = now
            update_progress_artifact(self.artifact, 100.0 * self.done / self.total)


def show_summary(dataset: str, summary: Summary) -> None:
    """Make the table of outcomes and the markdown summary."""
    create_table_artifact(
        _outcome_rows(summary),
        key=artifact_key(dataset, "series"),
        description=f"Series of {PurePosixPath(dataset).name} by status and error code",
    )
    create_markdown_artifact(_markdown(dataset, summary), key=artifact_key(dataset, "summary"))


def _outcome_rows(summary: Summary) -> list[dict[str, Any]]:
    rows = [
        {"status": status, "error_code": "", "series": count, "example": ""}
        for status, count in summary.outcomes.items()
    ]
    rows += [
        {
            "status": "failed",
            "error_code": failure.code,
            "series": failure.series_count,
            "example": failure.examples[0].seg_series_uid if failure.examples else "",
        }
        for failure in summary.failures
    ]
    return rows


def _markdown(dataset: str, summary: Summary) -> str:
    if is_bucket_url(dataset):
        report = f"`{dataset}/report/report.html`"
    else:
        path = Layout(dataset).report.resolve()
        report = f"[{path}]({path.as_uri()})"
    releases = ", ".join(f"v{version}" for version in summary.idc_versions) or "own archive"
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.outcomes.items())
    lines = [
        f"# {PurePosixPath(dataset).name}",
        "",
        f"- report: {report}",
        f"- release: {releases}",
        f"- series: {counts}",
        f"- {summary.patient_count:,} patients, {summary.segment_count:,} segments, "
        f"{summary.volume_count:,} volumes, {bytes_text(summary.volume_bytes)}",
    ]
    if summary.failures:
        lines += ["", "| error code | series |", "|---|---:|"]
        lines += [f"| `{failure.code}` | {failure.series_count:,} |" for failure in summary.failures]
    return "\n".join(lines)
