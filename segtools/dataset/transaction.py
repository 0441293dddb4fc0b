"""Stage parts while a run goes on; commit them as one dataset.

A part is what one batch of series gave: three Parquet files under ``tables/.staging``, the series one
written last, so a part without it does not exist. Where two hold the same series, the one whose id
sorts last is the newer: ids start with the number of their run (`part_id`), and no clock is asked. The
commit merges committed and staged rows by series (the newest wins), puts all tables, waiting volumes
(`segtools.dataset.staged_volumes`) and documents in place, and replaces ``dataset.json`` last: that is the
commit. A crash before it leaves the staging, so the next commit does it all again; one
after it leaves at most what `_tidy` removes next time. The tables hold no clock and no host: the same
rows give the same bytes, in one run or in many.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.codes import CODES
from segtools.dataset import documents, merge
from segtools.dataset.manifest import MANIFEST
from segtools.dataset.prune import stored, tidy
from segtools.dataset.staged_volumes import take_places
from segtools.errors import DatasetError
from segtools.files import (
    TEMPORARY_PREFIX,
    dump_json,
    fsync_folder,
    replacing,
    sweep,
    write_bytes,
    write_error,
)
from segtools.schema import (
    DATASET_TABLES,
    FINDINGS,
    FORMAT_VERSION,
    SEGMENTS,
    SELECTION,
    SERIES,
    Table,
)
from segtools.version import DECODER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from segtools.dataset.layout import Layout

ROW_GROUP = 100_000
"""Rows per row group: small enough for min/max pruning, large enough to compress."""

_PART = re.compile(r"(\d{6})[-z]")

_OURS = frozenset(
    {"dataset.json", "cohort.yaml", "README.md", "CITATIONS.bib", "LICENSES.tsv", "tables", "volumes"}
    | {"report", "runs", ".lock", ".DS_Store"}
)


class Done(NamedTuple):
    """What is known of a series that was worked on before."""

    crdc_series_uuid: str
    settings_hash: str
    status: str
    error_code: str | None = None


def prepare(layout: Layout) -> None:
    """Make sure the folder is ours to write to, and remove what a crash left half-written.

    Raises
    ------
    DatasetError
        ``output-not-ours``: the folder has other things in it.
    WriteError, EnvironmentProblem
        The folder cannot be made.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in layout.root.iterdir()}
    except OSError as error:
        raise write_error(error, layout.root) from error
    refuse_foreign(str(layout.root), names)
    try:
        layout.staging.mkdir(parents=True, exist_ok=True)
        homes = (layout.columns, layout.report, layout.ledger)
        for folder in (layout.root, layout.staging, *(path.parent for path in homes)):
            sweep(folder)
        complete = set(layout.parts())
        for path in layout.staging.glob("*.parquet"):  # of parts whose series table was never written
            if path.name.rsplit(".", 2)[0] not in complete:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, layout.staging) from error


def refuse_foreign(where: str, names: Collection[str]) -> None:
    """Refuse a place that holds other things and no dataset; `names` are those at its top.

    Raises
    ------
    DatasetError
        ``output-not-ours``.
    """
    foreign = sorted(name for name in names if name not in _OURS and not name.startswith(TEMPORARY_PREFIX))
    if foreign and MANIFEST not in names:
        raise DatasetError("output-not-ours", f"{where} holds {foreign[0]!r} and no {MANIFEST}.", path=where)


def stage(
    layout: Layout,
    part_id: str,
    series: Sequence[Mapping[str, Any]],
    segments: Sequence[Mapping[str, Any]],
    findings: Iterable[Mapping[str, Any]],
) -> None:
    """Stage the rows of one batch of series; a part of the same id is replaced.

    Raises
    ------
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    if len({row["seg_series_uid"] for row in series}) != len(series):
        raise AssertionError(f"part {part_id!r} has a series twice")
    complete = layout.part(part_id, SERIES.name)
    try:
        complete.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, complete) from error
    unique = {row["finding_id"]: row for row in findings}.values()
    for table, rows in ((SEGMENTS, segments), (FINDINGS, unique), (SERIES, series)):
        with replacing(layout.part(part_id, table.name)) as file:
            pq.write_table(_sorted(table, rows), file, compression="zstd")
        fsync_folder(layout.staging)


def _sorted(table: Table, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """The rows in the table's order, which the commit's merge relies on."""
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


def done(layout: Layout) -> dict[str, Done]:
    """Series that committed tables and staged parts know, by SeriesInstanceUID; not the retired ones.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read.
    """
    columns = ["seg_series_uid", *Done._fields]
    paths = [layout.table(SERIES.name)] if layout.table(SERIES.name).is_file() else []
    known: dict[str, Done] = {}
    for path in paths + [layout.part(part, SERIES.name) for part in staged(layout)]:
        try:
            table = pq.read_table(path, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(
                "dataset-invalid", f"{path} cannot be read: {error}.", path=str(path)
            ) from error
        for uid, *rest in zip(*(table[name].to_pylist() for name in columns), strict=True):
            known[uid] = Done(*rest)
    return {uid: item for uid, item in known.items() if item.status != "retired"}


def commit(
    layout: Layout,
    *,
    cohort: str,
    current: pa.Table,
    name: str = "",
    idc_version: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    label_index: Mapping[str, int] | None = None,
    memory_limit: str = "2GB",
) -> dict[str, Any]:
    """Make committed and staged rows the dataset, and give its ``dataset.json``.

    Where nothing is staged and nothing else differs from the last commit, nothing is written.

    Series that `current` lacks are retired: their row stays as a tombstone, their segments, findings
    and volumes go. Those it has get its release, licence and citation.

    Parameters
    ----------
    layout : Layout
    cohort : str
        The cohort file's text; kept as ``cohort.yaml``.
    current : pyarrow.Table
        The selection (`segtools.schema.SELECTION`) the dataset shall hold.
    name : str
        The cohort's name.
    idc_version : int, optional
        Release of `current`.
    provenance : mapping, optional
        JSON values without clock or host, kept in ``dataset.json``.
    label_index : mapping of str to int, optional
        Structure to cohort-wide label; default: 1, 2, … in the order of the names.
    memory_limit : str
        Of the sort, as DuckDB writes it; beyond that it spills into the staging folder.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a committed or staged table cannot be read.
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    parts = staged(layout)
    described = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "cohort_sha256": hashlib.sha256(cohort.encode()).hexdigest(),
        "selection_sha256": _digest(current),
        "idc_version": idc_version,
        "decoder": DECODER,
        "label_index": None if label_index is None else dict(label_index),
        "provenance": dict(provenance or {}),
    }
    if not parts and (unchanged := _unchanged(layout, described)):
        _clear_staging(layout, parts)
        return unchanged
    with merge.Merge(layout, parts, current, idc_version, label_index, memory_limit) as merged:
        tables = _write_tables(layout, ((table, merged.reader(table)) for table in DATASET_TABLES))
        texts = {
            "cohort.yaml": cohort.encode(),
            "README.md": documents.readme(
                name or layout.root.name,
                idc_version,
                {**merged.counts(), "segments": tables[SEGMENTS.name]["rows"]},
            ),
            "CITATIONS.bib": documents.citations(merged.dois()),
            "LICENSES.tsv": documents.licenses(merged.licenses()),
        }
        for document, content in texts.items():
            write_bytes(layout.document(document), content)  # type: ignore[arg-type]
        write_bytes(layout.columns, documents.columns())
        manifest = {**described, "tables": tables, "is_checked": False}
        touched = merged.touched()
        if layout.pending().is_dir():
            for uid, names in stored(layout, touched):
                take_places(layout, touched[uid], names)
        _publish(layout, manifest)
        tidy(layout, touched, merged.folders())
    _clear_staging(layout, parts)
    return manifest


def record_checks(layout: Layout, findings: pa.Table) -> dict[str, Any]:
    """Replace the findings of `check` in the committed dataset by `findings`.

    Parameters
    ----------
    layout : Layout
    findings : pyarrow.Table
        With the schema `segtools.schema.FINDINGS`; rules of the check stage only.

    Raises
    ------
    DatasetError
        ``dataset-invalid``.
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    manifest: dict[str, Any] = json.loads(layout.manifest.read_bytes())
    rules = [code for code, entry in CODES.items() if entry.stage == "check"]
    path = layout.table(FINDINGS.name)
    try:
        kept = pq.read_table(path, schema=FINDINGS.arrow)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError("dataset-invalid", f"{path} cannot be read: {error}.", path=str(path)) from error
    import pyarrow.compute as pc

    kept = kept.filter(pc.invert(pc.is_in(kept["rule"], pa.array(rules, pa.string()))))
    table = pa.concat_tables([kept, findings.cast(FINDINGS.arrow)])
    table = table.sort_by([(column, "ascending") for column in FINDINGS.order])
    tables = _write_tables(layout, [(FINDINGS, iter(table.to_batches(ROW_GROUP)))])
    manifest["tables"] |= tables
    manifest["is_checked"] = True
    _publish(layout, manifest)
    return manifest


def _digest(current: pa.Table) -> str:
    """SHA-256 of a selection, whatever its order."""
    rows = current.sort_by("seg_series_uid")
    digest = hashlib.sha256()
    for column in SELECTION.names:
        digest.update(json.dumps(rows[column].to_pylist()).encode())
    return digest.hexdigest()


def _unchanged(layout: Layout, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """The committed dataset.json, if it says the same and its tables are there."""
    try:
        manifest: dict[str, Any] = json.loads(layout.manifest.read_bytes())
        sizes = [layout.absolute(entry["path"]).stat().st_size for entry in manifest["tables"].values()]
        is_whole = sizes == [entry["bytes"] for entry in manifest["tables"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    # Compared as JSON, in which a tuple is a list.
    same = json.loads(json.dumps(described)) == {key: manifest.get(key) for key in described}
    return manifest if is_whole and same else None


def _write_tables(
    layout: Layout, tables: Iterable[tuple[Table, Iterator[pa.RecordBatch]]]
) -> dict[str, dict[str, Any]]:
    """Write all tables, then put them in place together; their entries in dataset.json."""
    entries = {}
    with contextlib.ExitStack() as places:
        for table, batches in tables:
            path = layout.table(table.name)
            tally = _Tally(places.enter_context(replacing(path)))
            rows = _write_parquet(table, batches, tally)
            entries[table.name] = {
                "path": layout.relative(path),
                "rows": rows,
                "bytes": tally.tell(),
                "sha256": tally.sha256.hexdigest(),
            }
    return entries


def _write_parquet(table: Table, batches: Iterator[pa.RecordBatch], sink: _Tally) -> int:
    rows = 0
    with pq.ParquetWriter(sink, table.arrow, compression="zstd") as writer:
        for group in _groups(table, batches):
            writer.write_table(group, row_group_size=ROW_GROUP)
            rows += len(group)
    return rows


def _groups(table: Table, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Exactly `ROW_GROUP` rows each, the last one fewer: DuckDB's batches depend on its threads."""
    pending: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + len(batch) >= ROW_GROUP:
            head, batch = batch[: ROW_GROUP - count], batch[ROW_GROUP - count :]
            yield pa.Table.from_batches([*pending, head]).cast(table.arrow).combine_chunks()
            pending, count = [], 0
        if len(batch):
            pending.append(batch)
            count += len(batch)
    if pending:
        yield pa.Table.from_batches(pending).cast(table.arrow).combine_chunks()


def _publish(layout: Layout, manifest: Mapping[str, Any]) -> None:
    """Replace dataset.json once everything it speaks of is durable."""
    fsync_folder(layout.columns.parent)
    write_bytes(layout.manifest, dump_json(manifest))
    fsync_folder(layout.root)


def _clear_staging(layout: Layout, parts: Iterable[str]) -> None:
    """Remove the committed parts; one staged meanwhile stays."""
    try:
        for part in parts:
            for table in DATASET_TABLES:  # the series part first: without it there is no part
                layout.part(part, table.name).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, layout.staging) from error
    shutil.rmtree(layout.spill, ignore_errors=True)
    shutil.rmtree(layout.pending(), ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.staging.rmdir()


class _Tally:
    """A binary file that hashes what passes; what pyarrow needs of a sink."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: its owner makes it durable and renames it."""
