"""An independent reader of a dataset: recounts what the tables claim from the bytes on disk.

It shares no code with the writer, with `segtools.nifti.reader` or `segtools.decode.measure`. Agreement
therefore means something.
"""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.check.audit_tables import altered_pages, check_tables, finding
from segtools.check.recount import differences, label_measures, overlap_counts
from segtools.check.stored_volume import parse
from segtools.dataset.replaced import kept_files
from segtools.files import sha256_of
from segtools.finding import Finding, finding_row
from segtools.schema import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from segtools.dataset.reader import Dataset

    Row = dict[str, Any]

_SEGMENTS = """
    SELECT seg_series_uid, seg_sop_uid, segment_number, volume_path, mask_path, fraction_path,
        max_fractional_value, affine_ras_mm, size_i, size_j, size_k,
        COLUMNS('^(spacing|bbox|centroid)_'), voxel_count, volume_ml, slice_count, component_count,
        largest_component_fraction, touches_border, overlap_voxel_count
    FROM segments WHERE coalesce(volume_path, mask_path, fraction_path) IS NOT NULL
    ORDER BY seg_series_uid, seg_sop_uid, segment_number
"""
_BATCH = 64


def audit(dataset: Dataset, *, workers: int | None = None) -> pa.Table:
    """Compare every file with every row.

    Parameters
    ----------
    dataset : Dataset
    workers : int, optional
        Threads; default: one per core.

    Returns
    -------
    pyarrow.Table
        With the schema `segtools.schema.FINDINGS`; empty if all is as the tables say.
    """
    dataset.download()
    broken = list(altered_pages(dataset)) or list(check_tables(dataset))
    rows = [finding_row(f, seg_series_uid=None, seg_sop_uid=None) for f in broken]
    if broken:  # nothing that such tables say can be held against the files
        return _table(rows)
    named: set[str] = set()
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for found in _batched(pool, lambda row: _file(dataset, row), _files(dataset, named)):
            rows += found
        for found in _batched(pool, lambda rows: _instance(dataset, rows), _instances(dataset)):
            rows += found
    rows += [finding_row(f, seg_series_uid=None, seg_sop_uid=None) for f in _undeclared(dataset, named)]
    return _table(rows)


def _batched(pool: ThreadPoolExecutor, work: Any, items: Iterator[Any]) -> Iterator[list[Row]]:
    """What `work` gives for each item, in order; few are in memory at a time."""
    while batch := list(islice(items, _BATCH)):
        yield from pool.map(work, batch)


def _table(rows: list[Row]) -> pa.Table:
    table = FINDINGS.from_rows(list({row["finding_id"]: row for row in rows}.values()))
    return table.sort_by([(column, "ascending") for column in FINDINGS.order])


def _rows(findings: Sequence[Finding], row: Row) -> list[Row]:
    keys = {"seg_series_uid": row["seg_series_uid"], "seg_sop_uid": row["seg_sop_uid"]}
    return [finding_row(one, **keys) for one in findings]


# --- files against their hashes -----------------------------------------------------------------------


def _files(dataset: Dataset, named: set[str]) -> Iterator[Row]:
    """Rows of the files table; their paths are added to `named`."""
    for row in dataset.sql("SELECT * FROM files").to_pylist():
        named.add(row["path"])
        yield row


def _file(dataset: Dataset, row: Row) -> list[Row]:
    path = _inside(dataset, row["path"])
    if path is None or not path.is_file():
        return _rows([finding("file-missing", f"{row['path']} is not there.", scope="instance")], row)
    digest = sha256_of(path)
    if digest == row["sha256"]:
        return []
    message = f"{row['path']} has other bytes than were written."
    return _rows([finding("file-altered", message, digest, row["sha256"], "instance")], row)


# --- voxels against measures --------------------------------------------------------------------------


def _instances(dataset: Dataset) -> Iterator[list[Row]]:
    """Segments of one instance after the other."""
    with dataset.cursor() as cursor:
        cursor.execute(_SEGMENTS)
        names = [column[0] for column in cursor.description or ()]

        def fetched() -> Iterator[Row]:
            while batch := cursor.fetchmany(10_000):
                yield from (dict(zip(names, values, strict=True)) for values in batch)

        for _, rows in groupby(fetched(), lambda row: (row["seg_series_uid"], row["seg_sop_uid"])):
            yield list(rows)


def _instance(dataset: Dataset, rows: list[Row]) -> list[Row]:
    """Findings about the volumes of one instance and the rows that name them."""
    found: list[Finding] = []
    stored: dict[str, npt.NDArray[Any]] = {}
    for row in rows:
        for kind in ("volume_path", "mask_path", "fraction_path"):
            path = row[kind]
            if path and path not in stored:
                array, problems = _read(dataset, path, row)
                found += problems
                if array is None:  # said already; nothing can be counted in it
                    return _rows(found, rows[0])
                stored[path] = array
    found += _labels(rows, stored)
    return _rows(found, rows[0])


def _read(dataset: Dataset, relative: str, row: Row) -> tuple[npt.NDArray[Any] | None, list[Finding]]:
    """A volume, and what its header has otherwise than the row."""
    path = _inside(dataset, relative)
    if path is None or not path.is_file():
        return None, [finding("file-missing", f"{relative} is not there.", scope="instance")]
    try:
        stored, affine = parse(path)
    except (ValueError, OSError, EOFError, zlib.error, struct.error) as error:
        message = f"{relative} is not a valid NIfTI file ({error})."
        return None, [finding("file-altered", message, scope="instance")]
    found = []
    # Without an affine in the table, the file's stands for nothing: an instance without a place in space.
    expected = _affine_of(row, affine)
    # NIfTI-1 keeps the affine as float32.
    if not np.allclose(affine, expected[:3], rtol=1e-6, atol=1e-5 * max(1.0, np.abs(expected).max() / 100)):
        message = f"{relative} has another affine than the table."
        found.append(
            finding("affine-mismatch", message, affine.tolist(), expected[:3].tolist(), scope="instance")
        )
    shape = [row["size_k"], row["size_j"], row["size_i"]]
    if list(stored.shape) != shape:
        found.append(
            finding("affine-mismatch", f"{relative} has another shape.", stored.shape, shape, "instance")
        )
        return None, found
    return stored, found


def _affine_of(row: Row, stored: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(4, 4) float64, mm: a row's affine; where it has none, the one stored."""
    stated = row["affine_ras_mm"]
    if stated is None:
        return np.vstack([np.asarray(stored, np.float64)[:3], [0, 0, 0, 1]])
    return np.array(stated, np.float64).reshape(4, 4)


def _labels(rows: list[Row], stored: dict[str, npt.NDArray[Any]]) -> Iterator[Finding]:
    """Every measure of every segment, counted again."""
    maps = {row["volume_path"]: stored[row["volume_path"]] for row in rows if row["volume_path"]}
    fractions = {row["segment_number"]: stored[row["fraction_path"]] for row in rows if row["fraction_path"]}
    overlaps = overlap_counts(maps.values(), fractions)
    for path, array in maps.items():
        own = [row for row in rows if row["volume_path"] == path]
        measured = label_measures(array)
        if any(row["segment_number"] == 0 for row in own):  # a label map whose 0 is a segment
            background = label_measures((array == 0).view(np.uint8))
            measured |= {0: background[1]} if background else {}
        for row in own:
            yield from _measures(row, measured.get(row["segment_number"]), overlaps, path)
        if foreign := sorted(measured.keys() - {row["segment_number"] for row in own}):
            yield finding("count-mismatch", f"{path} has labels no row names.", foreign, scope="instance")
    for row in rows:
        if path := row["fraction_path"]:
            array = stored[path]
            whole = row["max_fractional_value"] or np.iinfo(array.dtype).max
            one = label_measures((array != 0).view(np.uint8)).get(1)
            if one is not None:
                one["fraction_sum"] = int(array.sum(dtype=np.int64)) / whole
            yield from _measures(row, one, overlaps, path)
        if path := row["mask_path"]:
            yield from _mask(row, stored, path)


def _mask(row: Row, stored: dict[str, npt.NDArray[Any]], path: str) -> Iterator[Finding]:
    number = row["segment_number"]
    mask = stored[path] != 0
    count = int(np.count_nonzero(mask))
    is_same = count == row["voxel_count"]
    if row["volume_path"]:
        is_same = is_same and bool((mask == (stored[row["volume_path"]] == number)).all())
    if not is_same:
        message = f"{path}: the mask of segment {number} has other voxels."
        yield finding("count-mismatch", message, count, row["voxel_count"], "segment", number)


def _measures(row: Row, measured: Row | None, overlaps: dict[int, int], path: str) -> Iterator[Finding]:
    number = row["segment_number"]
    if measured is not None:
        measured = measured | {"overlap_voxel_count": overlaps.get(number, 0) if number else 0}
    for name, value, stated in differences(row, measured):
        message = f"{path}: {name} of segment {number} is {value}, the table says {stated}."
        yield finding("count-mismatch", message, value, stated, "segment", number)


def _undeclared(dataset: Dataset, named: set[str]) -> Iterator[Finding]:
    """Files below volumes/ that no table names, nor one of an earlier commit that is still kept."""
    named = named | kept_files(dataset)
    for folder, _, names in os.walk(dataset.root / "volumes"):
        relative = PurePosixPath(folder).relative_to(PurePosixPath(dataset.root)).as_posix()
        for name in sorted(names):
            path = f"{relative}/{name}"
            if path not in named:
                yield finding("undeclared-file", f"No table names {path}.", path)


def _inside(dataset: Dataset, relative: str) -> Path | None:
    parts = PurePosixPath(relative)
    return None if parts.is_absolute() or ".." in parts.parts else dataset.root / parts
