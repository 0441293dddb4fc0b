"""A cohort's run: the stages in order, each one a method, each one safe to repeat.

`CohortRun` is what Prefect tasks wrap and what runs without Prefect alike. Between `__enter__` and
`__exit__` it holds the dataset's lock.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from segtools.codes import CODES
from segtools.dataset import transaction
from segtools.dataset.run_record import settings_hash, versions, write_run
from segtools.decode import DECODE_VERSION, DecodeOptions
from segtools.errors import EnvironmentProblem, SegtoolsError, WriteError
from segtools.objectstore.s5cmd import FetchOptions
from segtools.run.batches import BATCH_BYTES, BATCH_COUNT, Batch, cut
from segtools.run.consent import Consent
from segtools.run.executors.base import ExecutorOptions
from segtools.run.executors.scheduler import run_batches
from segtools.run.ledger import Ledger
from segtools.run.pipeline import PipelineOptions
from segtools.run.process import Job, process_series
from segtools.run.scratch import leased
from segtools.run.status import plan_run
from segtools.run.worker import Worker, stage_part
from segtools.series import FetchedSeries, iter_selection
from segtools.write.instance import WriteOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from segtools.dataset.layout import Layout
    from segtools.dataset.storage import Home
    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.report.summary import Summary
    from segtools.run.executors.scheduler import Completed
    from segtools.run.ledger import Outcome
    from segtools.select import CohortSpec, Selection, Sources
    from segtools.select.engines.base import Engine
    from segtools.series import SelectedSeries

_log = logging.getLogger(__name__)

_RETRIED_STAGES = ("fetch", "run")
"""A series that failed in these stages is tried again by the next run; others only on request."""


@dataclass(frozen=True)
class RunConfig:
    """How a cohort is run; what is selected is in the cohort itself.

    Attributes
    ----------
    sources : Sources
        Tables to select from.
    engine : Engine
        What answers the queries.
    pipeline : PipelineOptions
        Scratch folder and budgets of one worker.
    fetch, decode, executor : options of these stages
    compression_level : int
        Of the volumes.
    batch_bytes, batch_series : int
        Where a batch is cut.
    consent : Consent
        What may be deleted and downloaded without asking.
    source_grids : mapping of str to SourceGrid
        Grids of the source series, for cohorts with ``grid: source``.
    """

    sources: Sources
    engine: Engine
    pipeline: PipelineOptions
    fetch: FetchOptions = field(default_factory=FetchOptions)
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    compression_level: int = 1
    consent: Consent = field(default_factory=Consent)
    batch_bytes: int = BATCH_BYTES
    batch_series: int = BATCH_COUNT
    source_grids: Mapping[str, SourceGrid] = field(default_factory=dict)


class CohortRun:
    """One run of a cohort into a dataset.

    Parameters
    ----------
    spec : CohortSpec
    cohort_text : str
        The cohort file as written; kept in the dataset.
    home : Home
        Where the dataset lives.
    config : RunConfig
    retry : collection of str
        Error codes whose series are tried again, besides those of fetching.

    Raises
    ------
    DatasetError
        On entering: ``output-not-ours``, ``dataset-locked``, ``dataset-incompatible``.
    """

    def __init__(
        self,
        spec: CohortSpec,
        cohort_text: str,
        home: Home,
        config: RunConfig,
        retry: Iterable[str] = (),
    ) -> None:
        self.spec, self.cohort_text, self.home, self.config = spec, cohort_text, home, config
        self.retry = frozenset(retry)
        self.started = datetime.now(UTC)
        self.processed = 0
        self._held = ExitStack()
        self._layout: Layout | None = None
        self.selection: Selection | None = None
        self.job = Job(
            settings_hash(self.settings),
            config.decode,
            WriteOptions(spec.output.volumes, config.compression_level),
            config.source_grids if spec.output.grid == "source" else None,
        )

    @property
    def layout(self) -> Layout:
        """The layout to work on; there is one while the run is entered, or looked at."""
        if self._layout is None:
            raise AssertionError("the run is not entered")
        return self._layout

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that outputs depend on: another value decodes again."""
        return {
            "decoder": DECODE_VERSION,
            "decode": asdict(self.config.decode) | {"max_bytes": None},
            "grid": self.spec.output.grid,
            "volumes": self.spec.output.volumes,
            "compression_level": self.config.compression_level,
        }

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(self.peek())
            held.enter_context(self.home.locked(self.layout))
            self.home.bring(self.layout)
            transaction.prepare(self.layout)
            self.job = replace(self.job, run=transaction.next_run(self.layout))
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @contextmanager
    def peek(self) -> Iterator[Layout]:
        """Look at the dataset without holding it; nothing is brought yet."""
        with self.home.opened(partial(leased, self.config.pipeline.scratch)) as layout:
            self._layout = layout
            try:
                yield layout
            finally:
                self._layout = None

    # --- stages -----------------------------------------------------------------------------------

    def select(self) -> Selection:
        """Stage `select`: ask the tables; errors as in `segtools.select.select`."""
        from segtools.select import select

        self.selection = select(self.spec, self.config.sources, self.config.engine)
        for warning in self.selection.warnings:
            _log.warning("%s", warning)
        return self.selection

    def pending(self) -> list[SelectedSeries]:
        """The selected series that are new, changed, or to be tried again; noted for `idcseg status`.

        Raises
        ------
        UsageError
            ``deletion-not-confirmed``, ``download-not-confirmed``.
        """
        selection = self._selected()
        if self.layout.manifest.is_file():
            with self.home.dataset(self.layout) as dataset:
                uids = selection.series["seg_series_uid"].to_pylist()
                self.config.consent.deletion(dataset, self.cohort_text, frozenset(uids))
        done = transaction.done(self.layout)
        pending = [
            series
            for series in iter_selection(selection.series, selection.objects)
            if self._is_open(series, done.get(series.seg_series_uid))
        ]
        self.config.consent.download(sum(series.size_bytes for series in pending), len(pending))
        plan_run(self.layout, self.job.run, pending)
        self.home.send(self.layout, self.layout.plan)
        return pending

    def process(
        self,
        series: list[SelectedSeries],
        progress: Callable[[Outcome], None] | None = None,
        ledger: str = "main",
    ) -> int:
        """Stages `fetch`, `decode`, `write` over batches; the number of series worked on.

        `ledger` is the name this writer's ledger takes; see `segtools.run.shards`.

        Raises
        ------
        EnvironmentProblem, WriteError
            The disk is full, the network is gone: what is done stays, the next run continues.
        """
        worker = Worker(self.job, self.home, self.config.fetch, self.config.pipeline)
        batches = cut(series, self.config.batch_bytes, self.config.batch_series)
        completions = run_batches(worker, batches, self.config.executor)
        # Closed here: an error's traceback would keep the workers alive, and the interpreter waits for them.
        with Ledger(self.layout.ledger, ledger) as records, closing(completions):
            for number, completed in enumerate(completions):
                outcomes = self._outcomes(completed)
                lines = records.append(outcomes)
                self.home.log(self.layout, f"{ledger}.{records.epoch:06d}-{number:06d}", lines)
                self.processed += len(outcomes)
                for outcome in outcomes:
                    if outcome.status == "failed":
                        _log.warning(
                            "%s: %s: %s", outcome.seg_series_uid, outcome.error_code, outcome.error_message
                        )
                    if progress is not None:
                        progress(outcome)
        return self.processed

    def commit(self) -> dict[str, Any]:
        """Make everything staged one dataset; gives its dataset.json."""
        selection = self._selected()
        self.home.bring(self.layout, self.layout.staging)  # what workers elsewhere staged
        parts = transaction.staged(self.layout)
        committed = transaction.commit(
            self.layout,
            cohort=self.cohort_text,
            current=selection.series,
            name=self.spec.name,
            idc_version=selection.idc_version,
            provenance={
                "selection": dict(selection.provenance),
                "settings": self.settings,
                "versions": versions(),
            },
            label_index=dict(self.spec.output.labels) or None,
        )
        self.home.publish(self.layout, parts)
        return committed

    def check(self) -> int:
        """Stage `check`: the catalog's rules, once per commit; the number of findings recorded now."""
        from segtools.check import check_catalog

        with self.home.dataset(self.layout) as dataset:
            if dataset.manifest.get("is_checked"):
                return 0
            findings = check_catalog(dataset)
        transaction.record_checks(self.layout, findings)
        self.home.publish(self.layout, ())
        return len(findings)

    def report(self) -> Summary:
        """Stage `report`: the HTML page, and the run's own record; the dataset in numbers."""
        from segtools.report.html import render
        from segtools.report.summary import summarize

        with self.home.dataset(self.layout) as dataset:
            render(dataset, self.layout.report)
            summary = summarize(dataset)
        write_run(
            self.layout,
            started=self.started,
            settings=self.settings,
            outcome={"processed": self.processed, "series": dict(summary.outcomes)},
        )
        with suppress(OSError):
            self.layout.plan.unlink()
        self.home.bring(self.layout, self.layout.ledger)
        if self.processed:
            with Ledger(self.layout.ledger) as ledger:
                ledger.compact()
        self.home.finish(self.layout)
        return summary

    # --- parts ------------------------------------------------------------------------------------

    def _selected(self) -> Selection:
        return self.selection or self.select()

    def _is_open(self, series: SelectedSeries, done: transaction.Done | None) -> bool:
        if done is None or done.crdc_series_uuid != series.crdc_series_uuid:
            return True
        if done.settings_hash != self.job.settings_hash:
            return True
        code = done.error_code
        return code is not None and (code in self.retry or CODES[code].stage in _RETRIED_STAGES)

    def _outcomes(self, completed: Completed[list[Outcome]]) -> list[Outcome]:
        """A batch's outcomes; a series that could not be processed at all becomes a failed row."""
        if completed.error is None:
            return completed.result or []
        error = completed.error
        if isinstance(error, EnvironmentProblem | WriteError):
            raise error
        return [self._lost(series, completed.batch, error) for series in completed.batch.series]

    def _lost(self, series: SelectedSeries, batch: Batch, error: SegtoolsError) -> Outcome:
        part = transaction.part_id(self.job.run, batch.id, is_last_word=True)
        with self.home.outbox(partial(leased, self.config.pipeline.scratch)) as layout:
            result = process_series(FetchedSeries(series, error=error), self.job, layout)
            stage_part(layout, part, [result])
        return replace(result.outcome, part=part)


def exit_code(summary: Summary) -> int:
    """3 if series failed, 1 if there are findings of severity error or above, else 0."""
    if summary.outcomes.get("failed"):
        return 3
    return int(any(finding.severity in ("error", "critical") for finding in summary.findings))
