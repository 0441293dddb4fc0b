"""What an executor hands a batch to: fetch, process, stage the rows, report the outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from segtools.dataset.stage import part_id
from segtools.run.image_series import BatchImages
from segtools.run.pipeline import Pipeline
from segtools.run.process import process_series, series_memory
from segtools.run.scratch import leased
from segtools.schema import (
    FILES,
    FINDINGS,
    IMAGES,
    SEGMENTS,
    SERIES,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.dataset.home import Home
    from segtools.dataset.stage import Stage
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
        with self.home.stage(partial(leased, self.options.scratch)) as stage:
            images = BatchImages(stage, self.job.settings_hash, self.job.write.compression_level)
            process = partial(process_series, job=self.job, stage=stage, images=images)
            estimate = partial(series_memory, job=self.job)
            pipeline = Pipeline(process, self.fetch, self.options, estimate, images.convert)
            self._pipelines.add(pipeline)
            try:
                results = pipeline(batch)
            finally:
                self._pipelines.discard(pipeline)
            stage_part(stage, part, [item.result for item in results])
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


def stage_part(stage: Stage, part: str, processed: Sequence[ProcessedSeries]) -> None:
    """Stage the rows of some processed series as one part; errors as in `Stage.rows`."""
    stage.rows(
        part,
        {
            SERIES.name: [item.series for item in processed],
            SEGMENTS.name: [row for item in processed for row in item.segments],
            FINDINGS.name: [row for item in processed for row in item.findings],
            FILES.name: [row for item in processed for row in item.files],
            IMAGES.name: [row for item in processed for row in item.images],
        },
    )
