"""The files of a committed dataset, in a folder or brought from a bucket when they are needed."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from segtools.dataset.manifest import committed_manifest
from segtools.dataset.pages import (
    MANIFEST,
    entries,
    find,
    gone,
    places,
)
from segtools.errors import DatasetError, MissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.objectstore.bucket import Bucket

_LOOKS = 3


class CommittedFiles:
    """Files by their path relative to the dataset.

    Parameters
    ----------
    root : Path
    origin : Bucket, optional
        Where files are that are not in `root` yet.
    manifest : mapping, optional
        State to show, which need not be committed yet; default: what dataset.json says now.

    Raises
    ------
    MissingError, DatasetError
        See `segtools.dataset.manifest.committed_manifest`. ``dataset-invalid``: a page is gone or cut.
    """

    def __init__(self, root: Path, origin: Bucket | None, manifest: Mapping[str, Any] | None) -> None:
        self.root, self.origin = root, origin
        self._merged_first = manifest is not None
        self.manifest: dict[str, Any] = (
            dict(manifest) if manifest is not None else committed_manifest(self.here(MANIFEST), self.name)
        )
        self._verify()

    @property
    def name(self) -> str:
        """The folder's path, or the bucket's URL."""
        return self.origin.url if self.origin else str(self.root)

    def download(self) -> None:
        """Bring every volume of a dataset in a bucket here."""
        if self.origin is not None:
            keys = [key for key in self.origin.list("volumes/") if not self._inside(key).exists()]
            self.origin.all(self.here, keys)

    def here(self, relative: str) -> Path:
        """A file of the dataset, brought here if it has to be; whoever opens it says that it is missing."""
        path = self._inside(relative)
        if self.origin is not None and not path.exists():
            self._brought(relative, relative)
        return path

    def table_paths(self, name: str) -> list[Path]:
        """The Parquet files of a table, in its order; brought here if they have to be.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: one is gone, or of another size.
        """
        paths = []
        for entry in entries(self.manifest, name):
            path, size = self._sized(entry["path"])
            self._require_size(entry, size)
            paths.append(path)
        return paths

    def page(self, relative: str) -> Path:
        """A page of this state or of an earlier one, wherever commits have moved it.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: it is gone.
        """
        path = find(self.root, relative, merged_first=self._merged_first)
        if path is None and self.origin is not None:
            brought = (self._brought(key, relative) for key in places(relative))
            path = next((there for there in brought if there), None)
        if path is None:
            raise gone(self.name, relative)
        return path

    def _sized(self, relative: str) -> tuple[Path, int]:
        """A page and its bytes; looked for again where a commit moved it between the two looks."""
        for _ in range(_LOOKS):
            path = self.page(relative)
            with contextlib.suppress(FileNotFoundError):
                return path, path.stat().st_size
        raise gone(self.name, relative)

    def _inside(self, relative: str) -> Path:
        """A path below the dataset; tables come from strangers too."""
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise DatasetError(
                "dataset-invalid", f"Path {relative!r} leads out of the dataset.", path=relative
            )
        return self.root / parts

    def _brought(self, key: str, relative: str) -> Path | None:
        """The object `key` as the file `relative`; None if there is none."""
        path = self._inside(relative)
        try:
            self.origin.get(key, path)  # type: ignore[union-attr] # all or nothing: threads may do it at once
        except MissingError:
            return None
        return path

    def _verify(self) -> None:
        """All pages are there with their sizes: sees lost and cut ones without reading them."""
        there: dict[str, int] = {}
        for name in self.manifest["tables"]:
            for entry in entries(self.manifest, name):
                self._verify_page(entry, there)

    def _verify_page(self, entry: Mapping[str, Any], there: dict[str, int]) -> None:
        """Compare one page; `there` is the listing of a bucket, made anew where a commit outran it."""
        size = None
        if find(self.root, entry["path"], merged_first=self._merged_first):
            size = self._sized(entry["path"])[1]
        elif self.origin is not None:
            for _ in range(2):
                size = next((there[key] for key in places(entry["path"]) if key in there), None)
                if size is not None:
                    break
                there |= {key: item.size_bytes for key, item in self.origin.list("tables/").items()}
        if size is None:
            raise gone(self.name, entry["path"])
        self._require_size(entry, size)

    def _require_size(self, entry: Mapping[str, Any], size: int) -> None:
        if size != entry["bytes"]:
            raise DatasetError(
                "dataset-invalid",
                f"{entry['path']} has {size} bytes, {MANIFEST} says {entry['bytes']}.",
                path=f"{self.name}/{entry['path']}",
            )
