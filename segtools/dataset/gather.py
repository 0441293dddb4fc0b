"""Rows of merged pages, series by series, from tables that are sorted already.

Committed pages and staged parts hold their rows sorted, those of a series together, and a series' rows
come from exactly one of them. So ten million wide rows need no sort: the series are put in order, and
their rows copied from where they are, a row group at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segtools.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from segtools.schema import Table


@dataclass(frozen=True, slots=True)
class Wanted:
    """A series of a page.

    Attributes
    ----------
    page : int
        The merged page it goes to; wanted series are in the order of their pages.
    position : int
        Its row in the table of series.
    uid : str
    source : int
        Number of the file that holds its rows.
    """

    page: int
    position: int
    uid: str
    source: int


@dataclass(frozen=True, slots=True)
class PageRows:
    """Rows of one page.

    Attributes
    ----------
    page : int
    rows : pyarrow.Table
        In the order of the series.
    positions : (len(rows),) int64 ndarray
        `Wanted.position` of each row's series.
    """

    page: int
    rows: pa.Table
    positions: npt.NDArray[np.int64]


def gather(table: Table, paths: Sequence[Path], wanted: Sequence[Wanted]) -> Iterator[PageRows]:
    """The rows of `wanted`, one table per page that has any.

    Parameters
    ----------
    table : Table
    paths : sequence of Path
        The sources by number, each with the rows of a series together.
    wanted : sequence of Wanted

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a source cannot be read, or has a series in two places.
    """
    sources: dict[int, _PageFile] = {}
    last_use = {one.source: number for number, one in enumerate(wanted)}
    pieces: list[_Piece] = []
    page = wanted[0].page if wanted else 0
    for number, one in enumerate(wanted):
        if one.page != page:
            yield from _read(page, pieces)
            page, pieces = one.page, []
        source = sources.get(one.source)
        if source is None:
            source = sources[one.source] = _PageFile(table, paths[one.source])
        if last_use[one.source] == number:
            del sources[one.source]  # thousands of parts: each one's file and memory go with its last piece
        start, stop = source.rows.get(one.uid, (0, 0))
        if start < stop:
            _extend(pieces, source, one.position, start, stop)
    yield from _read(page, pieces)


@dataclass(slots=True)
class _Piece:
    """Neighbouring rows of one source: those of `positions`, `counts` each."""

    source: _PageFile
    start: int
    stop: int
    positions: list[int]
    counts: list[int]


def _extend(pieces: list[_Piece], source: _PageFile, position: int, start: int, stop: int) -> None:
    """Append the rows of a series, to the last piece where they follow it."""
    if pieces and pieces[-1].source is source and pieces[-1].stop == start:
        last = pieces[-1]
        last.stop = stop
        last.positions.append(position)
        last.counts.append(stop - start)
    else:
        pieces.append(_Piece(source, start, stop, [position], [stop - start]))


def _read(page: int, pieces: Sequence[_Piece]) -> Iterator[PageRows]:
    if not pieces:
        return
    rows = pa.concat_tables([part for piece in pieces for part in piece.source.read(piece.start, piece.stop)])
    positions = np.concatenate([piece.positions for piece in pieces])
    counts = np.concatenate([piece.counts for piece in pieces])
    yield PageRows(page, rows, np.repeat(positions, counts).astype(np.int64))


class _PageFile:
    """One sorted file, of which a row group is held at a time.

    Attributes
    ----------
    rows : dict of str to (int, int)
        First row of each series, and the one after its last.
    """

    def __init__(self, table: Table, path: Path) -> None:
        self._table, self._path = table, path
        try:
            self._file = pq.ParquetFile(path, pre_buffer=True)
            groups = [
                self._file.metadata.row_group(n).num_rows for n in range(self._file.metadata.num_row_groups)
            ]
            self._bounds: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(groups)]).astype(np.int64)
            self.rows = self._index()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise self._invalid(f"cannot be read: {error}") from error
        self._held: tuple[int, pa.Table] | None = None

    def read(self, start: int, stop: int) -> Iterator[pa.Table]:
        """Rows `start` to `stop`."""
        while start < stop:
            group = int(np.searchsorted(self._bounds, start, "right")) - 1
            first, last = int(self._bounds[group]), int(self._bounds[group + 1])
            end = min(stop, last)
            if self._held is None or self._held[0] != group:
                self._held = None
                self._held = (group, self._group(group))
            yield self._held[1].slice(start - first, end - start)
            start = end

    def _group(self, group: int) -> pa.Table:
        names = list(self._table.names)
        try:
            return self._file.read_row_group(group, columns=names).select(names).cast(self._table.arrow)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise self._invalid(f"cannot be read: {error}") from error

    def _index(self) -> dict[str, tuple[int, int]]:
        rows: dict[str, tuple[int, int]] = {}
        previous = None
        for group in range(len(self._bounds) - 1):
            column = self._file.read_row_group(group, columns=["seg_series_uid"])["seg_series_uid"]
            runs = pc.run_end_encode(column.combine_chunks())
            ends = runs.run_ends.to_numpy() + self._bounds[group]
            start = int(self._bounds[group])
            for uid, end in zip(runs.values.to_pylist(), ends.tolist(), strict=True):
                if uid == previous:
                    start = rows[uid][0]
                elif uid in rows:
                    raise self._invalid(f"holds series {uid} in two places")
                rows[uid] = (start, end)
                start, previous = end, uid
        return rows

    def _invalid(self, what: str) -> DatasetError:
        return DatasetError("dataset-invalid", f"{self._path} {what}.", path=str(self._path))
