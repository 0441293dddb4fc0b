"""SQL over the tables of a dataset, from any number of threads and in forked processes.

One in-memory DuckDB holds one view per table. A DuckDB connection keeps the result of its last query,
so two threads on one connection read each other's rows: every call takes a cursor of its own.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.database import hide_progress
from segtools.errors import DatasetError, UsageError
from segtools.files import only_itself

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

_CANDIDATES = re.compile(r"^(?:Candidate bindings|Did you mean)\b[: ]*(.*)$", re.MULTILINE)
_HINT = "Columns are listed in tables/columns.tsv; write text in single quotes."

_all: weakref.WeakSet[Queries] = weakref.WeakSet()


class Queries:
    """Runs SELECTs over the tables of one dataset.

    Parameters
    ----------
    name : str
        The dataset's folder or URL, for messages.
    tables : sequence of str
    paths_of : callable
        Gives the Parquet files of a table, by its name.
    """

    def __init__(self, name: str, tables: Sequence[str], paths_of: Callable[[str], list[Path]]) -> None:
        self._name, self._tables, self._paths_of = name, tables, paths_of
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._paths: list[str] = []
        _all.add(self)

    def select(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> pa.Table:
        """Result of one SELECT; it is whole when this returns, and nobody else's.

        Raises
        ------
        UsageError
            ``filter-invalid``: not one SELECT, no valid SQL, or a wrong parameter.
        DatasetError
            ``dataset-invalid``: a table cannot be read.
        """
        import duckdb

        if not isinstance(query, str):
            raise UsageError("filter-invalid", f"A query is a str of SQL, not {query!r}.")
        try:
            try:
                return self._run(query, parameters)
            except duckdb.IOException:  # a commit moved pages of this state meanwhile: look for them again
                self.close()
                return self._run(query, parameters)
        except duckdb.Error as error:
            raise self._explained(error, query) from error

    def _run(self, query: str, parameters: Mapping[str, Any] | Sequence[Any]) -> pa.Table:
        with self.cursor() as cursor:
            _one_select(cursor, query)
            return cursor.execute(query, parameters or None).to_arrow_table()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of the caller's own on the views, for results that are read in batches."""
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def close(self) -> None:
        """Let go of the database; a later question opens it again. Running ones end well.

        Closing the connection would end its cursors in mid-question: the last one to go frees it.
        """
        with self._lock:
            self._connection = None

    def _connect(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        self._paths = []
        connection = duckdb.connect()
        hide_progress(connection)
        for name in self._tables:
            paths = self._paths_of(name)
            self._paths += map(str, paths)
            connection.read_parquet([only_itself(path) for path in paths]).create_view(name)
        return connection

    def _explained(self, error: duckdb.Error, query: str) -> UsageError:
        """The caller's fault, unless a table of the dataset cannot be read."""
        import duckdb

        text = f"{error}"
        first = text.splitlines()[0]
        broken = isinstance(error, duckdb.SerializationException | duckdb.InternalException)
        if broken or any(path in text for path in self._paths):
            return DatasetError("dataset-invalid", f"{self._name}: {first}", path=self._name)
        return UsageError("filter-invalid", first, hint=_hint(text), query=query)

    def _after_fork(self) -> None:
        """Leave the parent's database alone: its threads do not exist here.

        Destroying it would wait for them for ever, so one reference is kept until the process ends.
        """
        import ctypes

        self._lock = threading.Lock()  # another thread may have held it
        if self._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
            self._connection = None


def _after_fork() -> None:
    for queries in list(_all):
        queries._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _one_select(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse what is not one SELECT: the views are shared, and a script has no single result."""
    import duckdb

    # DuckDB puts a statement without text before a PIVOT; it is no work of the caller's.
    kinds = [
        statement.type
        for statement in cursor.extract_statements(query)
        if statement.type != duckdb.StatementType.CREATE or _has_text(statement)
    ]
    if not kinds:
        raise UsageError("filter-invalid", "The query is empty; one SELECT is needed.", query=query)
    if kinds != [duckdb.StatementType.SELECT]:
        raise UsageError(
            "filter-invalid",
            f"One SELECT is needed, and the query is: {', '.join(kind.name for kind in kinds)}.",
            hint="A dataset is read-only. For tables and files of your own, give the result to DuckDB.",
            query=query,
        )


def _has_text(statement: duckdb.Statement) -> bool:
    try:
        return bool(statement.query)
    except IndexError:  # DuckDB 1.5.0 cuts the text of a statement that has none
        return False


def _hint(text: str) -> str:
    """DuckDB names near matches on a line of its own."""
    found = _CANDIDATES.search(text)
    return f"Near matches: {found[1].rstrip('? ')}. {_HINT}" if found else _HINT
