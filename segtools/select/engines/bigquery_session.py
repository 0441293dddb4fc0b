"""One release of IDC on BigQuery: its tables and columns, and queries on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from segtools import schema
from segtools.errors import QueryError, SelectError
from segtools.select.engines import schema_drift
from segtools.select.engines.base import Result, SessionInfo, check_columns, conform
from segtools.select.engines.bigquery_jobs import Jobs
from segtools.select.engines.bigquery_options import BigQueryOptions
from segtools.select.sql.library import Query
from segtools.select.sql.statement import Statement, no_rows, parse, statement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from google.cloud import bigquery
    from sqlglot import exp

    from segtools.select.sql.library import Library


DICOM_ALL = schema.Table(
    "dicom_all",
    "The columns of IDC's instance table that the queries read.",
    tuple(
        schema.Column(name, kind, f"{name}, as in IDC's dicom_all.", nullable=True)
        for name, kind in (
            *(
                (column.name, column.kind)
                for column in schema.IDC_SERIES.columns
                if column.name not in ("series_size_bytes", "instance_count")
            ),
            *(
                (column.name, column.kind)
                for column in schema.IDC_INSTANCES.columns
                if column.name != "SeriesInstanceUID"
            ),
        )
    ),
)


DICOM_IMAGES = schema.Table(
    "dicom_images",
    "The columns of IDC's instance table that tell how images were made; read only where a cohort asks.",
    tuple(
        schema.Column(name, kind, f"{name}, as in IDC's dicom_all.", nullable=True)
        for name, kind in (
            *((name, "string") for name in ("SeriesInstanceUID", "SOPClassUID", "SliceThickness", "KVP")),
            *((name, "string") for name in ("MagneticFieldStrength", "SequenceName", "MRAcquisitionType")),
            *((name, "string") for name in ("EchoTime", "RepetitionTime", "DiffusionBValue")),
            *((name, "string") for name in ("ContrastBolusAgent", "Rows", "Columns")),
            *((name, "strings") for name in ("PixelSpacing", "ConvolutionKernel")),
        )
    ),
)


_LABELMAP_PATHS = (
    "ReferencedSeriesSequence.SeriesInstanceUID",
    *(
        f"SegmentSequence.{name}"
        for name in ("SegmentNumber", "SegmentAlgorithmType", "SegmentAlgorithmName")
    ),
    *(
        f"SegmentSequence.{sequence}.{part}"
        for sequence in (
            "SegmentedPropertyCategoryCodeSequence",
            "SegmentedPropertyTypeCodeSequence",
            "AnatomicRegionSequence",
        )
        for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    ),
    *(
        f"SegmentSequence.{sequence}.{part}"
        for sequence in (
            "SegmentedPropertyTypeCodeSequence.SegmentedPropertyTypeModifierCodeSequence",
            "AnatomicRegionSequence.AnatomicRegionModifierSequence",
        )
        for part in ("CodeValue", "CodingSchemeDesignator")
    ),
)
"""Nested columns of dicom_all that the query `labelmap_segments` cannot do without."""


class BigQuerySession:
    """One release of IDC on BigQuery."""

    def __init__(
        self,
        engine: BigQueryOptions,
        jobs: Jobs,
        version: int,
        releases: tuple[int, int] | None,
        labelmaps: bool,
    ) -> None:
        self._engine, self._jobs, self._version, self._releases = engine, jobs, version, releases
        self._missing: dict[str, frozenset[str]] = {}
        self._warnings: list[str] = []
        self._columns = {version: self._probe(version)}
        for release in releases or ():
            if release not in self._columns:
                self._columns[release] = self._probe(release)
        self._relations: dict[str, exp.Expr] = {}
        self._dicom_all = {release: self._dicom_all_of(release) for release in self._columns}
        self._segmentations = self._segmentations_of(version)
        self._labelmaps = labelmaps and self._labelmaps_readable()
        self.facts = self._facts()

    def _facts(self) -> SessionInfo:
        from google.cloud import bigquery

        return SessionInfo(
            engine="bigquery",
            idc_version=self._version,
            has_segments=True,
            has_objects=True,
            has_images=True,
            missing=self._missing,
            warnings=tuple(self._warnings),
            versions={"google-cloud-bigquery": bigquery.__version__},
            price_usd_per_tib=self._engine.price_usd_per_tib,
        )

    def _dataset(self, version: int) -> str:
        return f"{self._engine.dataset_project}.idc_v{version}"

    def _probe(self, version: int) -> dict[str, dict[str, str]]:
        """Table → field path → GoogleSQL type."""
        sql = (
            "SELECT table_name, field_path, data_type"
            f" FROM `{self._dataset(version)}`.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS"
            " WHERE table_name IN UNNEST(@names)"
        )
        names = ["segmentations", "dicom_all"]
        made = Statement("probe", sql, {"names": ("ARRAY<STRING>", names)})
        tables: dict[str, dict[str, str]] = {name: {} for name in names}
        for row in self._jobs.run(made)[0].to_pylist():
            tables[row["table_name"]][row["field_path"]] = row["data_type"]
        for name, paths in tables.items():
            if not paths:
                raise SelectError(
                    "table-invalid", f"{self._dataset(version)} has no table {name}.", table=name
                )
        return tables

    def _schema(self, version: int, table: str) -> pa.Schema:
        paths = self._columns[version][table]
        return pa.schema(
            [(path, schema_drift.parse_google_type(kind)) for path, kind in paths.items() if "." not in path]
        )

    def _dicom_all_of(self, version: int) -> exp.Expr:
        return self._projected(DICOM_ALL, version)

    def _segmentations_of(self, version: int) -> exp.Expr:
        return self._projected(schema.IDC_SEGMENTATIONS, version)

    def _projected(self, table: schema.Table, version: int, physical_name: str | None = None) -> exp.Expr:
        """The physical table, or a SELECT from it that makes up for columns that come and go."""
        from sqlglot import exp

        name = physical_name or table.name
        physical = exp.to_table(f"`{self._dataset(version)}.{name}`", dialect="bigquery")
        have = self._schema(version, name)
        projection = schema_drift.project(table, have, f"{self._dataset(version)}.{name}")
        if projection.missing and version == self._version:
            self._missing[table.name] = projection.missing
        if all(
            isinstance(item, exp.Alias) and isinstance(item.this, exp.Column)
            for item in projection.expressions
        ):
            return physical
        return exp.select(*projection.expressions).from_(physical)

    def _labelmaps_readable(self) -> bool:
        absent = [path for path in _LABELMAP_PATHS if path not in self._columns[self._version]["dicom_all"]]
        if absent:
            self._warnings.append(
                f"Label maps are not searched by segment: dicom_all of IDC v{self._version}"
                f" lacks {absent[0]}."
            )
        return not absent

    def _relation(self, name: str, library: Library) -> exp.Expr | None:
        from sqlglot import exp

        if name in self._engine.tables:
            return exp.to_table(f"`{self._engine.tables[name]}`", dialect="bigquery")
        if name == "segmentations":
            return self._segmentations
        if name == "dicom_all":
            return self._dicom_all[self._version]
        if name == "dicom_images":
            return self._projected(DICOM_IMAGES, self._version, "dicom_all")
        if name in ("series_before", "series_after") and self._releases is not None:
            return self._series_of(self._releases[name == "series_after"], library)
        if name == "labelmap_segments":
            return self._labelmap_segments(library) if self._labelmaps else no_rows(library[name])
        return None

    def _series_of(self, version: int, library: Library) -> exp.Expr:
        """The query `series_index` on another release."""
        from sqlglot import exp

        tree = parse(library["series_index"])
        for parameter in list(tree.find_all(exp.Parameter)):
            parameter.replace(exp.Literal.number(version))
        return _on(tree, self._dicom_all[version])

    def _labelmap_segments(self, library: Library) -> exp.Expr:
        """The query `labelmap_segments`, whose nested columns are all there; releases differ in one.

        SegmentAlgorithmName is STRING in some and ARRAY<STRING> in others.
        """
        from sqlglot import exp

        tree = parse(library["labelmap_segments"])
        kind = self._columns[self._version]["dicom_all"]["SegmentSequence.SegmentAlgorithmName"]
        if not kind.upper().startswith("ARRAY"):
            for item in list(tree.find_all(exp.Bracket)):
                if item.this.name == "SegmentAlgorithmName":
                    item.replace(item.this)
        physical = exp.to_table(f"`{self._dataset(self._version)}.dicom_all`", dialect="bigquery")
        return _on(tree, physical)

    def _statement(self, query: Query, values: Mapping[str, Any], library: Library) -> Statement:
        return statement(query, values, library, lambda name: self._relation(name, library), "bigquery")

    def run(
        self,
        query: str,
        values: Mapping[str, Any],
        library: Library,
        answers: Mapping[str, pa.Table] | None = None,
    ) -> Result:
        """Run a query of the library, dry first.

        Raises
        ------
        SelectError
            ``query-too-expensive``, ``table-invalid``.
        QueryError
            ``query-invalid``.
        EnvironmentProblem
            ``query-refused``, ``query-unavailable``.
        """
        made = self._statement(library[query], values, library)
        table, estimated, processed, job_id = self._jobs.run(made)
        return Result(conform(library[query], table), made.sha256, processed, estimated, job_id)

    def estimate(self, query: str, values: Mapping[str, Any], library: Library) -> int:
        """Bytes of a dry run."""
        return self._jobs.estimate(self._statement(library[query], values, library))

    def columns(self, query: str, values: Mapping[str, Any], library: Library) -> dict[str, pa.DataType]:
        """Output columns of a query, from its dry run."""
        job = self._jobs.dry_run(self._statement(library[query], values, library))
        fields = job.schema
        if fields is None:
            raise QueryError("query-invalid", f"Query {query!r}: the dry run gave no columns.", query=query)
        columns = {item.name: _arrow_type(item) for item in fields}
        check_columns(library[query], columns)
        return columns

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client: Any = self._jobs.client
        client.close()


def _on(tree: exp.Query, dicom_all: exp.Expr) -> exp.Query:
    """`tree` with its table dicom_all replaced."""
    from sqlglot import exp

    from segtools.select.sql.statement import replace_table

    for table in list(tree.find_all(exp.Table)):
        if table.name == "dicom_all" and not table.db:
            replace_table(table, dicom_all)
    return tree


def _arrow_type(item: bigquery.SchemaField) -> pa.DataType:
    names = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
    kind = schema_drift.parse_google_type(names.get(item.field_type, item.field_type))
    return pa.list_(kind) if item.mode == "REPEATED" else kind
