"""The files of a committed dataset, in a folder or brought from a bucket when they are needed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from segtools.dataset.manifest import MANIFEST, read_manifest
from segtools.errors import DatasetError, MissingError

if TYPE_CHECKING:
    from segtools.objectstore.bucket import Bucket


class CommittedFiles:
    """Files by their path relative to the dataset.

    Parameters
    ----------
    root : Path
    origin : Bucket, optional
        Where files are that are not in `root` yet.
    manifest : dict, optional
        State to show; default: what dataset.json says now.

    Raises
    ------
    MissingError, DatasetError
        See `segtools.dataset.manifest.read_manifest`. ``dataset-invalid``: a table is not the committed one.
    """

    def __init__(self, root: Path, origin: Bucket | None, manifest: dict[str, Any] | None) -> None:
        self.root, self.origin = root, origin
        self.manifest: dict[str, Any] = manifest or read_manifest(self.here(MANIFEST), self.name)
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
            try:
                self.origin.get(relative, path)  # all or nothing, so two threads may do it at once
            except MissingError:
                return path
        return path

    def table_path(self, name: str) -> Path:
        """Path of a committed Parquet table."""
        entry = self.manifest["tables"][name]
        path = self.here(entry["path"])
        if self.origin is not None and path.exists() and path.stat().st_size != entry["bytes"]:
            raise DatasetError(
                "dataset-invalid",
                f"{entry['path']} was replaced while the dataset was open.",
                hint="Open it again.",
                path=f"{self.name}/{entry['path']}",
            )
        return path

    def _inside(self, relative: str) -> Path:
        """A path below the dataset; tables come from strangers too."""
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise DatasetError(
                "dataset-invalid", f"Path {relative!r} leads out of the dataset.", path=relative
            )
        return self.root / parts

    def _verify(self) -> None:
        """Tables have the committed size: sees an interrupted commit without reading them."""
        there = self.origin.list("tables/") if self.origin else {}
        for entry in self.manifest["tables"].values():
            path = self._inside(entry["path"])
            size = path.stat().st_size if path.is_file() else None
            if size is None and (listed := there.get(entry["path"])):
                size = listed.size_bytes
            if size != entry["bytes"]:
                raise DatasetError(
                    "dataset-invalid",
                    f"{entry['path']} has {size} bytes, {MANIFEST} says {entry['bytes']}: "
                    "a commit was cut short.",
                    path=f"{self.name}/{entry['path']}",
                )
