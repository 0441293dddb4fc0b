"""The segment rows of a commit, series by series, from tables that are sorted already.

The committed table and every staged part hold their rows in the table's order, and a series' rows come
from exactly one of them. So ten million wide rows need no sort: the series are put in order, and their
rows copied from where they are, a row group at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segtools.errors import DatasetError
from segtools.schema import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

REFRESHED = ("idc_version", "analysis_result_id", "license", "source_doi")
"""Columns that are the series', as the release of this commit states them."""

_CHUNK = 50_000


def gather_segments(
    paths: Sequence[Path | None], series: pa.Table, labels: Mapping[str, int]
) -> Iterator[pa.RecordBatch]:
    """The rows of some series, in their order.

    Parameters
    ----------
    paths : sequence of Path or None
        Segment tables by rank, each with the rows of a series together and in order.
    series : pyarrow.Table
        In the order wanted: `seg_series_uid`, `rank` of the table that holds its rows, and `REFRESHED`.
    labels : mapping of str to int
        `label_index` by structure.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read, or is not in order.
    """
    finish = _Finish(series, labels)
    sources: dict[int, _Source] = {}
    uids, ranks = series["seg_series_uid"].to_pylist(), series["rank"].to_pylist()
    last_use = {rank: position for position, rank in enumerate(ranks)}
    pieces: list[_Piece] = []
    rows = 0
    for position, (uid, rank) in enumerate(zip(uids, ranks, strict=True)):
        path = paths[rank]
        if path is None:
            continue
        source = sources.get(rank)
        if source is None:
            source = sources[rank] = _Source(path)
        if last_use[rank] == position:
            del sources[rank]  # thousands of parts: each one's file and memory go with its last piece
        start, stop = source.rows.get(uid, (0, 0))
        if start == stop:
            continue
        _extend(pieces, source, position, start, stop)
        rows += stop - start
        if rows >= _CHUNK:
            yield from finish(pieces)
            pieces, rows = [], 0
    yield from finish(pieces)


@dataclass(slots=True)
class _Piece:
    """Neighbouring rows of one source: those of `positions`, `counts` each."""

    source: _Source
    start: int
    stop: int
    positions: list[int]
    counts: list[int]


def _extend(pieces: list[_Piece], source: _Source, position: int, start: int, stop: int) -> None:
    """Append the rows of a series, to the last piece where they follow it."""
    if pieces and pieces[-1].source is source and pieces[-1].stop == start:
        last = pieces[-1]
        last.stop = stop
        last.positions.append(position)
        last.counts.append(stop - start)
    else:
        pieces.append(_Piece(source, start, stop, [position], [stop - start]))


class _Finish:
    """Reads pieces and gives their rows the columns that are not their own."""

    def __init__(self, series: pa.Table, labels: Mapping[str, int]) -> None:
        self._series = series.select(list(REFRESHED)).combine_chunks()
        self._structures = pa.array(labels.keys(), pa.string())
        self._indices = pa.array(labels.values(), SEGMENTS["label_index"].type)

    def __call__(self, pieces: Sequence[_Piece]) -> Iterator[pa.RecordBatch]:
        if not pieces:
            return
        table = pa.concat_tables(
            [part for piece in pieces for part in piece.source.read(piece.start, piece.stop)]
        )
        positions = np.concatenate([piece.positions for piece in pieces])
        counts = np.concatenate([piece.counts for piece in pieces])
        repeated = self._series.take(pa.array(np.repeat(positions, counts)))
        for name in REFRESHED:
            table = _replaced(table, name, repeated[name])
        found = pc.index_in(table["structure"], self._structures)
        table = _replaced(table, "label_index", self._indices.take(found))
        yield from table.combine_chunks().to_batches()


def _replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(SEGMENTS.names.index(name), SEGMENTS.arrow.field(name), values)


class _Source:
    """One sorted segment table, of which a row group is held at a time.

    Attributes
    ----------
    rows : dict of str to (int, int)
        First row of each series, and the one after its last.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
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
        try:
            table = self._file.read_row_group(group, columns=list(SEGMENTS.names))
            return table.select(list(SEGMENTS.names)).cast(SEGMENTS.arrow)
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
