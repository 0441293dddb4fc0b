"""A dataset in numbers, for people and machines.

DuckDB aggregates over the committed Parquet files; no table is ever held in Python. Retired series
and what belongs to them are counted as outcomes and nowhere else. Only integers are summed and
every list has a total order, so that the same tables give the same summary.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from segtools.database import hide_progress
from segtools.errors import DatasetError
from segtools.files import only_itself
from segtools.schema import DATASET_TABLES, SERIES_STATUS
from segtools.terminology.licenses import is_noncommercial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segtools.dataset.reader import Dataset

MAXIMUM_ROWS = 200
"""Longest list of a summary; the totals beside it count everything."""

EXAMPLES_PER_CODE = 5
"""Failed series named for each error code."""

PERCENTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class FailedSeries:
    """A series that failed, as an example of its code."""

    seg_series_uid: str
    collection_id: str
    patient_id: str
    message: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error code, the series that carry it, and the first of them."""

    code: str
    series_count: int
    examples: tuple[FailedSeries, ...]


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """A collection; PatientID is unique only within one."""

    collection_id: str
    series_count: int
    failed_count: int
    patient_count: int
    segment_count: int
    volume_bytes: int


@dataclass(frozen=True, slots=True)
class StructureSummary:
    """A structure and the distribution of its volumes.

    Attributes
    ----------
    measured_count : int
        Segments with a volume above 0; the distribution is of these.
    empty_count : int
        Segments without voxels.
    volume_ml : (7,) tuple of float or None, ml
        Minimum, 5th, 25th, 50th, 75th and 95th percentile, maximum; None if nothing was measured.
    color_hex : str
        A colour of the structure, ``#RRGGBB``.
    """

    structure: str
    segment_count: int
    patient_count: int
    measured_count: int
    empty_count: int
    volume_ml: tuple[float, ...] | None
    color_hex: str


@dataclass(frozen=True, slots=True)
class License:
    """A licence; null where the tables state none."""

    license: str | None
    series_count: int
    collection_count: int
    is_noncommercial: bool


@dataclass(frozen=True, slots=True)
class Citation:
    """A DOI to cite."""

    doi: str
    series_count: int


@dataclass(frozen=True, slots=True)
class FindingCount:
    """How often a rule spoke; `example` is one of its messages."""

    rule: str
    severity: str
    finding_count: int
    series_count: int
    example: str


@dataclass(frozen=True)
class Summary:
    """A dataset in numbers.

    Attributes
    ----------
    idc_versions : tuple of int
        IDC releases the series were selected on; empty for an own archive.
    outcomes : mapping of str to int
        Series by status: ok, warned, failed, retired, in this order.
    series_count, patient_count, segment_count, volume_count : int
        Without retired series.
    source_bytes, volume_bytes : int, bytes
        DICOM files as the tables state them; volumes written.
    collections, structures, licenses, citations, findings, failures : tuple
        Most frequent first, `MAXIMUM_ROWS` at most; ``*_count`` beside them counts all.
    """

    idc_versions: tuple[int, ...]
    outcomes: Mapping[str, int]
    series_count: int
    patient_count: int
    segment_count: int
    volume_count: int
    source_bytes: int
    volume_bytes: int
    collection_count: int
    collections: tuple[CollectionSummary, ...]
    structure_count: int
    structures: tuple[StructureSummary, ...]
    license_count: int
    licenses: tuple[License, ...]
    citation_count: int
    citations: tuple[Citation, ...]
    finding_count: int
    rule_count: int
    findings: tuple[FindingCount, ...]
    failures: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, fit for JSON."""
        return asdict(self, dict_factory=_plain)


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in items}


def summarize(dataset: Dataset) -> Summary:
    """Count what a dataset's tables hold.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read or lacks a column.
    """
    with connect(dataset) as db:
        return Summary(
            idc_versions=tuple(version for (version,) in db.execute(_VERSIONS).fetchall()),
            outcomes=dict.fromkeys(SERIES_STATUS, 0) | dict(db.execute(_OUTCOMES).fetchall()),
            **_one(db, _TOTALS),
            **_one(db, _SEGMENT_TOTALS),
            **_one(db, _FINDING_TOTALS),
            collections=tuple(CollectionSummary(*row) for row in db.execute(_COLLECTIONS).fetchall()),
            structures=tuple(_structure(*row) for row in db.execute(_STRUCTURES).fetchall()),
            licenses=tuple(
                License(name, series, collections, is_noncommercial(name))
                for name, series, collections in db.execute(_LICENSES).fetchall()
            ),
            citations=tuple(Citation(*row) for row in db.execute(_CITATIONS).fetchall()),
            findings=tuple(FindingCount(*row) for row in db.execute(_FINDINGS).fetchall()),
            failures=_failures(db),
        )


@contextlib.contextmanager
def connect(dataset: Dataset) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB on the dataset's tables, for as long as the block lasts.

    It has ``series``; ``live``, the series not retired, with ``series_number`` and
    ``patient_number``; ``segments`` and ``findings``, those of live series.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read or lacks a column.
    """
    with duckdb.connect() as db:
        hide_progress(db)
        try:
            for table in DATASET_TABLES:
                pages = [only_itself(path) for path in dataset.table_paths(table.name)]
                db.read_parquet(pages).create_view(f"all_{table.name}")
            db.execute(_VIEWS)
            yield db
        except duckdb.Error as error:
            raise DatasetError(
                "dataset-invalid", f"The dataset's tables cannot be summed up: {error}."
            ) from error


def _one(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Fetch the only row of `query`, by column name."""
    cursor = db.execute(query)
    names = [column[0] for column in cursor.description or ()]
    (row,) = cursor.fetchall()
    return dict(zip(names, row, strict=True))


def _structure(
    name: str, segments: int, patients: int, measured: int, empty: int, ml: list[float] | None, color: str
) -> StructureSummary:
    return StructureSummary(
        name, segments, patients, measured, empty, None if ml is None else tuple(ml), color
    )


def _failures(db: duckdb.DuckDBPyConnection) -> tuple[Failure, ...]:
    examples: dict[str, list[FailedSeries]] = {}
    for code, *row in db.execute(_FAILED_SERIES).fetchall():
        examples.setdefault(code, []).append(FailedSeries(*row))
    return tuple(
        Failure(code, count, tuple(examples[code])) for code, count in db.execute(_FAILURES).fetchall()
    )


# Series and patients are numbered once: counting distinct integers takes a tenth of the memory that
# counting distinct 64-character UIDs takes. A failed series without a code is a defect of ours.
_VIEWS = """
CREATE TEMP VIEW series AS
SELECT * REPLACE (CASE WHEN status = 'failed' THEN coalesce(error_code, 'internal') END AS error_code)
FROM all_series;

CREATE TEMP TABLE live AS
SELECT *, CAST(row_number() OVER (ORDER BY seg_series_uid) AS INTEGER) AS series_number,
       CAST(dense_rank() OVER (ORDER BY collection_id, patient_id) AS INTEGER) AS patient_number
FROM series WHERE status <> 'retired';

CREATE TEMP VIEW segments AS
SELECT s.*, series_number, patient_number
FROM all_segments s JOIN live ON s.seg_series_uid = live.seg_series_uid;

CREATE TEMP VIEW findings AS
SELECT f.*, series_number
FROM all_findings f LEFT JOIN live ON f.seg_series_uid = live.seg_series_uid
WHERE f.seg_series_uid IS NULL OR series_number IS NOT NULL;
"""

_VERSIONS = "SELECT DISTINCT idc_version FROM live WHERE idc_version IS NOT NULL ORDER BY 1"

_OUTCOMES = "SELECT status, count(*) FROM series GROUP BY 1 ORDER BY 1"

_TOTALS = """
SELECT count(*) AS series_count,
       count(DISTINCT patient_number) AS patient_count,
       CAST(coalesce(sum(volume_count), 0) AS BIGINT) AS volume_count,
       CAST(coalesce(sum(size_bytes), 0) AS BIGINT) AS source_bytes,
       CAST(coalesce(sum(volume_bytes), 0) AS BIGINT) AS volume_bytes,
       count(DISTINCT collection_id) AS collection_count,
       count(DISTINCT coalesce(license, '')) AS license_count,
       count(DISTINCT source_doi) AS citation_count
FROM live
"""

_SEGMENT_TOTALS = (
    "SELECT count(*) AS segment_count, count(DISTINCT structure) AS structure_count FROM segments"
)

_FINDING_TOTALS = "SELECT count(*) AS finding_count, count(DISTINCT rule) AS rule_count FROM findings"

_COLLECTIONS = f"""
WITH counted AS (SELECT series_number, count(*) AS segment_count FROM segments GROUP BY 1)
SELECT collection_id, count(*), count(*) FILTER (status = 'failed'), count(DISTINCT patient_number),
       CAST(coalesce(sum(counted.segment_count), 0) AS BIGINT),
       CAST(coalesce(sum(volume_bytes), 0) AS BIGINT)
FROM live LEFT JOIN counted USING (series_number)
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAXIMUM_ROWS}
"""

_STRUCTURES = f"""
WITH measured AS (
  SELECT structure, patient_number, voxel_count, color_hex,
         CASE WHEN volume_ml > 0 AND isfinite(volume_ml) THEN volume_ml END AS ml
  FROM segments
)
SELECT structure, count(*), count(DISTINCT patient_number), count(ml), count(*) FILTER (voxel_count = 0),
       quantile_cont(ml, {list(PERCENTILES)}), min(color_hex)
FROM measured GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAXIMUM_ROWS}
"""

_LICENSES = f"""
SELECT license, count(*), count(DISTINCT collection_id)
FROM live GROUP BY 1 ORDER BY 2 DESC, 1 NULLS LAST LIMIT {MAXIMUM_ROWS}
"""

_CITATIONS = f"""
SELECT source_doi, count(*) FROM live WHERE source_doi IS NOT NULL
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAXIMUM_ROWS}
"""

_FINDINGS = f"""
SELECT rule, severity, count(*), count(DISTINCT series_number), min(message)
FROM findings GROUP BY 1, 2
ORDER BY list_position(['critical', 'error', 'warning', 'hint', 'info'], severity), 3 DESC, 1
LIMIT {MAXIMUM_ROWS}
"""

_FAILURES = f"""
SELECT error_code, count(*) FROM live WHERE status = 'failed'
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAXIMUM_ROWS}
"""

_FAILED_SERIES = f"""
SELECT error_code, seg_series_uid, collection_id, patient_id, error_message
FROM live WHERE status = 'failed'
QUALIFY row_number() OVER (PARTITION BY error_code ORDER BY seg_series_uid) <= {EXAMPLES_PER_CODE}
ORDER BY error_code, seg_series_uid
"""
