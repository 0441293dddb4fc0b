"""What a commit leaves behind it: the files its tables name, and no others."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.dataset.layout import sidecar_name
from segtools.schema import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from segtools.dataset.layout import Layout

_BATCH = 100_000


def tidy(layout: Layout, touched: Mapping[str, str], folders: Container[str]) -> None:
    """Remove what the committed tables do not name; what cannot be removed stays for the next commit.

    Parameters
    ----------
    layout : Layout
    touched : mapping of str to str
        Folder by series, of those whose files this commit may have changed.
    folders : container of str
        Folders of all series that are there, retired ones not; others are a killed run's.
    """
    left = dict(touched)
    for uid, names in stored(layout, touched):
        path = layout.absolute(left.pop(uid))
        for file in path.iterdir() if path.is_dir() else ():
            if file.name not in names:
                with contextlib.suppress(OSError):
                    file.unlink()
    for folder in left.values():
        shutil.rmtree(layout.absolute(folder), ignore_errors=True)
    for patient in layout.volumes.glob("*/*"):
        for entry in list(os.scandir(patient)) if patient.is_dir() else ():
            path = patient / entry.name
            if layout.relative(path) not in folders:
                shutil.rmtree(path, ignore_errors=True)


def stored(layout: Layout, series: Container[str]) -> Iterator[tuple[str, set[str]]]:
    """Each of the `series` that has files, and their names, from the committed segments table."""
    names: dict[str, set[str]] = {}
    for rows in _files(layout):
        last = ""
        for uid, paths in rows:
            last = uid
            if uid in series:
                names.setdefault(uid, set()).update(path.rpartition("/")[2] for path in paths)
        rest = {last: names.pop(last)} if last in names else {}  # whose rows may go on in the next batch
        yield from names.items()
        names = rest
    yield from names.items()


def named(layout: Layout) -> set[str]:
    """Relative paths of all files that the committed segments table names, and their sidecars."""
    return {path for rows in _files(layout) for _, paths in rows for path in paths}


def _files(layout: Layout) -> Iterator[list[tuple[str, set[str]]]]:
    """Series and relative paths, a batch of rows of the segments table at a time, in its order."""
    columns = ["volume_path", "mask_path", "fraction_path"]
    with pq.ParquetFile(layout.table(SEGMENTS.name)) as file:
        for batch in file.iter_batches(_BATCH, columns=["seg_series_uid", "seg_sop_uid", *columns]):
            # Segments name the same few files, so the groups are few; they keep the rows' order.
            groups = pa.Table.from_batches([batch]).group_by(batch.schema.names).aggregate([])
            found = []
            for row in groups.to_pylist():
                paths = {path for column in columns if (path := row[column])}
                if paths:
                    folder = next(iter(paths)).rpartition("/")[0]
                    paths |= {layout.within(folder, name) for name in _sidecars(row["seg_sop_uid"])}
                found.append((row["seg_series_uid"], paths))
            yield found


def _sidecars(sop_instance_uid: str) -> set[str]:
    kinds = ("dseg", "probseg")
    return {sidecar_name(sop_instance_uid, kind, end) for kind in kinds for end in ("json", "tsv")}
