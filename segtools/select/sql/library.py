"""Queries as folders: `query.sql` (GoogleSQL, `@named` parameters) and `query.yaml`.

A query may read another query as if it were a table; see `segtools.select.sql.statement`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.errors import QueryError, SpecError
from segtools.resources import folder as resource_folder
from segtools.select.cohort_file import read_yaml
from segtools.select.filters import GROUPS
from segtools.terminology.names import close_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TYPES: dict[str, type] = {"STRING": str, "INT64": int, "FLOAT64": float, "BOOL": bool}
_TYPE = re.compile(r"^(?:ARRAY<(STRING|INT64|FLOAT64)>|(STRING|INT64|FLOAT64|BOOL))$")
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_FILE_LIMIT = 1024**2


@dataclass(frozen=True, slots=True)
class Parameter:
    """A declared parameter: GoogleSQL type, sentence, and default where there is one."""

    name: str
    type: str
    description: str = ""
    default: Any = None
    has_default: bool = False
    filters: str = ""
    """Group of `segtools.select.filters` whose conditions stand in its place."""

    def check(self, value: Any) -> Any:
        """`value` as the declared type.

        Raises
        ------
        QueryError
            ``query-invalid``: it has another type.
        """
        found = _TYPE.match(self.type)
        assert found is not None  # noqa: S101 - checked on loading
        if found[1] is None:
            return self._scalar(value, TYPES[found[2]])
        if not isinstance(value, list | tuple):
            raise self._error(value)
        return [self._scalar(item, TYPES[found[1]]) for item in value]

    def _scalar(self, value: Any, kind: object) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise self._error(value)
        return value

    def _error(self, value: Any) -> QueryError:
        text = f"Parameter @{self.name} must be {self.type}, not {value!r:.100}."
        return QueryError("query-invalid", text, parameter=self.name)


@dataclass(frozen=True)
class Query:
    """One query folder."""

    name: str
    sql: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    @property
    def sha256(self) -> str:
        """Hash of the SQL text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Library:
    """The project's queries by name, and what a user's query sees.

    Parameters
    ----------
    folder : Path, optional
        Default: `queries/` of the checkout or of the installed package.
    """

    def __init__(self, folder: Path | None = None, extra: Iterable[Query] = ()) -> None:
        self._folder = folder
        self._queries: dict[str, Query] = {query.name: query for query in extra}

    @property
    def folder(self) -> Path:
        """Where the queries are."""
        if self._folder is None:
            self._folder = resource_folder("queries")
        return self._folder

    def with_query(self, query: Query, name: str) -> Library:
        """A library in which `query` is known as `name`."""
        known = Query(name, query.sql, query.description, query.parameters, query.columns, query.path)
        return Library(self.folder, (*self._queries.values(), known))

    def __contains__(self, name: str) -> bool:
        known = name in self._queries
        return known or (_NAME.match(name) is not None and (self.folder / name / "query.sql").is_file())

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.parent.name for path in self.folder.glob("*/query.sql")))

    def __getitem__(self, name: str) -> Query:
        if name not in self._queries:
            if name not in self:
                close = close_matches(name, self)
                hint = f"Did you mean {', '.join(close)}?" if close else None
                raise QueryError("query-invalid", f"There is no query {name!r}.", hint=hint, query=name)
            self._queries[name] = load_query(self.folder / name)
        return self._queries[name]


def load_query(path: Path) -> Query:
    """The query of a folder.

    Raises
    ------
    QueryError
        ``query-invalid``: a file is missing or says what it may not.
    """
    try:
        sql, yaml_text = (_read(path / name) for name in ("query.sql", "query.yaml"))
        content, _ = read_yaml(yaml_text, str(path / "query.yaml"))
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise _invalid(path, str(error)) from error
    if not isinstance(content, dict):
        raise _invalid(path, "query.yaml is not a mapping of keys to values")
    if unknown := content.keys() - {"description", "parameters", "columns"}:
        raise _invalid(path, f"query.yaml has unknown keys {sorted(unknown)}")
    parameters, columns = (content.get(key) or {} for key in ("parameters", "columns"))
    if not isinstance(columns, dict) or not columns:
        raise _invalid(path, "query.yaml declares no columns")
    if not isinstance(parameters, dict):
        raise _invalid(path, "query.yaml: parameters must be a mapping")
    return Query(
        name=path.name,
        sql=sql,
        description=str(content.get("description") or ""),
        parameters=tuple(_parameter(path, name, entry) for name, entry in parameters.items()),
        columns={name: _column(path, name, entry) for name, entry in columns.items()},
        path=path,
    )


def _read(path: Path) -> str:
    if path.stat().st_size > _FILE_LIMIT:
        raise OSError(f"{path.name} is larger than {_FILE_LIMIT} bytes")
    return path.read_text(encoding="utf-8")


def _parameter(path: Path, name: str, entry: Any) -> Parameter:
    entry = {"type": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or entry.keys() - {"type", "description", "default", "filters"}:
        raise _invalid(path, f"parameter {name!r} must have type, description, default, filters")
    kind = str(entry.get("type"))
    if not _NAME.match(name) or not _TYPE.match(kind):
        raise _invalid(path, f"parameter {name!r} of type {kind!r} is not allowed")
    parameter = Parameter(
        name,
        kind,
        str(entry.get("description") or ""),
        entry.get("default"),
        "default" in entry,
        str(entry.get("filters") or ""),
    )
    if parameter.filters and parameter.filters not in GROUPS:
        raise _invalid(path, f"parameter {name!r}: there are no filters {parameter.filters!r}")
    if parameter.has_default:
        parameter.check(parameter.default)
    return parameter


def _column(path: Path, name: str, entry: Any) -> str:
    kind = entry.get("type") if isinstance(entry, dict) else entry
    if not isinstance(kind, str) or not _TYPE.match(kind):
        raise _invalid(path, f"column {name!r} has no known type: {kind!r}")
    return kind


def _invalid(path: Path, message: str) -> QueryError:
    return QueryError("query-invalid", f"Query {path.name!r}: {message}.", query=path.name, path=str(path))
