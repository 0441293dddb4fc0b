"""A cohort's run: the steps in order, each one a method, each one safe to repeat.

::

    SELECT   ask the tables which series the cohort is
    PLAN     those that are new, changed, damaged, or to be tried again
    PROCESS  fetch, decode and write them, batch by batch; rows wait as staged parts
    MERGE    the next state of the dataset, from the last commit and what is staged; not public yet
    CHECK    the catalog's rules over that state
    REPORT   its page, and the dataset in numbers
    COMMIT   make all of it the dataset, at once

`CohortRun` is what Prefect tasks wrap and what runs without Prefect alike. Between `__enter__` and
`__exit__` it holds the dataset.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from segtools.codes import CODES
from segtools.dataset.replaced import GRACE
from segtools.dataset.run_record import settings_hash, versions, write_run
from segtools.dataset.stage import part_id
from segtools.dataset.transaction import Candidate, Cohort
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
from segtools.run.status import run_plan
from segtools.run.worker import Worker, stage_part
from segtools.series import FetchedSeries, iter_selection
from segtools.write.instance import WriteOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta
    from types import TracebackType

    from segtools.dataset.home import Claim, Home, View
    from segtools.dataset.layout import Layout
    from segtools.dataset.stage import Known
    from segtools.decode.geometry.source_images import SourceImages
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
    grace : timedelta
        How long a state that a commit replaces can still be read by who has opened it.
    source_images : SourceImages or None
        Headers of the source images, for cohorts with ``grid: source``.
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
    grace: timedelta = GRACE
    source_images: SourceImages | None = None


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
        On entering: ``output-not-ours``, ``dataset-locked``, ``dataset-invalid``, ``dataset-incompatible``.
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
        self._claim: Claim | None = None
        self._view: View | None = None
        self._candidate: Candidate | None = None
        self._summary: Summary | None = None
        self.selection: Selection | None = None
        self.job = Job(
            settings_hash(self.settings),
            config.decode,
            WriteOptions(spec.output.volumes, config.compression_level),
            config.source_images if spec.output.grid == "source" else None,
        )

    @property
    def layout(self) -> Layout:
        """The layout to work on; there is one while the run is entered, or looked at."""
        return self.view.layout

    @property
    def view(self) -> View:
        """The dataset, while the run is entered, or looked at."""
        if self._view is None:
            raise AssertionError("the run is not entered")
        return self._view

    @property
    def claim(self) -> Claim:
        """The dataset that is held, while the run is entered."""
        if self._claim is None:
            raise AssertionError("the run is not entered")
        return self._claim

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that outputs depend on: another value decodes again."""
        return {
            "decoder": DECODE_VERSION,
            "decode": asdict(self.config.decode) | {"max_bytes": None},
            "grid": self.spec.output.grid,
            "volumes": self.spec.output.volumes,
            **({"images": self.spec.output.images} if self.spec.output.images != "none" else {}),
            "compression_level": self.config.compression_level,
        }

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self._view = self._claim = held.enter_context(self.home.claim(self._scratch, self.config.grace))
            self.job = replace(self.job, run=self._claim.run)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view = self._claim = self._candidate = None
        self._held.close()

    @contextmanager
    def peek(self) -> Iterator[View]:
        """Look at the dataset without holding it."""
        with self.home.look(self._scratch) as view:
            self._view = view
            try:
                yield view
            finally:
                self._view = None

    # --- steps ------------------------------------------------------------------------------------

    def select(self) -> Selection:
        """SELECT: ask the tables; errors as in `segtools.select.select`."""
        from segtools.select import select

        self.selection = select(self.spec, self.config.sources, self.config.engine)
        for warning in self.selection.warnings:
            _log.warning("%s", warning)
        return self.selection

    def plan(self) -> list[SelectedSeries]:
        """PLAN: the selected series that have to be worked on; noted for `idcseg status`.

        Raises
        ------
        UsageError
            ``deletion-not-confirmed``, ``download-not-confirmed``.
        """
        selection, known = self._selected(), self.claim.known()
        if self.claim.base.manifest is not None:
            with self.claim.open() as dataset:
                uids = selection.series["seg_series_uid"].to_pylist()
                self.config.consent.deletion(dataset, self.cohort_text, frozenset(uids))
        planned = [
            series
            for series in iter_selection(selection.series, selection.objects, selection.images)
            if self._is_open(series, known.get(series.seg_series_uid))
        ]
        self.config.consent.download(sum(series.size_bytes for series in planned), len(planned))
        self.claim.write(self.layout.plan, run_plan(self.job.run, planned))
        return planned

    def process(
        self,
        series: list[SelectedSeries],
        progress: Callable[[Outcome], None] | None = None,
        ledger: str = "main",
    ) -> int:
        """PROCESS: fetch, decode and write, batch by batch; the number of series worked on.

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
        with Ledger(self.layout.ledger, ledger, self.view.record) as records, closing(completions):
            for completed in completions:
                outcomes = self._outcomes(completed)
                records.append(outcomes)
                self.processed += len(outcomes)
                for outcome in outcomes:
                    if outcome.status == "failed":
                        _log.warning(
                            "%s: %s: %s", outcome.seg_series_uid, outcome.error_code, outcome.error_message
                        )
                    if progress is not None:
                        progress(outcome)
        return self.processed

    def merge(self) -> dict[str, Any]:
        """MERGE: the next state from the last commit and everything staged; its dataset.json."""
        selection = self._selected()
        self._candidate = self.claim.merge(
            Cohort(
                self.cohort_text,
                selection.series,
                self.spec.name,
                selection.idc_version,
                {
                    "selection": dict(selection.provenance),
                    "settings": self.settings,
                    "versions": versions(),
                },
                dict(selection.labels) or None,
            )
        )
        return self._candidate.manifest

    def check(self) -> int:
        """CHECK: the catalog's rules over a new state; the number of findings."""
        from segtools.check import check_catalog

        candidate = self._merged()
        if candidate.is_checked:
            return 0
        with self.claim.open_candidate(candidate) as dataset:
            findings = check_catalog(dataset)
        self.claim.record_checks(candidate, findings)
        return len(findings)

    def report(self) -> Summary:
        """REPORT: the HTML page of a new state; the dataset in numbers."""
        from segtools.report.html import render
        from segtools.report.summary import summarize

        candidate = self._merged()
        page = self.layout.staging / self.layout.report.name
        with self.claim.open_candidate(candidate) as dataset:
            if candidate.is_new or self.claim.document(self.layout.report) is None:
                render(dataset, page)
                candidate.documents[self.layout.relative(self.layout.report)] = page
            self._summary = summarize(dataset)
        return self._summary

    def commit(self) -> dict[str, Any]:
        """COMMIT: make the merged state the dataset, and record this run; its dataset.json."""
        committed = self.claim.commit(self._merged())
        outcomes = dict(self._summary.outcomes) if self._summary else {}
        write_run(
            self.layout,
            started=self.started,
            settings=self.settings,
            outcome={"processed": self.processed, "series": outcomes},
        )
        folder = self.claim.ledger()
        if self.processed:
            with Ledger(folder) as ledger:
                ledger.compact()
        self.claim.finish()
        return committed

    # --- parts of steps ---------------------------------------------------------------------------

    @property
    def _scratch(self) -> Callable[[], Any]:
        return partial(leased, self.config.pipeline.scratch)

    def _selected(self) -> Selection:
        return self.selection or self.select()

    def _merged(self) -> Candidate:
        if self._candidate is None:
            self.merge()
        assert self._candidate is not None  # noqa: S101 - merge sets it
        return self._candidate

    def _is_open(self, series: SelectedSeries, known: Known | None) -> bool:
        if known is None or known.crdc_series_uuid != series.crdc_series_uuid:
            return True
        if known.settings_hash != self.job.settings_hash:
            return True
        code = known.error_code
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
        part = part_id(self.job.run, batch.id, is_last_word=True)
        with self.home.stage(self._scratch) as stage:
            result = process_series(FetchedSeries(series, error=error), self.job, stage)
            stage_part(stage, part, [result])
        return replace(result.outcome, part=part)


def exit_code(summary: Summary) -> int:
    """3 if series failed, 1 if there are findings of severity error or above, else 0."""
    if summary.outcomes.get("failed"):
        return 3
    return int(any(finding.severity in ("error", "critical") for finding in summary.findings))
