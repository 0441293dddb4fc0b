"""What an executor hands a batch to: fetch, process, stage the rows, report the outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from segtools.dataset.transaction import part_id, stage
from segtools.run.pipeline import Pipeline
from segtools.run.process import process_series
from segtools.run.scratch import leased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.dataset.layout import Layout
    from segtools.dataset.storage import Home
    from segtools.objectstore.s5cmd import FetchOptions
    from segtools.run.batches import Batch
    from segtools.run.ledger import Outcome
    from segtools.run.pipeline import PipelineOptions
    from segtools.run.process import Job, ProcessedSeries


class Worker:
    """Does a whole batch; pickles, so that any executor can carry it.

    Parameters
    ----------
    job : Job
    home : Home
        Where the outputs go.
    fetch : FetchOptions
    options : PipelineOptions
    """

    def __init__(self, job: Job, home: Home, fetch: FetchOptions, options: PipelineOptions) -> None:
        self.job, self.home, self.fetch, self.options = job, home, fetch, options
        self._pipelines: set[Pipeline[ProcessedSeries]] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job, self.home, self.fetch, self.options)

    def __call__(self, batch: Batch) -> list[Outcome]:
        """Outcomes of the batch's series; their rows are staged as the part they name.

        Raises
        ------
        EnvironmentProblem, WriteError
            Nobody's fault in the batch: the run should stop.
        """
        part = part_id(self.job.run, batch.id)
        with self.home.outbox(partial(leased, self.options.scratch)) as layout:
            process = partial(process_series, job=self.job, layout=layout)
            pipeline = Pipeline(process, self.fetch, self.options)
            self._pipelines.add(pipeline)
            try:
                results = pipeline(batch)
            finally:
                self._pipelines.discard(pipeline)
            stage_part(layout, part, [item.result for item in results])
        return [
            replace(
                item.result.outcome,
                part=part,
                seconds_fetch=item.seconds_fetch,
                seconds_decode=item.seconds_process,
            )
            for item in results
        ]

    def cancel(self) -> None:
        """End running downloads; start nothing new."""
        for pipeline in list(self._pipelines):
            pipeline.cancel()


def stage_part(layout: Layout, part: str, processed: Sequence[ProcessedSeries]) -> None:
    """Stage the rows of some processed series as one part; errors as in `stage`."""
    stage(
        layout,
        part,
        [item.series for item in processed],
        [row for item in processed for row in item.segments],
        [row for item in processed for row in item.findings],
    )
