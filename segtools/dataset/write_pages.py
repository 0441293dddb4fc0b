"""Cut merged series into pages, and write the pages that have changed.

Where a page ends is decided by the series at its start alone, by a hash of its UID. So the same series are
cut the same way whatever the dataset's history was, and a new one moves no border but its own: a commit
writes the pages that have new, changed or retired series, and takes over all others as they are.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segtools.dataset.gather import PageRows, Wanted, gather
from segtools.dataset.merge import REFRESHED_SEGMENT_COLUMNS, series_pages
from segtools.files import TEMPORARY_PREFIX, replacing, write_error
from segtools.schema import DATASET_TABLES, SEGMENTS, SERIES, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from segtools.dataset.layout import Layout

PAGE_ROWS = 1 << 16
"""Rows of series and segments that a page has on average: few enough to be written anew for one series,
many enough to compress and to be skipped by their minima and maxima."""

_WRITERS = 2
_Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Span:
    """Rows `start` to `stop` of the merged series, and the committed page that has just these, if any."""

    start: int
    stop: int
    page: int | None


def starts_page(seg_series_uid: str, rows: int) -> bool:
    """Whether a page starts with a series of so many rows; the first one does in any case.

    The first 8 bytes of SHA-256 of its UID, as a fraction of 2**64, are below `rows` / `PAGE_ROWS`: for
    ``"1.2.826.1.2"`` they are 0xb47fba019bfd06a4, 0.705, so it starts a page if it has 46,208 rows or more.
    """
    digest = hashlib.sha256(seg_series_uid.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) * PAGE_ROWS < rows << 64


def write_pages(
    layout: Layout,
    series: pa.Table,
    manifest: Mapping[str, Any] | None,
    parts: Sequence[str],
    committed: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    *,
    is_relabeled: bool,
) -> dict[str, list[_Entry]]:
    """The pages of the merged series; new ones are written to `Layout.merged_pages`.

    Parameters
    ----------
    layout : Layout
    series : pyarrow.Table
        See `segtools.dataset.merge.Merge.series`.
    manifest : mapping or None
        The commit that pages are taken over from.
    parts : sequence of str
        Staged parts by their rank minus 1.
    committed : mapping of str to sequence of Path
        Files of the committed pages, by table.
    labels : mapping of str to int
        `label_index` by structure.
    is_relabeled : bool
        Labels of committed rows change: no page is taken over.

    Returns
    -------
    dict of str to list of dict
        Entries of ``dataset.json`` by table, page by page.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a page or part cannot be read.
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    known = {table.name: series_pages(manifest, table.name) for table in DATASET_TABLES}
    spans = _spans(series, [] if is_relabeled else [entry["rows"] for entry in known[SERIES.name]])
    entries: dict[str, list[_Entry]] = {}
    content: Iterator[tuple[int, pa.Table]]
    for table in DATASET_TABLES:
        pages: list[_Entry | None] = [
            None if span.page is None else known[table.name][span.page] for span in spans
        ]
        new = [number for number, page in enumerate(pages) if page is None]
        if table is SERIES:
            content = ((n, _series_page(series, spans[n])) for n in new)
        else:
            paths = [*committed[table.name], *(layout.part(part, table.name) for part in parts)]
            wanted = _wanted(series, spans, new, len(committed[table.name]))
            finish = _Segments(series, labels) if table is SEGMENTS else _sorted_page
            content = _filled(table, new, gather(table, paths, wanted), finish)
        for number, entry in _written(layout, table, content):
            pages[number] = entry
        entries[table.name] = [page for page in pages if page is not None]
    return entries


def write_page(layout: Layout, table: Table, rows: pa.Table) -> _Entry:
    """Write one page under the name of its content; its entry in ``dataset.json``."""
    folder = layout.merged_pages / table.name
    passing = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    with replacing(passing) as file:
        tally = _Tally(file)
        with pq.ParquetWriter(tally, table.arrow, compression="zstd") as writer:
            writer.write_table(rows.cast(table.arrow).combine_chunks(), row_group_size=max(1, len(rows)))
    return _named(layout, table, passing, len(rows), tally)


def _named(layout: Layout, table: Table, passing: Path, rows: int, tally: _Tally) -> _Entry:
    digest = tally.sha256.hexdigest()
    name = f"{digest[:32]}.parquet"
    try:
        passing.replace(passing.with_name(name))
    except OSError as error:
        raise write_error(error, passing) from error
    path = layout.relative(layout.table(table.name) / name)
    return {"path": path, "rows": rows, "bytes": tally.size, "sha256": digest}


def _spans(series: pa.Table, committed_rows: Sequence[int]) -> list[_Span]:
    """Where pages start and end; `committed_rows` of each committed page that may be taken over."""
    counts = pc.fill_null(series["segment_count"], 0).to_pylist()
    uids = series["seg_series_uid"].to_pylist()
    starts = [
        number
        for number, (uid, count) in enumerate(zip(uids, counts, strict=True))
        if number == 0 or starts_page(uid, count + 1)
    ] or [0]
    pages = pc.fill_null(series["page"], -1).to_numpy()
    is_changed = series["is_changed"].to_numpy(zero_copy_only=False)
    spans = []
    for start, stop in zip(starts, [*starts[1:], len(uids)], strict=True):
        own = pages[start:stop]
        page = int(own[0]) if len(own) else 0
        is_same = (
            0 <= page < len(committed_rows)
            and committed_rows[page] == stop - start
            and bool((own == page).all())
            and not is_changed[start:stop].any()
        )
        spans.append(_Span(start, stop, page if is_same else None))
    return spans


def _series_page(series: pa.Table, span: _Span) -> pa.Table:
    return series.slice(span.start, span.stop - span.start).select(list(SERIES.names))


def _wanted(series: pa.Table, spans: Sequence[_Span], new: Sequence[int], committed: int) -> list[Wanted]:
    """The living series of new pages, and where their rows are."""
    wanted = []
    for number in new:
        span = spans[number]
        rows = series.slice(span.start, span.stop - span.start)
        names = ("seg_series_uid", "status", "rank", "page")
        columns = (rows[name].to_pylist() for name in names)
        for offset, (uid, status, rank, page) in enumerate(zip(*columns, strict=True)):
            if status != "retired":
                source = page if rank == 0 else committed + rank - 1
                wanted.append(Wanted(number, span.start + offset, uid, source))
    return wanted


def _filled(
    table: Table, new: Sequence[int], gathered: Iterator[PageRows], finish: Any
) -> Iterator[tuple[int, pa.Table]]:
    """Every new page, those without rows too."""
    found = next(gathered, None)
    for number in new:
        if found is not None and found.page == number:
            yield number, finish(table, found)
            found = next(gathered, None)
        else:
            yield number, table.empty()


def _sorted_page(table: Table, page: PageRows) -> pa.Table:
    return page.rows.sort_by([(name, "ascending") for name in table.order])


class _Segments:
    """Gives segments the columns that are their series' or the dataset's."""

    def __init__(self, series: pa.Table, labels: Mapping[str, int]) -> None:
        self._series = series.select(list(REFRESHED_SEGMENT_COLUMNS)).combine_chunks()
        self._structures = pa.array(labels.keys(), pa.string())
        self._indices = pa.array(labels.values(), SEGMENTS["label_index"].type)

    def __call__(self, table: Table, page: PageRows) -> pa.Table:
        rows = page.rows
        repeated = self._series.take(pa.array(page.positions))
        for name in REFRESHED_SEGMENT_COLUMNS:
            rows = _replaced(rows, name, repeated[name])
        found = pc.index_in(rows["structure"], self._structures)
        return _replaced(rows, "label_index", self._indices.take(found))


def _replaced(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return rows.set_column(SEGMENTS.names.index(name), SEGMENTS.arrow.field(name), values)


def _written(
    layout: Layout, table: Table, content: Iterator[tuple[int, pa.Table]]
) -> Iterator[tuple[int, _Entry]]:
    """Write pages, few at a time, since each is held in memory."""
    waiting: deque[tuple[int, Future[_Entry]]] = deque()
    with ThreadPoolExecutor(_WRITERS, "pages") as pool:
        for number, rows in content:
            if len(waiting) == _WRITERS:
                first, done = waiting.popleft()
                yield first, done.result()
            waiting.append((number, pool.submit(write_page, layout, table, rows)))
        for first, done in waiting:
            yield first, done.result()


class _Tally:
    """A binary file that hashes what passes; what pyarrow needs of a sink."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        self.sha256.update(data)
        self.size += memoryview(data).nbytes
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: its owner makes it durable and renames it."""
