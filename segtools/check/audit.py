"""An independent reader of a dataset: recounts what the tables claim from the bytes on disk.

It shares no code with the writer or with `segtools.nifti.reader`: gzip is the standard library's, the header
is taken apart with `struct`. Agreement therefore means something.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segtools.check.schema_rules import check_table
from segtools.finding import Finding, Scope, finding_row
from segtools.schema import DATASET_TABLES, FINDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from segtools.dataset.reader import Dataset

_VOLUMES = """
    SELECT path, kind, any_value(seg_series_uid), any_value(seg_sop_uid),
        any_value(affine_ras_mm), any_value([size_k, size_j, size_i]),
        list(segment_number ORDER BY segment_number), list(voxel_count ORDER BY segment_number)
    FROM (
        SELECT volume_path AS path, 'labels' AS kind, * FROM segments
        UNION ALL SELECT mask_path, 'mask', * FROM segments
        UNION ALL SELECT fraction_path, 'fraction', * FROM segments
    )
    WHERE path IS NOT NULL
    GROUP BY path, kind ORDER BY path
"""
_BATCH = 256


class _Claim(NamedTuple):
    """What the tables say of one file."""

    path: str
    kind: str
    seg_series_uid: str
    seg_sop_uid: str
    affine: list[float]
    shape: list[int]
    numbers: list[int]
    counts: list[int]


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
    broken = list(_altered(dataset)) or list(_tables(dataset))
    rows = [finding_row(f, seg_series_uid=None, seg_sop_uid=None) for f in broken]
    if broken:  # nothing that such tables say can be held against the files
        return _table(rows)
    claimed: set[str] = set()
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for claims in _claims(dataset):
            claimed.update(claim.path for claim in claims)
            for claim, findings in zip(claims, pool.map(lambda c: _volume(dataset, c), claims), strict=True):
                rows += [
                    finding_row(f, seg_series_uid=claim.seg_series_uid, seg_sop_uid=claim.seg_sop_uid)
                    for f in findings
                ]
    rows += [finding_row(f, seg_series_uid=uid, seg_sop_uid=None) for uid, f in _sizes(dataset)]
    rows += [finding_row(f, seg_series_uid=None, seg_sop_uid=None) for f in _undeclared(dataset, claimed)]
    return _table(rows)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    table = FINDINGS.from_rows(list({row["finding_id"]: row for row in rows}.values()))
    return table.sort_by([(column, "ascending") for column in FINDINGS.order])


def _altered(dataset: Dataset) -> Iterator[Finding]:
    """Tables that are not the committed ones, by their bytes."""
    for table in DATASET_TABLES:
        entry = dataset.manifest["tables"].get(table.name)
        if entry is None:
            yield Finding("file-missing", f"dataset.json lists no table {table.name}.", scope="dataset")
            continue
        with dataset.table_path(table.name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != entry.get("sha256"):
            yield _finding(
                "file-altered", f"{entry['path']} is not the committed one.", digest, entry.get("sha256")
            )


def _tables(dataset: Dataset) -> Iterator[Finding]:
    """Row counts and declarations of the tables."""
    for table in DATASET_TABLES:
        entry = dataset.manifest["tables"][table.name]
        rows = dataset.sql(f"SELECT count(*) FROM {table.name}").column(0)[0].as_py()
        if rows != entry["rows"]:
            yield _finding(
                "file-altered", f"{entry['path']} has another number of rows.", rows, entry["rows"]
            )
        yield from check_table(dataset, table)


def _claims(dataset: Dataset) -> Iterator[list[_Claim]]:
    with dataset.cursor() as cursor:
        cursor.execute(_VOLUMES)
        while rows := cursor.fetchmany(_BATCH):
            yield [_Claim(*row) for row in rows]


def _volume(dataset: Dataset, claim: _Claim) -> list[Finding]:
    path = _inside(dataset, claim.path)
    if path is None or not path.is_file():
        return [_finding("file-missing", f"{claim.path} is not there.", scope="instance")]
    try:
        stored, affine = _parse(path)
    except (ValueError, OSError, EOFError, zlib.error, struct.error) as error:
        return [_finding("file-altered", f"{claim.path} is no readable NIfTI ({error}).", scope="instance")]
    findings = []
    expected = np.array(claim.affine).reshape(4, 4)
    # NIfTI-1 keeps the affine as float32.
    if not np.allclose(affine, expected[:3], rtol=1e-6, atol=1e-5 * max(1.0, np.abs(expected).max() / 100)):
        findings.append(
            _finding(
                "affine-mismatch",
                f"{claim.path} has another affine than the table.",
                affine.tolist(),
                expected[:3].tolist(),
                scope="instance",
            )
        )
    if list(stored.shape) != claim.shape:
        findings.append(
            _finding(
                "affine-mismatch", f"{claim.path} has another shape.", stored.shape, claim.shape, "instance"
            )
        )
    return findings + _counts(claim, stored)


def _counts(claim: _Claim, stored: npt.NDArray[Any]) -> list[Finding]:
    """Voxels per label, counted again."""
    if claim.kind == "labels":
        histogram = np.bincount(stored.ravel())
        there = {int(value): int(histogram[value]) for value in np.flatnonzero(histogram)}
    else:
        there = {claim.numbers[0]: int(np.count_nonzero(stored))}
    stated = dict(zip(claim.numbers, claim.counts, strict=True))
    wrong = [
        _finding(
            "count-mismatch",
            f"{claim.path}: segment {number} has {there.get(number, 0)} voxels, the table says {count}.",
            there.get(number, 0),
            count,
            "segment",
            number,
        )
        for number, count in stated.items()
        if there.get(number, 0) != count
    ]
    foreign = sorted(value for value in there if value not in stated and value != 0)
    if foreign:
        wrong.append(
            _finding("count-mismatch", f"{claim.path} has labels no row names.", foreign, scope="instance")
        )
    return wrong


def _parse(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels (k, j, i) and the sform's three rows, straight from the bytes."""
    with gzip.open(path) as file:
        head = file.read(544)
        (size,) = struct.unpack_from("<i", head)
        if size == 348:
            dim = struct.unpack_from("<8h", head, 40)
            (datatype,) = struct.unpack_from("<h", head, 70)
            offset = int(struct.unpack_from("<f", head, 108)[0])
            sform = struct.unpack_from("<12f", head, 280)
        elif size == 540:
            dim = struct.unpack_from("<8q", head, 16)
            (datatype,) = struct.unpack_from("<h", head, 12)
            (offset,) = struct.unpack_from("<q", head, 168)
            sform = struct.unpack_from("<12d", head, 400)
        else:
            raise ValueError(f"sizeof_hdr is {size}")
        dtype = {2: "<u1", 512: "<u2"}.get(datatype)
        if dtype is None or dim[0] != 3 or min(dim[1:4]) < 1 or offset < size:
            raise ValueError(f"datatype {datatype}, dim {list(dim)}, vox_offset {offset}")
        shape = (dim[3], dim[2], dim[1])
        needed = offset + math.prod(shape) * np.dtype(dtype).itemsize
        # Deflate expands at most 1032 times: nothing is read for a claim above.
        if needed > 1040 * path.stat().st_size:
            raise ValueError(f"{needed} bytes are claimed")
        content = head + file.read(needed - len(head) + 1)
        if len(content) != needed:
            raise ValueError(f"{len(content)} bytes, where the header says {needed}")
    array: npt.NDArray[Any] = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    return array, np.array(sform, np.float64).reshape(3, 4)


def _sizes(dataset: Dataset) -> Iterator[tuple[str, Finding]]:
    """Bytes of each series' volumes."""
    query = "SELECT seg_series_uid, local_path, volume_bytes FROM series WHERE local_path IS NOT NULL"
    for row in dataset.sql(query).to_pylist():
        folder = _inside(dataset, row["local_path"])
        files = folder.glob("*.nii.gz") if folder else ()
        size = sum(path.stat().st_size for path in files)
        if size != row["volume_bytes"]:
            message = f"The volumes in {row['local_path']} have other bytes than the table says."
            yield (
                row["seg_series_uid"],
                _finding("file-altered", message, size, row["volume_bytes"], "series"),
            )


def _undeclared(dataset: Dataset, claimed: set[str]) -> Iterator[Finding]:
    """Files below volumes/ that belong to no row: neither a volume nor the sidecar of one."""
    stems = {path.rpartition("/")[0] + "/" + PurePosixPath(path).name[:8] for path in claimed}
    for folder, _, names in os.walk(dataset.root / "volumes"):
        relative = PurePosixPath(folder).relative_to(PurePosixPath(dataset.root)).as_posix()
        for name in sorted(names):
            path = f"{relative}/{name}"
            sidecar = name[8:] in ("_dseg.json", "_dseg.tsv", "_probseg.json", "_probseg.tsv")
            if path not in claimed and not (sidecar and f"{relative}/{name[:8]}" in stems):
                yield _finding("undeclared-file", f"No table names {path}.", path)


def _inside(dataset: Dataset, relative: str) -> Path | None:
    parts = PurePosixPath(relative)
    return None if parts.is_absolute() or ".." in parts.parts else dataset.root / parts


def _finding(
    code: str,
    message: str,
    observed: object = None,
    expected: object = None,
    scope: Scope = "dataset",
    number: int | None = None,
) -> Finding:
    return Finding(
        code,
        message,
        scope=scope,
        segment_number=number,
        observed=None if observed is None else str(observed),
        expected=None if expected is None else str(expected),
    )
