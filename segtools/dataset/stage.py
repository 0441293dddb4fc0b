"""Staging: what one batch of series gives waits here for the commit.

Files go to their places at once: their names are new, so nothing that the last commit names changes.
Rows wait as a part, one Parquet file per table below ``tables/.staging``; the series one is written last,
so a part without it does not exist. Where two parts hold the same series, the one whose id sorts last is
the newer: ids start with the number of their run (`part_id`), and no clock is asked.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from segtools.dataset.pages import find_all
from segtools.errors import DatasetError
from segtools.files import fsync_folder, replacing, sha256_of, write_error
from segtools.schema import DATASET_TABLES, SERIES, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from segtools.dataset.layout import Layout

_PART = re.compile(r"(\d{6})[-z]")


class StoredFile(NamedTuple):
    """A file below the dataset: relative path, bytes, SHA-256 in hexadecimal."""

    path: str
    size_bytes: int
    sha256: str


class Known(NamedTuple):
    """What is known of a series that was worked on before."""

    crdc_series_uuid: str
    settings_hash: str
    status: str
    error_code: str | None = None


class Stage:
    """Where one batch's files and rows go.

    Parameters
    ----------
    layout : Layout
        Of the dataset, or of what is delivered to it.

    Attributes
    ----------
    files : list of StoredFile
        What `stage` made, in order.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.files: list[StoredFile] = []

    @contextlib.contextmanager
    def stage(self, relative: str) -> Iterator[Path]:
        """The path at which the file `relative` is to be written, all or nothing; recorded when it is.

        Raises
        ------
        EnvironmentProblem, WriteError
            The file cannot be read back.
        """
        path = self.layout.absolute(relative)
        yield path
        try:
            self.files.append(StoredFile(relative, path.stat().st_size, sha256_of(path)))
        except OSError as error:
            raise write_error(error, path) from error

    def close(self) -> None:
        """Make the names of all files survive a power cut; before any row names them."""
        for folder in sorted({self.layout.absolute(file.path).parent for file in self.files}):
            fsync_folder(folder)

    def rows(self, part: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Stage the rows of one part, by table; a part of the same id is replaced.

        Raises
        ------
        EnvironmentProblem, WriteError
            See `segtools.files.replacing`.
        """
        self.close()
        stage_rows(self.layout, part, rows)


def stage_rows(layout: Layout, part: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write the tables of one part; errors as in `Stage.rows`."""
    import pyarrow.parquet as pq  # files that are decoded without a dataset have no tables

    series = rows[SERIES.name]
    if len({row["seg_series_uid"] for row in series}) != len(series):
        raise AssertionError(f"part {part!r} has a series twice")
    complete = layout.part(part, SERIES.name)
    try:
        complete.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, complete) from error
    for table in sorted(DATASET_TABLES, key=lambda table: table is SERIES):
        unique = {tuple(row[name] for name in table.key): row for row in rows.get(table.name, ())}
        with replacing(layout.part(part, table.name)) as file:
            pq.write_table(_sorted(table, unique.values()), file, compression="zstd")
    fsync_folder(layout.staging)


def _sorted(table: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows in the table's order, which the merge relies on."""
    order = [(column, "ascending") for column in table.order]
    return table.from_rows([dict(row) for row in rows]).sort_by(order)


def staged(layout: Layout) -> list[str]:
    """Ids of the complete parts that wait for the commit, the oldest first: in the order of their names."""
    return sorted(layout.parts())


def next_run(layout: Layout) -> int:
    """Number of a run that starts now: one more than that of any part that waits for the commit."""
    return 1 + max(map(run_of, layout.parts()), default=0)


def run_of(part: str) -> int:
    """Number of the run that staged a part; 0 if its id says none."""
    found = _PART.match(part)
    return int(found[1]) if found else 0


def part_id(run: int, batch: str, *, is_last_word: bool = False) -> str:
    """Id of the part a batch gives in a run.

    Parameters
    ----------
    run : int
        See `next_run`.
    batch : str
    is_last_word : bool
        It counts more than what the same run staged before: a worker may have staged a series and
        died before it could say so.
    """
    return f"{run:06d}{'z' if is_last_word else '-'}{batch}"


def known_series(layout: Layout, manifest: Mapping[str, Any] | None) -> dict[str, Known]:
    """Series that a commit and the staged parts know, by SeriesInstanceUID; not the retired ones.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read.
    """
    committed = find_all(layout.root, manifest, [SERIES.name])[SERIES.name] if manifest else []
    known: dict[str, Known] = {}
    for path in [*committed, *(layout.part(part, SERIES.name) for part in staged(layout))]:
        table = read_table(path, ["seg_series_uid", *Known._fields])
        for uid, *rest in zip(*(column.to_pylist() for column in table.columns), strict=True):
            known[uid] = Known(*rest)
    return {uid: item for uid, item in known.items() if item.status != "retired"}


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of a Parquet file, in that order.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(columns=list(columns)).select(list(columns))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DatasetError("dataset-invalid", f"{path} cannot be read: {error}.", path=str(path)) from error
