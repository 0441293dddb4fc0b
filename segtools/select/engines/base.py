"""What an engine is: it opens sources and runs queries of the library on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from segtools.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from segtools.select.engines.sources import Sources
    from segtools.select.sql.library import Library, Query

_ARROW = {"STRING": pa.string(), "INT64": pa.int64(), "FLOAT64": pa.float64(), "BOOL": pa.bool_()}


@dataclass(frozen=True)
class Result:
    """Rows of one query and how they came about.

    Attributes
    ----------
    table : pyarrow.Table
        With the columns that query.yaml declares, in their order.
    bytes_processed : int or None
        What BigQuery read; None for the embedded engine.
    """

    table: pa.Table
    sql_sha256: str
    bytes_processed: int | None = None
    bytes_estimated: int | None = None
    job_id: str | None = None

    def provenance(self) -> dict[str, Any]:
        """The run's record of this query."""
        record = {
            "sql_sha256": self.sql_sha256,
            "rows": self.table.num_rows,
            "bytes_processed": self.bytes_processed,
            "job_id": self.job_id,
        }
        return {key: value for key, value in record.items() if value is not None}


@dataclass(frozen=True)
class SessionInfo:
    """What an open session knows of its tables."""

    engine: str
    idc_version: int | None
    has_segments: bool
    """Whether every source has segment-level rows."""
    has_objects: bool
    has_images: bool = False
    """Whether a table tells slice thickness and the like of images."""
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Table → columns that it lacks (they read as null)."""
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    price_usd_per_tib: float = 0.0


class Session(Protocol):
    """Open tables."""

    facts: SessionInfo

    def run(
        self,
        query: str,
        values: Mapping[str, Any],
        library: Library,
        answers: Mapping[str, pa.Table] | None = None,
    ) -> Result:
        """Run a query of the library; `answers` are results of queries it reads, to be used again."""

    def estimate(self, query: str, values: Mapping[str, Any], library: Library) -> int:
        """Bytes the query would read, as the engine bills them; 0 for the embedded engine."""

    def columns(self, query: str, values: Mapping[str, Any], library: Library) -> dict[str, pa.DataType]:
        """Output columns of a query, without running it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """Opens sources."""

    @property
    def name(self) -> str:
        """``duckdb`` or ``bigquery``."""

    def open(
        self,
        sources: Sources,
        idc_version: int | str = "latest",
        *,
        releases: tuple[int, int] | None = None,
        labelmaps: bool = True,
    ) -> Session:
        """Open the tables of `sources` at an IDC release.

        Parameters
        ----------
        sources : Sources
        idc_version : int or "latest"
        releases : (int, int), optional
            Also open the series of these two releases, as `series_before` and `series_after`.
        labelmaps : bool
            Label Map Segmentation Storage is wanted (costs a scan of dicom_all on BigQuery).
        """


def arrow_type(kind: str) -> pa.DataType:
    """Arrow type of a GoogleSQL type of query.yaml."""
    if kind.startswith("ARRAY<"):
        return pa.list_(_ARROW[kind[6:-1]])
    return _ARROW[kind]


def conform(query: Query, table: pa.Table) -> pa.Table:
    """`table` with exactly the columns that `query` declares.

    Raises
    ------
    QueryError
        ``query-invalid``: names or types differ from query.yaml.
    """
    if not query.columns:  # a query of the moment declares none
        return table
    check_columns(query, dict(zip(table.column_names, table.schema.types, strict=True)))
    return table.cast(pa.schema([(name, arrow_type(kind)) for name, kind in query.columns.items()]))


def check_columns(query: Query, columns: Mapping[str, pa.DataType]) -> None:
    """Compare output columns with the declaration; errors as in `conform`."""
    if list(columns) != list(query.columns):
        lacking, surplus = sorted(query.columns.keys() - columns), sorted(columns.keys() - query.columns)
        raise QueryError(
            "query-invalid",
            f"Query {query.name!r} gives the columns {list(columns)};"
            f" query.yaml declares {list(query.columns)}"
            f" (lacking {lacking}, not declared {surplus}).",
            query=query.name,
        )
    for name, kind in query.columns.items():
        if not _compatible(columns[name], arrow_type(kind)):
            raise QueryError(
                "query-invalid",
                f"Query {query.name!r}: column {name} is {columns[name]}, query.yaml declares {kind}.",
                query=query.name,
            )


def _compatible(given: pa.DataType, wanted: pa.DataType) -> bool:
    types = pa.types
    if types.is_list(given) and types.is_list(wanted):
        return _compatible(given.value_type, wanted.value_type)
    if types.is_string(wanted):
        return bool(types.is_string(given) or types.is_large_string(given) or types.is_null(given))
    if types.is_integer(wanted):
        whole = types.is_decimal(given) and given.scale == 0
        return bool(types.is_integer(given) or whole or types.is_null(given))
    if types.is_floating(wanted):
        return bool(types.is_floating(given) or types.is_integer(given) or types.is_decimal(given))
    return bool(given == wanted)
