"""From a cohort to its series: the one entry point of this stage."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from segtools import schema
from segtools.errors import QueryError, SelectError, SpecError
from segtools.select.cohort_spec import CohortSpec
from segtools.select.concept_keys import (
    PREFIXES,
    Concepts,
    code_keys,
    require_segments,
)
from segtools.select.concept_values import concept_values
from segtools.select.engines.base import Result, check_columns
from segtools.select.engines.sources import Sources
from segtools.select.filters import CONCEPTS, OF_SERIES_INDEX, CohortCode, filters
from segtools.select.known_names import KnownNames, given_filters, plain_value
from segtools.select.split import with_split
from segtools.select.sql.library import Library, load_query
from segtools.select.sql.statement import CHOSEN
from segtools.select.user_query import QUERY_PREFIX, prefixed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.select.engines.base import Engine, Session, SessionInfo


@dataclass(frozen=True)
class Selection:
    """A cohort's series.

    Attributes
    ----------
    series : pyarrow.Table
        Schema `segtools.schema.SELECTION`, sorted by collection, patient, study, series.
    objects : pyarrow.Table
        Schema `segtools.schema.OBJECTS`: what `fetch` checks against, where a table knows it.
    segments : pyarrow.Table or None
        The segments that match, where the cohort filters on segments (all segments of a selected
        series are decoded all the same).
    segment_count : int or None
        Matching segments; None where no table knows.
    idc_version : int or None
        The release, resolved; None where IDC is no source.
    engine : str
        ``duckdb`` or ``bigquery``.
    warnings : tuple of str
        What could not be filtered on, or was asked for and is not there.
    provenance : dict
        Hashes of the SQL, versions, bytes, per query.
    """

    series: pa.Table
    objects: pa.Table
    segments: pa.Table | None
    segment_count: int | None
    idc_version: int | None
    engine: str
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    images: pa.Table | None = None
    """The image series to fetch too, as rows of `segtools.schema.SELECTION`; None: not asked for."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """`output.labels` by the names that the catalog gives; empty where the cohort names none."""


def select(
    spec: CohortSpec,
    sources: Sources | None = None,
    engine: Engine | None = None,
    *,
    library: Library | None = None,
) -> Selection:
    """The series of a cohort.

    Parameters
    ----------
    spec : CohortSpec
    sources : Sources, optional
        Default: what the cohort names.
    engine : Engine, optional
        Default: the embedded one.
    library : Library, optional
        Default: the project's queries.

    Raises
    ------
    SelectError
        ``no-match``, ``unknown-structure``, ``unknown-collection``, ``table-invalid``,
        ``source-missing``, ``version-unknown``.
    QueryError
        ``query-invalid``, of the cohort's own query.
    EnvironmentProblem
        ``source-missing``, ``credentials-missing``, ``query-refused``, ``query-unavailable``.
    """
    run = _Run(spec, sources or Sources.of(spec), engine or _default_engine(), library or Library())
    with run.open() as session:
        return run.select(session)


def estimate(
    spec: CohortSpec,
    sources: Sources | None = None,
    engine: Engine | None = None,
    *,
    library: Library | None = None,
) -> int:
    """Bytes that `select` would have the engine read, by dry run; 0 for the embedded engine."""
    run = _Run(spec, sources or Sources.of(spec), engine or _default_engine(), library or Library())
    with run.open() as session:
        return run.estimate(session)


@contextlib.contextmanager
def prepared(
    spec: CohortSpec,
    sources: Sources | None = None,
    engine: Engine | None = None,
    library: Library | None = None,
) -> Iterator[tuple[Session, Mapping[str, Any], Library]]:
    """An open session with the cohort's parameter values, for queries that read `series`."""
    run = _Run(spec, sources or Sources.of(spec), engine or _default_engine(), library or Library())
    with run.open() as session:
        run.prepare(session)
        yield session, run.values, run.library


def _default_engine() -> Engine:
    from segtools.select.engines.duckdb import LocalEngine

    return LocalEngine()


class _Run:
    """One selection."""

    def __init__(self, spec: CohortSpec, sources: Sources, engine: Engine, library: Library) -> None:
        self.spec, self.sources, self.engine, self.library = spec, sources, engine, library
        self.results: dict[str, Result] = {}
        self.warnings: list[str] = []
        self.values: dict[str, Any] = {}

    def open(self) -> Session:
        types = self.spec.segmentation_types
        labelmaps = not types or "LABELMAP" in types
        return self.engine.open(self.sources, self.spec.idc_version, labelmaps=labelmaps)

    def select(self, session: Session) -> Selection:
        spec, facts = self.spec, session.facts
        self.prepare(session)
        rows = self.ask(session, "series")
        if rows.num_rows == 0:
            raise self.nothing(session)
        rows = self.without_slides(rows)
        if spec.sample is None:
            self.names.note_absent(rows)
        segments = None
        if spec.segment_filters:
            segments = self.ask(session, "segments")
            self.check_codes(session, segments)
            self.names.check_algorithms(segments)
        objects = self.ask(session, "objects") if facts.has_objects else schema.OBJECTS.empty()
        count = pc.sum(rows["matching_segments"]).as_py() if facts.has_segments else None
        labels = self.labels(session)
        return Selection(
            series=_as(schema.SELECTION, with_split(rows.drop_columns("matching_segments"), spec.split)),
            objects=_as(schema.OBJECTS, objects),
            segments=segments,
            segment_count=count,
            idc_version=facts.idc_version,
            engine=facts.engine,
            images=self.images(session, rows),
            labels=labels,
            warnings=(*facts.warnings, *self.warnings, *self.names.warnings),
            provenance=self.provenance(facts),
        )

    def without_slides(self, rows: pa.Table) -> pa.Table:
        """The series but those of slide microscopy, which are no volumes: terabytes fetched to fail."""
        if self.spec.source.slides:
            return rows
        is_slide = pc.fill_null(pc.equal(rows["source_modality"], "SM"), False)
        slides = rows.filter(is_slide)
        if not slides.num_rows:
            return rows
        kept = rows.filter(pc.invert(is_slide))
        size = pc.sum(slides["size_bytes"]).as_py() / 1e9
        what = f"{slides.num_rows:,} series of slide microscopy ({size:,.1f} GB)"
        if not kept.num_rows:
            raise SelectError(
                "no-match",
                f"The cohort matches {what} only; no volumes can be made of these.",
                hint="To fetch the files nevertheless, set `source: {slides: true}` in the cohort file.",
            )
        self.warnings.append(f"{what} are left out: no volumes can be made of these.")
        self.results["series"] = replace(self.results["series"], table=kept)
        return kept

    def estimate(self, session: Session) -> int:
        self.prepare(session, look_up=False)
        names = ["series"]
        names += ["segments"] if self.spec.segment_filters else []
        names += ["objects"] if session.facts.has_objects else []
        return sum(session.estimate(name, self.values, self.library) for name in names)

    def prepare(self, session: Session, *, look_up: bool = True) -> None:
        """Values of all parameters; refuse what these tables cannot answer."""
        spec, facts = self.spec, session.facts
        if given := [*spec.segment_filters, *(["structures_all"] if spec.structures_all else [])]:
            require_segments(session, f"The filter {given[0]!r}")
        self.check_images(session)
        self.check_missing(facts)
        self.names = KnownNames(spec, session, self.library)
        values = self.names.values(look_up=look_up)
        for name in filters("segments").keys() - {*CONCEPTS, "segmentation_types"}:
            values[name] = list(getattr(spec, name))
        only_labelmaps = set(spec.segmentation_types) == {"LABELMAP"}
        values["labelmaps_only"] = only_labelmaps
        values["segmentation_types"] = [] if only_labelmaps else list(spec.segmentation_types)
        values |= {name: plain_value(given) for name, given in spec.image_filters.items()}
        values["by_image"] = bool(spec.image_filters)
        values["by_segment"] = bool(spec.segment_filters or spec.image_filters or spec.structures_all)
        values["studies_with"] = list(spec.studies_with)
        values["exclude_studies_with"] = list(spec.exclude.studies_with)
        values["min_studies"] = spec.min_studies
        values["max_bytes"] = spec.max_bytes or 0
        values["with_slides"] = spec.source.slides
        if spec.sample is not None:
            values["sample_patients"] = spec.sample.patients or 0
            values["sample_series"] = spec.sample.series or 0
            values["sample_seed"] = spec.sample.seed
            values["sample_per"] = spec.sample.per or ""
        if facts.idc_version is not None:
            values["idc_version"] = facts.idc_version
        values |= concept_values(self.spec, session, self.library)
        self.values = values
        if spec.query is not None:
            self.use_query(session)

    def check_images(self, session: Session) -> None:
        """Refuse filters on images where no table names them, or tells what is asked."""
        given = [name.removeprefix("image_") for name in self.spec.image_filters]
        if not given:
            return
        require_segments(session, f"The filter images.{given[0]}")
        facts = session.facts
        beyond = [name for name in given if name not in OF_SERIES_INDEX]
        geometry = [name for name in given if name in ("regular_volume", "slice_spacing_mm")]
        if beyond and not facts.has_images:
            raise SelectError(
                "source-missing",
                f"images.{beyond[0]} needs IDC's indexes of CT, MR and PT, which are not at hand.",
                hint="Run `idcseg mirror` once.",
                key=f"images.{beyond[0]}",
            )
        if geometry and facts.engine == "bigquery":
            raise SelectError(
                "source-missing",
                f"images.{geometry[0]} cannot be answered by BigQuery: no table there holds it.",
                hint="Use the embedded engine: --set engine.kind=duckdb.",
                key=f"images.{geometry[0]}",
            )

    def check_missing(self, facts: SessionInfo) -> None:
        missing = facts.missing.get("segmentations", frozenset())
        needed = {name: made.needs for name, made in filters("segments").items() if made.needs}
        for name, column in needed.items():
            if name in self.spec.segment_filters and column in missing:
                raise SelectError(
                    "table-invalid",
                    f"The cohort filters on {name}, but the table `segmentations` has no column {column}.",
                    hint="Take another idc_version, or leave the filter out.",
                    key=name,
                )
        if missing:
            self.warnings.append(
                f"The table `segmentations` lacks {', '.join(sorted(missing))}; they read as null."
            )

    def use_query(self, session: Session) -> None:
        assert self.spec.query is not None  # noqa: S101 - the caller asked
        path = Path(self.spec.query.folder)
        query = load_query(path) if path.is_dir() else self.library[self.spec.query.folder]
        given = self.spec.query.parameters
        if unknown := given.keys() - {parameter.name for parameter in query.parameters}:
            raise SpecError(
                "spec-invalid", f"Query {query.name!r} has no parameters {sorted(unknown)}.", key="query"
            )
        if query.columns.get("seg_series_uid") != "STRING":
            raise QueryError(
                "query-invalid",
                f"Query {query.name!r} must give a column seg_series_uid of type STRING to choose series by.",
                query=query.name,
            )
        check_columns(query, session.columns(query.name, given, self.library.with_query(query, query.name)))
        self.library = self.library.with_query(prefixed(query), CHOSEN)
        self.values |= {f"{QUERY_PREFIX}{name}": value for name, value in given.items()}
        self.values["by_query"] = True

    def images(self, session: Session, rows: pa.Table) -> pa.Table | None:
        """The image series that the chosen series were drawn on, where `output.images` asks for them."""
        if self.spec.output.images == "none":
            return None
        found = self.ask(session, "sources").rename_columns(
            {"source_series_uid": "seg_series_uid", "modality": "source_modality"}
        )
        absent = [name for name in schema.SELECTION.names if name not in found.column_names]
        for name in absent:
            found = found.append_column(name, pa.nulls(found.num_rows, schema.SELECTION[name].type))
        there = set(found["seg_series_uid"].to_pylist())
        without = sum(uid not in there for uid in rows["source_series_uid"].to_pylist())
        if without:
            self.warnings.append(
                f"output.images: the tables do not list the images of {without} of {rows.num_rows} series."
            )
        return _as(schema.SELECTION, found)

    def labels(self, session: Session) -> dict[str, int]:
        """`output.labels` by the names in the catalog; a name that does not occur is refused.

        All segments of a chosen series are decoded, so all that occur in them can have a label.
        """
        wanted = self.spec.output.labels
        if not wanted:
            return {}
        if not session.facts.has_segments:
            self.warnings.append(
                "output.labels: no segment table is available, so these names cannot be checked."
            )
            return dict(wanted)
        rows = self.ask(session, "series_concepts")
        return Concepts(tuple(rows.to_pylist())).labels(wanted)

    def ask(self, session: Session, query: str) -> pa.Table:
        answers = {"series": self.results["series"].table} if "series" in self.results else None
        self.results[query] = session.run(query, self.values, self.library, answers)
        return self.results[query].table

    def check_codes(self, session: Session, segments: pa.Table | None) -> None:
        """Complain about codes that occur nowhere; note those that the other filters rule out."""
        concepts: Concepts | None = None
        for name, prefix in PREFIXES.items():
            found = _segment_keys(segments, prefix)
            for item in getattr(self.spec, name):
                if not isinstance(item, CohortCode) or not found.isdisjoint(code_keys(item).codes):
                    continue
                concepts = concepts or Concepts.read(session, self.library)
                concepts.keys(name, item)
                if self.spec.sample is None and segments is not None:
                    self.warnings.append(f"{name}: no segment {item} passes the other filters.")

    def nothing(self, session: Session) -> SelectError:
        """Why nothing matches."""
        self.names.check_algorithms(None)
        self.check_codes(session, None)
        given = given_filters(self.spec)
        given += [name.replace("image_", "images.") for name in self.spec.image_filters]
        given += [
            name
            for name in ("structures_all", "studies_with", "min_studies", "max_bytes")
            if getattr(self.spec, name)
        ]
        given += ["query"] if self.spec.query is not None else []
        text = ", ".join(given) if given else "none"
        return SelectError("no-match", f"No segmentation series passes all filters ({text}).", filters=given)

    def provenance(self, facts: SessionInfo) -> dict[str, Any]:
        queries = {name: result.provenance() for name, result in self.results.items()}
        if self.spec.query is not None:
            queries[CHOSEN] = {"sql_sha256": self.library[CHOSEN].sha256}
        read = [
            result.bytes_processed for result in self.results.values() if result.bytes_processed is not None
        ]
        estimated = [
            result.bytes_estimated for result in self.results.values() if result.bytes_estimated is not None
        ]
        return {
            "cohort_sha256": self.spec.sha256,
            "engine": facts.engine,
            "versions": dict(facts.versions),
            "idc_version": facts.idc_version,
            "queries": queries,
            "bytes_processed": sum(read),
            "bytes_estimated": sum(estimated),
            "price_usd_per_tib": facts.price_usd_per_tib,
        }


def _segment_keys(segments: pa.Table | None, prefix: str) -> set[str]:
    """Keys of the segments found, with and without side."""
    if segments is None:
        return set()
    columns = [f"{prefix}_scheme", f"{prefix}_code", "laterality"]
    keys: set[str] = set()
    for row in segments.select(columns).group_by(columns).aggregate([]).to_pylist():
        key = f"{row[columns[0]]}:{row[columns[1]]}"
        keys |= {key, f"{key}/{row['laterality']}"}
    return keys


def _as(table: schema.Table, rows: pa.Table) -> pa.Table:
    """`rows` with the schema of `table`.

    Raises
    ------
    SelectError
        ``table-invalid``: a column that must not be null is.
    """
    for column in table.columns:
        if not column.nullable and rows[column.name].null_count:
            raise SelectError(
                "table-invalid",
                f"{rows[column.name].null_count} of {rows.num_rows} rows have no {column.name}.",
                column=column.name,
            )
    rows = rows.select(list(table.names))
    return pa.Table.from_arrays(
        [rows[column.name].cast(column.type) for column in table.columns], schema=table.arrow
    )
