"""A dataset in a bucket, with the promise that one in a folder gives.

A run works on a copy of all but the volumes: small, and what a merge needs. A batch's volumes go to the
bucket before its part does, and of the part the series table last. The commit is the same as in a folder
(`segtools.dataset.transaction.publish`): pages, then ``dataset.json``, then what nobody needs is removed.
So whoever is killed at any request leaves what the next run completes, to the same bytes.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING, Any

from segtools.dataset.bucket_lock import bucket_holder, bucket_locked
from segtools.dataset.home import Home
from segtools.dataset.layout import Layout
from segtools.dataset.pages import STAGED_PAGES, find, places
from segtools.dataset.place import Stored
from segtools.dataset.reader import Dataset
from segtools.dataset.stage import Stage
from segtools.dataset.transaction import refuse_foreign
from segtools.errors import MissingError
from segtools.files import TEMPORARY_PREFIX, sha256_of, write_bytes, write_error
from segtools.objectstore.bucket import Bucket
from segtools.schema import DATASET_TABLES, SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from segtools.dataset.home import Scratch
    from segtools.dataset.place import Place
    from segtools.objectstore.bucket import BucketOptions, Listed


class BucketHome(Home):
    """A dataset in a bucket.

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

    def __init__(self, url: str, options: BucketOptions | None = None) -> None:
        self.bucket = Bucket(url, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bucket.url, self.bucket.options)

    @property
    def name(self) -> str:
        """The bucket's URL."""
        return self.bucket.url

    def holder(self) -> dict[str, Any] | None:
        """See `Home`."""
        return bucket_holder(self.bucket)

    @contextlib.contextmanager
    def stage(self, scratch: Scratch) -> Iterator[Stage]:
        """See `Home`: what is staged is delivered when the block ends well."""
        with scratch() as folder:
            stage = Stage(Layout(folder))
            yield stage
            _deliver(self.bucket, stage)

    @contextlib.contextmanager
    def _place(self, scratch: Scratch) -> Iterator[Place]:
        refuse_foreign(self.name, self.bucket.names())
        with scratch() as folder:
            yield BucketPlace(self.bucket, Layout(folder / "dataset"))

    def _locked(self, layout: Layout) -> AbstractContextManager[None]:
        return bucket_locked(self.bucket)


class BucketPlace:
    """See `segtools.dataset.place.Place`: what is put here is put there too.

    Parameters
    ----------
    bucket : Bucket
    layout : Layout
        Of the working copy.
    """

    # `_known`: what a listing said of files that were brought; `_same`: files that are there as they
    # are here.

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self.bucket, self.layout = bucket, layout
        self._known: dict[str, Listed] = {}
        self._same: dict[str, tuple[int, int]] = {}

    def get(self, relative: str) -> bytes | None:
        """See `Place`."""
        return self.bucket.get_bytes(relative)

    def changed_s(self, relative: str) -> float:
        """See `Place`."""
        found = self.bucket.stat(relative)
        return found.changed_s if found else 0.0

    def digest(self, relative: str) -> str:
        """See `Place`."""
        passing = self.layout.staging / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            self.bucket.get(relative, passing)
            return sha256_of(passing)
        except MissingError:
            return ""
        finally:
            passing.unlink(missing_ok=True)

    def bring(self, relative: str) -> Path | None:
        """See `Place`."""
        for key in places(relative):
            if found := find(self.layout.root, relative):
                return found
            with contextlib.suppress(MissingError):
                self.bucket.get(key, self.layout.absolute(key))
        return find(self.layout.root, relative)

    def put(self, relative: str, content: Path | bytes) -> None:
        """See `Place`."""
        self.bucket.put(relative, content)
        path = self.layout.absolute(relative)
        if isinstance(content, bytes):
            write_bytes(path, content)
        elif content != path:
            _rename(content, path)
        self._same[relative] = _stamp(path)

    def append(self, relative: str, lines: bytes) -> None:
        """See `Place`."""
        if lines:
            self.bucket.put(relative, lines)

    def move(self, relative: str, target: str) -> None:
        """See `Place`."""
        self.bucket.copy(relative, target)
        self.bucket.delete([relative])
        path = self.layout.absolute(relative)
        if path.exists():
            _rename(path, self.layout.absolute(target))

    def delete(self, relatives: Iterable[str]) -> None:
        """See `Place`."""
        keys = list(relatives)
        self.bucket.delete(keys)
        for key in keys:
            with contextlib.suppress(OSError):
                self.layout.absolute(key).unlink(missing_ok=True)

    def list(self, prefix: str) -> dict[str, Stored]:
        """See `Place`."""
        return {
            key: Stored(item.size_bytes, item.changed_s)
            for key, item in self.bucket.list(prefix).items()
            if _is_ours(key)
        }

    def all(self, function: Callable[[str], object], relatives: Iterable[str]) -> None:
        """See `Place`."""
        self.bucket.all(function, relatives)

    def refresh(self, *paths: Path) -> None:
        """See `Place`."""
        everything = [self.layout.root / name for name in ("tables", "runs", "report")]
        wanted: dict[str, Listed] = {}
        for path in paths or everything:
            wanted |= self.bucket.list(f"{self.layout.relative(path)}/")

        def bring(key: str) -> None:
            path = self.layout.absolute(key)
            if self._known.get(key) == wanted[key] and path.exists():
                return
            with contextlib.suppress(MissingError):  # gone since it was listed
                self.bucket.get(key, path)
                self._same[key] = _stamp(path)
                self._known[key] = wanted[key]

        left_out = (f"{STAGED_PAGES}/",)
        self.bucket.all(bring, [key for key in wanted if _is_ours(key) and not key.startswith(left_out)])

    def mirror(self, *folders: Path) -> None:
        """See `Place`."""
        for folder in folders:
            listed = self.bucket.list(f"{self.layout.relative(folder)}/")
            paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
            self._update(paths, listed)
            self.bucket.delete(listed.keys() - {self.layout.relative(path) for path in paths})

    def dataset(self, manifest: Mapping[str, Any] | None = None) -> Dataset:
        """See `Place`; volumes are brought when they are asked for."""
        if manifest is None:
            self.layout.manifest.unlink(missing_ok=True)  # so that it is brought as it is now
        return Dataset(self.layout.root, self.bucket, manifest)

    def _update(self, paths: Iterable[Path], listed: dict[str, Listed]) -> None:
        """Put the files that differ from what is there."""

        def put(path: Path) -> None:
            key = self.layout.relative(path)
            if self._same.get(key) != _stamp(path) and not self.bucket.matches(listed.get(key), path):
                self.bucket.put(key, path)
            self._same[key] = _stamp(path)

        self.bucket.all(put, [path for path in paths if not path.name.startswith(TEMPORARY_PREFIX)])


def _deliver(bucket: Bucket, stage: Stage) -> None:
    """Files first, then the parts: a part's rows name its files, its series table the part."""
    layout = stage.layout
    parts = layout.parts()
    # Of an attempt that was given up: without its series table it is no part.
    bucket.delete(layout.relative(layout.part(part, SERIES.name)) for part in parts)
    folders = {file.path.rpartition("/")[0] for file in stage.files}
    there: dict[str, Listed] = {}
    for folder in sorted(folders):
        there |= bucket.list(f"{folder}/")

    def put(key: str) -> None:
        path = layout.absolute(key)
        if not bucket.matches(there.get(key), path):
            bucket.put(key, path)

    bucket.all(put, sorted({file.path for file in stage.files}))
    for table in sorted(DATASET_TABLES, key=lambda table: table is SERIES):
        for part in parts:
            path = layout.part(part, table.name)
            bucket.put(layout.relative(path), path)


def _rename(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)  # noqa: PTH105 - the atomic call, by its name
    except OSError as error:
        raise write_error(error, target) from error


def _stamp(path: Path) -> tuple[int, int]:
    """What differs once a file was replaced."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_ours(key: str) -> bool:
    """Whether a key of the bucket is a path below a dataset; keys may say anything."""
    return not {"", ".", ".."} & set(key.split("/"))
