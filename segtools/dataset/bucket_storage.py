"""A dataset in a bucket, with the promise that one in a folder gives.

A run works on a copy of all but the volumes: small, and what a commit needs. What goes where, and when:

- a batch's volumes go to the bucket before its part does, and of the part the series table last; a
  volume whose name exists with other bytes waits below ``tables/.staging/volumes``;
- a commit is made in the copy, then published: tables and documents, waiting volumes to their places,
  ``dataset.json``, and only then is removed what no table names and what was staged.

So whoever is killed at any request leaves what the next run completes, to the same bytes; readers of
the last commit are told (`dataset-invalid`) while tables and ``dataset.json`` differ.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from segtools.dataset.bucket_lock import bucket_holder, bucket_locked
from segtools.dataset.layout import Layout
from segtools.dataset.prune import named
from segtools.dataset.reader import Dataset
from segtools.dataset.transaction import refuse_foreign
from segtools.errors import MissingError
from segtools.files import TEMPORARY_PREFIX
from segtools.objectstore.bucket import Bucket
from segtools.schema import FINDINGS, SEGMENTS, SERIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from segtools.dataset.storage import Scratch
    from segtools.objectstore.bucket import BucketOptions, Listed

_DOCUMENTS = ("cohort.yaml", "README.md", "CITATIONS.bib", "LICENSES.tsv")


class BucketHome:
    """A dataset in a bucket; see `segtools.dataset.storage.Home` for its methods.

    Parameters
    ----------
    url : str
        Of the bucket, or of a folder in it.
    options : BucketOptions, optional

    Raises
    ------
    UsageError
        ``unsafe-url``.
    """

    # `_known`: what a listing said of files that were brought; `_same`: files that are there as they
    # are here. Both hold for who has the lock, and end with the process.

    def __init__(self, url: str, options: BucketOptions | None = None) -> None:
        self.bucket = Bucket(url, options)
        self._known: dict[str, Listed] = {}
        self._same: dict[str, tuple[int, int]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bucket.url, self.bucket.options)

    @property
    def name(self) -> str:
        """The bucket's URL."""
        return self.bucket.url

    @contextlib.contextmanager
    def opened(self, scratch: Scratch) -> Iterator[Layout]:
        """See `Home`."""
        refuse_foreign(self.name, self.bucket.names())
        with scratch() as folder:
            yield Layout(folder / "dataset")

    def locked(self, layout: Layout) -> AbstractContextManager[None]:
        """See `Home`."""
        return bucket_locked(self.bucket)

    def holder(self) -> dict[str, Any] | None:
        """See `Home`."""
        return bucket_holder(self.bucket)

    def bring(self, layout: Layout, *paths: Path) -> None:
        """See `Home`."""
        everything = (layout.manifest, *map(layout.root.joinpath, (*_DOCUMENTS, "tables", "runs", "report")))
        wanted: dict[str, Listed | None] = {}
        for path in paths or everything:
            key = layout.relative(path)
            wanted |= {key: None} if path.suffix else self.bucket.list(f"{key}/")

        def bring_one(key: str) -> None:
            path = layout.absolute(key)
            listed = wanted[key]
            if listed is not None and self._known.get(key) == listed and path.exists():
                return
            with contextlib.suppress(MissingError):  # gone since it was listed, or never there
                self.bucket.get(key, path)
                self._same[key] = _stamp(path)
                if listed is not None:
                    self._known[key] = listed

        waiting = f"{layout.relative(layout.pending())}/"
        self.bucket.all(bring_one, (key for key in wanted if _is_ours(key) and not key.startswith(waiting)))

    def send(self, layout: Layout, *paths: Path) -> None:
        """See `Home`."""
        for path in paths:
            self.bucket.put(layout.relative(path), path)

    def log(self, layout: Layout, name: str, lines: bytes) -> None:
        """See `Home`."""
        if lines:
            self.bucket.put(layout.relative(layout.ledger / f"{name}.jsonl"), lines)

    @contextlib.contextmanager
    def outbox(self, scratch: Scratch) -> Iterator[Layout]:
        """See `Home`."""
        with scratch() as folder:
            layout = Layout(folder)
            yield layout
            self._deliver(layout)

    def publish(self, layout: Layout, parts: Sequence[str]) -> None:
        """See `Home`."""
        committed = layout.manifest.read_bytes()
        before = self.bucket.get_bytes(layout.relative(layout.manifest))
        staging = f"{layout.relative(layout.staging)}/"
        listed = self.bucket.list("tables/")
        staged = {key for key in listed if key.startswith(staging)}
        if committed != before or parts:
            tables = [path for path in layout.columns.parent.iterdir() if path.is_file()]
            documents = [layout.root / name for name in _DOCUMENTS]
            self._update(layout, [*tables, *documents], listed)
            has_moved = bool(parts) or _rows(before) != _rows(committed)
            names = named(layout) if has_moved else set()
            waiting = {key: key.removeprefix(staging) for key in staged}
            self.bucket.all(
                lambda key: self.bucket.copy(key, waiting[key]),
                (key for key in staged if waiting[key] in names),
            )
            self.bucket.put(layout.relative(layout.manifest), committed)
            if has_moved:
                self.bucket.delete(self.bucket.list(f"{layout.relative(layout.volumes)}/").keys() - names)
        self._clear(layout, staged, parts)

    def finish(self, layout: Layout) -> None:
        """See `Home`."""
        for folder in (layout.ledger.parent, layout.report.parent):
            listed = self.bucket.list(f"{layout.relative(folder)}/")
            paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
            self._update(layout, paths, listed)
            self.bucket.delete(listed.keys() - {layout.relative(path) for path in paths})

    def dataset(self, layout: Layout) -> Dataset:
        """See `Home`; volumes are brought when they are asked for."""
        return Dataset(layout.root, self.bucket)

    # --- parts ------------------------------------------------------------------------------------

    def _update(self, layout: Layout, paths: Iterable[Path], listed: dict[str, Listed]) -> None:
        """Put the files that differ from what is there."""

        def put(path: Path) -> None:
            key = layout.relative(path)
            if self._same.get(key) != _stamp(path) and not self.bucket.matches(listed.get(key), path):
                self.bucket.put(key, path)
            self._same[key] = _stamp(path)

        self.bucket.all(put, (path for path in paths if not path.name.startswith(TEMPORARY_PREFIX)))

    def _deliver(self, layout: Layout) -> None:
        """Volumes first, then the parts: a part's rows name its volumes, its series table the part."""
        parts = layout.parts()
        # Of an attempt that was given up: without its series table it is no part.
        self.bucket.delete(layout.relative(layout.part(part, SERIES.name)) for part in parts)
        self.bucket.all(lambda folder: self._deliver_folder(layout, folder), layout.volumes.glob("*/*/*"))
        for table in (SEGMENTS, FINDINGS, SERIES):
            self.send(layout, *(layout.part(part, table.name) for part in parts))

    def _deliver_folder(self, layout: Layout, folder: Path) -> None:
        listed = self.bucket.list(f"{layout.relative(folder)}/")
        for path in sorted(folder.iterdir()):
            key = layout.relative(path)
            waiting = layout.relative(layout.pending(key))
            if key not in listed:
                self.bucket.put(key, path)
            elif self.bucket.matches(listed[key], path):
                self.bucket.delete([waiting])
            else:
                self.bucket.put(waiting, path)

    def _clear(self, layout: Layout, staged: set[str], parts: Sequence[str]) -> None:
        """Remove committed parts, and what is of no part; a part that was staged meanwhile stays."""
        complete = {layout.relative(layout.part(part, SERIES.name)) for part in parts} & staged
        suffix = f".{SERIES.name}.parquet"
        newer = {key.removesuffix(suffix) for key in staged - complete if key.endswith(suffix)}
        self.bucket.delete(complete)  # without it there is no part
        self.bucket.delete(
            key for key in staged - complete if key.removesuffix(".parquet").rpartition(".")[0] not in newer
        )


def _rows(manifest: bytes | None) -> Any:
    """What a commit says of the tables that name volumes."""
    tables = json.loads(manifest)["tables"] if manifest else {}
    return [tables.get(table.name) for table in (SERIES, SEGMENTS)]


def _stamp(path: Path) -> tuple[int, int]:
    """What differs once a file was replaced."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_ours(key: str) -> bool:
    """Whether a key of the bucket is a path below a dataset; keys may say anything."""
    return not {"", ".", ".."} & set(key.split("/"))
