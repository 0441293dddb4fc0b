"""The embedded engine: the library's queries on DuckDB, over Parquet files.

No account and no network: the files are IDC's series index (idc-index-data), the mirror of IDC's
`segmentations` export, and own indexes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from segtools import schema
from segtools.database import hide_progress
from segtools.errors import QueryError, SelectError, SpecError
from segtools.files import only_itself
from segtools.select.engines import image_indexes, schema_drift
from segtools.select.engines import mirror as mirrors
from segtools.select.engines import sources as places
from segtools.select.engines.base import Result, SessionInfo, check_columns, conform
from segtools.select.sql.statement import no_rows, statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import duckdb
    from sqlglot import exp

    from segtools.select.engines.sources import Sources
    from segtools.select.sql.library import Library
    from segtools.select.sql.statement import Statement


_CURRENT_SERIES = """
SELECT
  {version} AS idc_version, collection_id, analysis_result_id, PatientID, StudyInstanceUID, SeriesInstanceUID,
  crdc_series_uuid, Modality, SOPClassUID, TransferSyntaxUID, SeriesDescription, series_aws_url,
  CAST(round(series_size_MB * 1000000) AS BIGINT) AS series_size_bytes,
  CAST(instanceCount AS BIGINT) AS instance_count, license_short_name, source_DOI,
  CAST(series_init_idc_version AS BIGINT) AS series_init_idc_version,
  PatientSex, PatientAge, StudyDate, BodyPartExamined,
  Manufacturer, ManufacturerModelName,
  collection_cancerType, collection_tumorLocation, collection_species
FROM idc_index
WHERE series_revised_idc_version <= {version}
"""

# Release v held what it still holds unrevised, and what has been revised or retired since. Of a
# retired version idc-index-data keeps neither licence, DOI nor number of instances, and the size to
# 10 kB only; radiology segmentations are one instance each, so one is assumed, and a warning says so.
_FORMER_SERIES = """
UNION ALL BY NAME
SELECT
  {version} AS idc_version, any_value(collection_id) AS collection_id, NULL AS analysis_result_id,
  any_value(PatientID) AS PatientID, any_value(StudyInstanceUID) AS StudyInstanceUID, SeriesInstanceUID,
  crdc_series_uuid, any_value(Modality) AS Modality, NULL AS SOPClassUID, NULL AS TransferSyntaxUID,
  NULL AS SeriesDescription, max(series_aws_url) AS series_aws_url,
  CAST(round(max(series_size_MB) * 1000000) AS BIGINT) AS series_size_bytes,
  CAST(1 AS BIGINT) AS instance_count, NULL AS license_short_name, NULL AS source_DOI,
  CAST(min(min_idc_version) AS BIGINT) AS series_init_idc_version,
  NULL AS PatientSex, NULL AS PatientAge, NULL AS StudyDate, NULL AS BodyPartExamined,
  NULL AS Manufacturer, NULL AS ManufacturerModelName,
  NULL AS collection_cancerType, NULL AS collection_tumorLocation, NULL AS collection_species
FROM prior_versions
WHERE {version} BETWEEN min_idc_version AND max_idc_version
GROUP BY SeriesInstanceUID, crdc_series_uuid
"""


_LATER_COLUMNS = (
    *("PatientSex", "PatientAge", "StudyDate", "BodyPartExamined"),
    *("Manufacturer", "ManufacturerModelName"),
)
"""Columns that an index made by others may lack; they read as null."""

_OPTIONAL_VIEWS = ("series_before", "series_after", "image_attributes")

_NO_LABEL_MAPS = (
    "IDC's table `segmentations` leaves Label Map Segmentation (SOP class 66.7) out: filters on segments"
    " cannot see those series (129 in v25)."
)


@dataclass(frozen=True)
class LocalEngine:
    """DuckDB over Parquet.

    Parameters
    ----------
    memory_limit : str, optional
        As DuckDB takes it, ``"2GB"``.
    threads : int, optional
    tables : mapping, optional
        Further tables by logical name; they take the place of those of the sources.
    """

    memory_limit: str | None = None
    threads: int | None = None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    name: str = field(default="duckdb", init=False)

    def open(
        self,
        sources: Sources,
        idc_version: int | str = "latest",
        *,
        releases: tuple[int, int] | None = None,
        labelmaps: bool = True,
    ) -> LocalSession:
        """Open the tables of `sources`; see `segtools.select.engines.base.Engine`.

        Raises
        ------
        EnvironmentProblem
            ``source-missing``.
        SelectError
            ``table-invalid``, ``version-unknown``.
        """
        import duckdb

        config: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        if self.memory_limit is not None:
            config["memory_limit"] = self.memory_limit
        if self.threads is not None:
            config["threads"] = self.threads
        try:
            connection = duckdb.connect(":memory:", config=config)
        except duckdb.Error as error:
            raise SpecError(
                "settings-invalid",
                f"DuckDB does not take engine.memory_limit {self.memory_limit!r} or the number of threads:"
                f" {_first_line(error)}.",
                key="engine.memory_limit",
            ) from error
        try:
            return _Opening(connection, sources, self.tables).session(idc_version, releases)
        except duckdb.Error as error:
            connection.close()
            raise SelectError(
                "table-invalid", f"A source table cannot be read: {_first_line(error)}."
            ) from error
        except BaseException:
            connection.close()
            raise


class _Opening:
    """Makes the views of one session."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, sources: Sources, tables: Mapping[str, pa.Table]
    ) -> None:
        self.connection, self.sources, self.tables = connection, sources, tables
        self.missing: dict[str, set[str]] = {}
        self.warnings: list[str] = []
        self.folders: set[Path] = set()
        self._files = 0

    def session(self, idc_version: int | str, releases: tuple[int, int] | None) -> LocalSession:
        own = self.sources.indexes
        parts: dict[str, list[str]] = {"series_index": [], "segmentations": [], "instances": []}
        for index in own:
            parts["segmentations"].append(
                self._own(index, places.SEGMENTATIONS_FILE, schema.IDC_SEGMENTATIONS)
            )
            parts["series_index"].append(self._own(index, places.SERIES_FILE, schema.IDC_SERIES))
            parts["instances"].append(self._own(index, places.INSTANCES_FILE, schema.IDC_INSTANCES))
        version: int | None = None
        has_segments, has_images = bool(own), False
        if self.sources.idc and "series_index" not in self.tables:
            version = self._open_idc(idc_version, releases)
            parts["series_index"].append("SELECT * FROM idc_series")
            has_images = self._open_images(version)
            mirrored = self._mirror(version)
            has_segments = mirrored is not None
            if mirrored is not None:
                parts["segmentations"].append(mirrored)
                self.warnings.append(_NO_LABEL_MAPS)
        elif isinstance(idc_version, int):
            version = idc_version
        names = self._views(parts)
        self._register()
        self._lock()
        facts = SessionInfo(
            engine="duckdb",
            idc_version=version,
            has_segments=has_segments or "segmentations" in self.tables,
            has_images=has_images or not {"image_attributes", "dicom_all"}.isdisjoint(self.tables),
            has_objects=bool(own) or not {"instances", "dicom_all"}.isdisjoint(self.tables),
            missing={table: frozenset(columns) for table, columns in self.missing.items()},
            warnings=tuple(self.warnings),
            versions={"duckdb": _version("duckdb"), "sqlglot": _version("sqlglot")}
            | ({"idc-index-data": _version("idc-index-data")} if version else {}),
        )
        return LocalSession(self.connection, frozenset({*names, *self.tables}), facts)

    def _own(self, index: Path, file: str, table: schema.Table) -> str:
        return self._select([self.sources.index_file(index, file)], table, f"{file} of the index {index}")

    def _select(self, paths: Sequence[Path], table: schema.Table, where: str) -> str:
        """SQL that reads Parquet files as `table`."""
        import pyarrow.parquet as pq
        from sqlglot import exp

        try:
            have = pq.read_schema(paths[0])
        except (OSError, pa.ArrowException) as error:
            raise SelectError("table-invalid", f"{where} cannot be read: {_first_line(error)}.") from error
        projection = schema_drift.project(table, have, where)
        if projection.missing:
            self.missing.setdefault(table.name, set()).update(projection.missing)
        raw = self._raw(paths)
        extra = (
            [] if table is not schema.IDC_SERIES else [exp.alias_(exp.cast(exp.Null(), "INT"), "idc_version")]
        )
        return exp.select(*extra, *projection.expressions).from_(raw).sql(dialect="duckdb")

    def _raw(self, paths: Sequence[Path], name: str | None = None) -> str:
        name = name or f"raw_{self._files}"
        self._files += 1
        self.folders.update(path.resolve().parent for path in paths)
        files = [only_itself(path.resolve()) for path in paths]
        self.connection.read_parquet(files).create_view(name)
        return name

    def _open_idc(self, wanted: int | str, releases: tuple[int, int] | None) -> int:
        folder = self.sources.idc_folder()
        self._raw([folder / "idc_index.parquet"], "idc_index_file")
        have = {row[0] for row in self.connection.execute("DESCRIBE idc_index_file").fetchall()}
        self._open_collections(folder)
        absent = [f", CAST(NULL AS VARCHAR) AS {name}" for name in _LATER_COLUMNS if name not in have]
        self.connection.execute(
            f"CREATE VIEW idc_index AS SELECT series.*{''.join(absent)}, collection.* EXCLUDE (collection_id)"
            " FROM idc_index_file AS series LEFT JOIN idc_collections AS collection USING (collection_id)"
        )
        known = self._known_versions(folder)
        version = max(known) if wanted == "latest" else int(wanted)
        asked = {"idc_series": version}
        if releases is not None:
            asked |= {"series_before": releases[0], "series_after": releases[1]}
        for asked_version in asked.values():
            if asked_version not in known:
                raise SelectError(
                    "version-unknown",
                    f"IDC v{asked_version} is not known here; idc-index-data has"
                    f" v{min(known)} to v{max(known)}.",
                    version=asked_version,
                )
        if any(asked_version < max(known) for asked_version in asked.values()):
            self._raw([folder / "prior_versions_index.parquet"], "prior_versions")
        for view, asked_version in asked.items():
            text = _CURRENT_SERIES + (_FORMER_SERIES if asked_version < max(known) else "")
            self.connection.execute(f"CREATE VIEW {view} AS {text.format(version=int(asked_version))}")
        if version < max(known):
            self.warnings.append(
                f"IDC v{version} is not the release of idc-index-data (v{max(known)}): of series retired"
                " since, licence, DOI and analysis result are unknown, sizes are rounded and one instance"
                " is assumed."
            )
        return version

    def _open_collections(self, folder: Path) -> None:
        """View idc_collections: what IDC says of each collection; empty where it does not come along."""
        path = folder / "collections_index.parquet"
        if path.is_file():
            self._raw([path], "collections_file")
            source, where = "collections_file", ""
        else:
            nothing = ("collection_id", "cancer_types", "tumor_locations", "species")
            source = f"(SELECT {', '.join(f'CAST(NULL AS VARCHAR) AS {name}' for name in nothing)})"
            where = " WHERE FALSE"
        self.connection.execute(
            "CREATE VIEW idc_collections AS SELECT collection_id, cancer_types AS collection_cancerType,"
            " tumor_locations AS collection_tumorLocation, species AS collection_species"
            f" FROM {source}{where}"
        )

    def _open_images(self, version: int) -> bool:
        """View image_attributes, from IDC's indexes of CT, MR, PT, contrast and geometry that are at hand."""
        folders = [self.sources.idc_folder()]
        if self.sources.mirror is not None:
            folders.insert(0, mirrors.index_folder(self.sources.mirror, version))
        select = image_indexes.attributes(folders, lambda path, name: self._raw([path], name))
        if select is None:
            return False
        self.connection.execute(f"CREATE VIEW image_attributes AS {select}")
        return True

    def _known_versions(self, folder: Path) -> set[int]:
        path = folder / "version_metadata_index.parquet"
        if path.is_file():
            self._raw([path], "version_metadata")
            rows = self.connection.execute("SELECT idc_version FROM version_metadata").fetchall()
        else:
            rows = self.connection.execute("SELECT max(series_revised_idc_version) FROM idc_index").fetchall()
        return {int(row[0]) for row in rows if row[0] is not None}

    def _mirror(self, version: int) -> str | None:
        if self.sources.mirror is None:
            return None
        found = mirrors.find(self.sources.mirror, version)
        if found is None:
            return None
        return self._select(found, schema.IDC_SEGMENTATIONS, f"The mirror of IDC v{version}")

    def _views(self, parts: Mapping[str, Sequence[str]]) -> list[str]:
        """One view per logical table; of a series in several sources the first source's rows count."""
        empty = {"segmentations": schema.IDC_SEGMENTATIONS}
        if "dicom_all" not in self.tables:
            empty["instances"] = schema.IDC_INSTANCES
        names = []
        for name, selects in parts.items():
            if name in self.tables or (not selects and name not in empty):
                continue
            for number, select in enumerate(selects):
                self.connection.execute(f"CREATE VIEW {name}_{number} AS {select}")
            if selects:
                text = " UNION ALL BY NAME ".join(
                    _unless_earlier(name, number) for number in range(len(selects))
                )
            else:
                self.connection.register(f"{name}_none", empty[name].empty())
                text = f"SELECT * FROM {name}_none"
            self.connection.execute(f"CREATE VIEW {name} AS {text}")
            names.append(name)
        return [*names, *(view for view in _OPTIONAL_VIEWS if self._has(view))]

    def _has(self, view: str) -> bool:
        rows = self.connection.execute("SELECT 1 FROM duckdb_views() WHERE view_name = ?", [view]).fetchall()
        return bool(rows)

    def _register(self) -> None:
        for name, table in self.tables.items():
            self.connection.register(name, table)

    def _lock(self) -> None:
        """From here on SQL reads the sources' folders and nothing else: a user's query is a stranger's."""
        # Their patterns too: that is what is compared where a name has glob characters.
        folders = sorted({name for folder in self.folders for name in (str(folder), only_itself(folder))})
        hide_progress(self.connection)
        self.connection.execute("SET allowed_directories = ?", [folders])
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")


def _unless_earlier(name: str, number: int) -> str:
    """SELECT of part `number` of a table without the series that an earlier part of `series_index` has."""
    text = f"SELECT * FROM {name}_{number} AS part"
    if number:
        earlier = " UNION ALL ".join(
            f"SELECT SeriesInstanceUID FROM series_index_{before}" for before in range(number)
        )
        text += f" WHERE SeriesInstanceUID NOT IN ({earlier})"
    return text


class LocalSession:
    """Open views on one DuckDB connection."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, tables: frozenset[str], facts: SessionInfo
    ) -> None:
        self._connection, self._tables, self.facts = connection, tables, facts

    def _statement(
        self,
        query: str,
        values: Mapping[str, Any],
        library: Library,
        answers: Iterable[str] = (),
    ) -> Statement:
        from sqlglot import exp

        tables = self._tables.union(answers)

        def relation(name: str) -> exp.Expr | None:
            if name in ("labelmap_segments", "image_attributes") and not tables & {name, "dicom_all"}:
                return no_rows(library[name])
            if name == "dicom_images" and "dicom_all" in tables:
                return exp.to_table("dicom_all")
            return exp.to_table(name) if name in tables else None

        return statement(library[query], values, library, relation, "duckdb")

    def run(
        self,
        query: str,
        values: Mapping[str, Any],
        library: Library,
        answers: Mapping[str, pa.Table] | None = None,
    ) -> Result:
        """Run a query of the library; `answers` are results of queries it reads, to be used again.

        Raises
        ------
        QueryError
            ``query-invalid``: DuckDB refuses the SQL, or the columns are not those declared.
        SelectError
            ``table-invalid``: a source file breaks while being read.
        """
        answers = answers or {}
        made = self._statement(query, values, library, answers)
        for name, answer in answers.items():
            self._connection.register(name, answer)
        try:
            table = self._execute(made.sql, made.values, query)
        finally:
            for name in answers:
                self._connection.unregister(name)
        return Result(conform(library[query], table), made.sha256)

    def estimate(self, query: str, values: Mapping[str, Any], library: Library) -> int:
        """Nothing is billed: 0."""
        self._statement(query, values, library)
        return 0

    def columns(self, query: str, values: Mapping[str, Any], library: Library) -> dict[str, pa.DataType]:
        """Output columns of a query."""
        made = self._statement(query, values, library)
        table = self._execute(f"SELECT * FROM ({made.sql}) AS answer LIMIT 0", made.values, query)
        columns = dict(zip(table.column_names, table.schema.types, strict=True))
        check_columns(library[query], columns)
        return columns

    def _execute(self, sql: str, values: Mapping[str, Any], query: str) -> pa.Table:
        import duckdb

        try:
            return self._connection.execute(sql, values or None).to_arrow_table()
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise SelectError(
                "table-invalid", f"A source table cannot be read: {_first_line(error)}."
            ) from error
        except duckdb.Error as error:
            raise QueryError(
                "query-invalid", f"Query {query!r}: {_first_line(error)}.", query=query
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _first_line(error: BaseException) -> str:
    """What an error says in one line: with the candidates that DuckDB names, without the SQL it quotes."""
    lines = [line.strip() for line in str(error).partition("\nLINE ")[0].splitlines()]
    return " ".join(line for line in lines if line).rstrip(".") or type(error).__name__


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"
