"""Shards: one run's series, divided among processes that share nothing but the dataset folder.

Who holds the dataset plans the shards as tables in its folder. Each shard works through its own,
stages parts and writes a ledger of its own, and takes no lock; the holder commits. What a shard did is
read from those ledgers, never from whoever started it: a shard that died is started again, by another
number of attempt, and skips what is recorded.
"""

from __future__ import annotations

import heapq
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from segtools import schema
from segtools.errors import DatasetError, RunError
from segtools.run.ledger import Ledger, latest
from segtools.series import iter_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segtools.dataset.home import View
    from segtools.run.cohort import CohortRun
    from segtools.run.ledger import Outcome
    from segtools.series import SelectedSeries

_TABLES = {"selection": schema.SELECTION, "objects": schema.OBJECTS, "images": schema.SELECTION}
_LEDGER = "shard-"
"""Start of the names of the shards' ledgers."""


def divide(series: Sequence[SelectedSeries], count: int) -> list[list[SelectedSeries]]:
    """At most `count` lists of about equal bytes, each in the order of `series`, none empty.

    The largest series first, always to the lightest list; ties are broken by UID and number, so the
    same series are divided the same way everywhere.
    """
    order = {one.seg_series_uid: place for place, one in enumerate(series)}
    lists: list[list[SelectedSeries]] = [[] for _ in range(min(count, len(series)))]
    heap = [(0, 0, number) for number in range(len(lists))]
    for one in sorted(series, key=lambda one: (-one.size_bytes, one.seg_series_uid)):
        size, length, number = heapq.heappop(heap)
        lists[number].append(one)
        heapq.heappush(heap, (size + one.size_bytes, length + 1, number))
    return [sorted(items, key=lambda one: order[one.seg_series_uid]) for items in lists]


def plan(view: View, series: Sequence[SelectedSeries], count: int, run_id: str) -> list[str]:
    """Write the plans of a run's shards, where the shards can read them; their names.

    Parameters
    ----------
    view : View
    series : sequence of SelectedSeries
    count : int
    run_id : str
        Unique among the runs of this dataset; lower-case letters, digits and hyphens.

    Raises
    ------
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    names = []
    for number, items in enumerate(divide(series, count), start=1):
        names.append(f"{run_id}-{number:03d}")
        rows = (
            [one.row() for one in items],
            [
                {
                    "seg_series_uid": one.seg_series_uid,
                    "url": item.url,
                    "size_bytes": item.size_bytes,
                    "md5": item.md5,
                    "sop_uid": item.sop_uid,
                }
                for one in items
                for item in one.objects
            ],
            list({image.seg_series_uid: image.row() for one in items for image in one.images}.values()),
        )
        for (name, table), content in zip(_TABLES.items(), rows, strict=True):
            file = io.BytesIO()
            pq.write_table(table.from_rows(content), file, compression="zstd")
            view.write(view.layout.shard(names[-1], name), file.getvalue())
    return names


def planned(view: View, shard: str) -> list[SelectedSeries]:
    """The series of a shard, as planned.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: the plan is not there, or cannot be read.
    """
    view.shards()
    tables = []
    for name, table in _TABLES.items():
        path = view.layout.shard(shard, name)
        try:
            tables.append(pq.read_table(path, schema=table.arrow))
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(
                "dataset-invalid",
                f"The shard's plan {path} cannot be read: {error}.",
                hint="Shards need the dataset folder under the same path on every machine.",
                path=str(path),
            ) from error
    return list(iter_selection(*tables))


def remaining(view: View, shard: str) -> list[SelectedSeries]:
    """The planned series that no attempt of this shard has recorded yet; errors as in `planned`."""
    recorded = latest(view.ledger(), f"{_LEDGER}{shard}-*")
    return [one for one in planned(view, shard) if one.seg_series_uid not in recorded]


def process(
    run: CohortRun,
    shard: str,
    attempt: int,
    number: int,
    settings_hash: str,
    progress: Callable[[Outcome], None] | None = None,
) -> int:
    """Work through what remains of a shard; the number of series worked on.

    Parameters
    ----------
    run : CohortRun
        Of the same cohort, dataset and settings as the planner's; not entered, the lock stays there.
    shard : str
    attempt : int
        Another one each time the shard is started.
    number, settings_hash : int, str
        The planner's `run.job.run` and `run.job.settings_hash`.
    progress : callable, optional
        Called with each outcome.

    Raises
    ------
    RunError
        ``shard-mismatch``: outputs would differ from the planner's.
    DatasetError
        As in `planned`; ``dataset-locked``: this attempt is running already.
    EnvironmentProblem, WriteError
        As in `CohortRun.process`.
    """
    if run.job.settings_hash != settings_hash:
        raise RunError(
            "shard-mismatch",
            f"Shard {shard} was planned with settings {settings_hash}, but here they are "
            f"{run.job.settings_hash}.",
            shard=shard,
        )
    run.job = replace(run.job, run=number)
    with run.peek() as view:
        return run.process(remaining(view, shard), progress, ledger=f"{_LEDGER}{shard}-{attempt:02d}")


def recorded(view: View, run_id: str) -> int:
    """How many series the shards of a run have recorded so far; cheap enough to be asked often."""
    files = view.ledger().glob(f"{_LEDGER}{run_id}-*.jsonl")
    return sum(file.read_bytes().count(b"\n") for file in files)


def clear(claim: View) -> None:
    """Remove all plans, and make one ledger of all; only for who holds the dataset."""
    with Ledger(claim.ledger()) as ledger:
        ledger.compact()
    for path in claim.layout.shards.glob("*.parquet"):
        path.unlink(missing_ok=True)
