"""Where a dataset stands, read from its files alone: lock, plan of the run, staged parts, tables, ledger."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.dataset.home import described
from segtools.dataset.stage import run_of
from segtools.errors import MissingError
from segtools.run.ledger import latest
from segtools.schema import SERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.dataset.home import Home, Scratch, View
    from segtools.dataset.layout import Layout
    from segtools.series import SelectedSeries


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a dataset.

    Attributes
    ----------
    state : {"running", "interrupted", "idle"}
        Interrupted: nobody holds it, and a run has not come to its end.
    holder : dict or None
        Host, process and start of the run that holds it.
    name : str
        Of the committed cohort; empty before the first commit.
    idc_version : int or None
        Release of the last commit.
    committed_series, committed_segments : int
        Rows of the last commit's tables; 0 before the first one.
    staged_series : int
        Series that wait for the commit.
    outcomes, failures : dict of str to int
        Series by status, and failed ones by code; committed and staged ones, not the retired.
    pending_series : int or None
        Series the running (or interrupted) run has not come to; None if no run says.
    bytes_in, bytes_out : int, bytes
        Read and written for the series of the ledger, by their last outcome.
    rate_bytes_s : float or None, bytes/s
        Of the running run so far.
    eta_s : float or None, s
        Until it has processed its series.
    """

    state: Literal["running", "interrupted", "idle"]
    holder: dict[str, Any] | None
    name: str
    idc_version: int | None
    committed_series: int
    committed_segments: int
    staged_series: int
    outcomes: dict[str, int]
    failures: dict[str, int]
    pending_series: int | None
    bytes_in: int
    bytes_out: int
    rate_bytes_s: float | None
    eta_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def run_plan(number: int, series: Sequence[SelectedSeries]) -> bytes:
    """What a run is going to do, for `read_status`."""
    plan = {
        "run": number,
        "started": datetime.now(UTC).isoformat(),
        "series": len(series),
        "bytes": sum(one.size_bytes for one in series),
    }
    return json.dumps(plan).encode()


def read_status(home: Home, scratch: Scratch) -> Status:
    """The present state; takes no lock, changes nothing.

    Parameters
    ----------
    home : Home
    scratch : callable
        Makes a folder for what has to be brought here.

    Raises
    ------
    MissingError
        ``not-found``: no dataset there, not even one begun.
    DatasetError
        ``dataset-invalid``: a table cannot be read.
    """
    with home.look(scratch) as view:
        return _read(view, home)


def _read(view: View, home: Home) -> Status:
    layout = view.layout
    manifest, plan = view.manifest() or {}, described(view, layout.plan)
    parts = view.parts()
    held = home.holder()
    if not (manifest or plan or parts or held):
        raise MissingError("not-found", f"{home.name} holds no dataset, not even one begun.", path=home.name)
    tables = {name: entry["rows"] for name, entry in manifest.get("tables", {}).items()}
    known = view.known().values()
    outcomes = latest(view.ledger()).values()
    seen, seen_bytes = _seen(layout, [part for part in parts if run_of(part) >= plan.get("run", 0)])
    rate = eta = None
    if held and plan:
        elapsed = (datetime.now(UTC) - datetime.fromisoformat(plan["started"])).total_seconds()
        if seen_bytes and elapsed > 0:
            rate = seen_bytes / elapsed
            eta = max(0, plan["bytes"] - seen_bytes) / rate
    return Status(
        state="running" if held else "interrupted" if plan or parts else "idle",
        holder=held,
        name=manifest.get("name", ""),
        idc_version=manifest.get("idc_version"),
        committed_series=tables.get("series", 0),
        committed_segments=tables.get("segments", 0),
        staged_series=_seen(layout, parts)[0],
        outcomes=dict(sorted(Counter(one.status for one in known).items())),
        failures=dict(Counter(one.error_code for one in known if one.error_code).most_common()),
        pending_series=max(0, plan["series"] - seen) if plan else None,
        bytes_in=sum(one.bytes_in for one in outcomes),
        bytes_out=sum(one.bytes_out for one in outcomes),
        rate_bytes_s=rate,
        eta_s=eta,
    )


def _seen(layout: Layout, parts: Sequence[str]) -> tuple[int, int]:
    """Different series of some parts, and their bytes."""
    sizes: dict[str, int] = {}
    for part in parts:
        try:
            table = pq.read_table(layout.part(part, SERIES.name), columns=["seg_series_uid", "size_bytes"])
        except (OSError, pa.ArrowException):  # committed, or replaced, while we looked
            continue
        sizes |= zip(table["seg_series_uid"].to_pylist(), table["size_bytes"].to_pylist(), strict=True)
    return len(sizes), sum(sizes.values())
