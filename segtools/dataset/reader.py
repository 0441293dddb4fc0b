"""Load a dataset: tables by SQL, masks and volumes as arrays.

Only the standard library is imported here; NumPy, Arrow and DuckDB come with the first question.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from segtools.database import hide_progress
from segtools.dataset.pages import MANIFEST, entries, find, gone, is_listing, places
from segtools.errors import DatasetError, MissingError, UsageError
from segtools.files import only_itself
from segtools.objectstore.bucket import Bucket
from segtools.objectstore.urls import is_bucket_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from segtools.nifti.reader import NiftiImage
    from segtools.objectstore.bucket import BucketOptions


@dataclass(frozen=True)
class Volume:
    """The label maps of one instance.

    Attributes
    ----------
    layers : tuple of (k, j, i) ndarray
        One, unless segments share voxels. Values are SegmentNumbers, or label indices where the
        volume was asked for with ``labels="cohort"``; 0 is background.
    affine_ras_mm : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to RAS+.
    segments : pyarrow.Table
        The instance's rows.
    """

    layers: tuple[npt.NDArray[Any], ...]
    affine_ras_mm: npt.NDArray[np.float64]
    segments: pa.Table

    @property
    def array(self) -> npt.NDArray[Any]:
        """(k, j, i) ndarray, if there is one layer.

        Raises
        ------
        UsageError
            ``not-found``: segments share voxels, so one array cannot hold them.
        """
        if len(self.layers) != 1:
            raise UsageError(
                "not-found",
                f"The volume has {len(self.layers)} layers, so there is no single array.",
                hint="Take `layers`, or one `mask` at a time.",
            )
        return self.layers[0]


def open_dataset(path: str | Path, bucket: BucketOptions | None = None) -> Dataset:
    """Open the dataset in folder `path`, or in a bucket.

    Of one in a bucket, tables and volumes are brought to a temporary folder when they are first asked
    for; it vanishes when the dataset is closed.

    Parameters
    ----------
    path : str or Path
        Folder, or URL of a folder in a bucket.
    bucket : BucketOptions, optional
        Endpoint and credentials; default: AWS with those of the environment.

    Raises
    ------
    MissingError
        ``not-found``: no dataset.json there, or the package obstore is not installed.
    DatasetError
        ``dataset-incompatible``: another format version. ``dataset-invalid``: dataset.json is
        unreadable, or a table is not the committed one.
    EnvironmentProblem
        ``access-denied``, ``bucket-missing``, ``network-unavailable``.

    Examples
    --------
    >>> with segtools.open("liver-ct") as dataset:  # doctest: +SKIP
    ...     large = dataset.segments("structure = 'liver' AND volume_ml > 1500")
    """
    if not is_bucket_url(str(path)):
        return Dataset(Path(path))
    origin = Bucket(str(path), bucket)
    folder = tempfile.TemporaryDirectory(prefix="idcseg-")
    try:
        dataset = Dataset(Path(folder.name), origin)
    except BaseException:
        folder.cleanup()
        raise
    dataset.temporary = folder
    return dataset


class Dataset:
    """A committed dataset, read-only. See `open_dataset`.

    Parameters
    ----------
    root : Path
    origin : Bucket, optional
        Where files are that are not in `root` yet.
    manifest : mapping, optional
        Read the state that it describes, one that is not committed yet; default: what is committed.
    """

    def __init__(
        self, root: Path, origin: Bucket | None = None, manifest: Mapping[str, Any] | None = None
    ) -> None:
        self.root = root
        self.origin = origin
        self.temporary: tempfile.TemporaryDirectory[str] | None = None
        self.manifest: dict[str, Any] = (
            dict(manifest) if manifest is not None else _manifest(self._here(MANIFEST), self.name)
        )
        self._verify()

    @property
    def labels(self) -> dict[str, int]:
        """The cohort-wide label of each structure, `label_index`: a number once given is never another's."""
        return dict(self.manifest.get("labels") or {})

    @property
    def name(self) -> str:
        """The folder's path, or the bucket's URL."""
        return self.origin.url if self.origin else str(self.root)

    def __repr__(self) -> str:
        rows = ", ".join(f"{entry['rows']} {name}" for name, entry in self.manifest["tables"].items())
        return f"Dataset({self.name!r}: {rows})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database connection, if one was opened; remove what was brought here."""
        if "connection" in self.__dict__:
            self.__dict__.pop("connection").close()
        if self.temporary is not None:
            self.temporary.cleanup()

    def download(self) -> None:
        """Bring every volume of a dataset in a bucket here; errors as in `open_dataset`."""
        if self.origin is not None:
            keys = [key for key in self.origin.list("volumes/") if not self._inside(key).exists()]
            self.origin.all(self._here, keys)

    # --- tables ---------------------------------------------------------------------------------

    def segments(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the segments table.

        Parameters
        ----------
        where : str, optional
            SQL condition on the columns, ``"structure = 'liver' AND volume_ml > 1500"``.
        columns : sequence of str, optional
            Default: all.

        Raises
        ------
        UsageError
            ``filter-invalid``: no such column, or no valid SQL.
        """
        return self._select("segments", where, columns)

    def series(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the series table; parameters as in `segments`."""
        return self._select("series", where, columns)

    def findings(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the findings table; parameters as in `segments`."""
        return self._select("findings", where, columns)

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> pa.Table:
        """Result of a DuckDB query over the views ``series``, ``segments`` and ``findings``.

        Raises
        ------
        UsageError
            ``filter-invalid``.
        """
        import duckdb

        try:
            try:
                return self.connection.execute(query, parameters or None).to_arrow_table()
            except duckdb.IOException:  # a commit moved pages of this state meanwhile
                self._create_views(self.connection)
                return self.connection.execute(query, parameters or None).to_arrow_table()
        except (duckdb.ProgrammingError, duckdb.DataError, duckdb.NotSupportedError) as error:
            raise UsageError("filter-invalid", f"{error}".splitlines()[0], query=query) from error
        except duckdb.Error as error:
            raise DatasetError("dataset-invalid", f"{self.name}: {error}", path=self.name) from error

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with one view per table."""
        import duckdb

        connection = duckdb.connect()
        hide_progress(connection)
        self._create_views(connection)
        return connection

    def _create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        for name in self.manifest["tables"]:
            pages = [only_itself(path) for path in self.table_paths(name)]
            connection.read_parquet(pages).create_view(name, replace=True)

    def table_paths(self, name: str) -> list[Path]:
        """The Parquet files of a table, in its order; brought here if they have to be.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: one is gone, or of another size.
        """
        listed = entries(self.manifest, name)
        paths = [self.page(entry["path"]) for entry in listed]
        for entry, path in zip(listed, paths, strict=True):
            self._require_size(entry, path.stat().st_size)
        return paths

    def page(self, relative: str) -> Path:
        """A page of this state or of an earlier one, wherever commits have moved it.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: it is gone.
        """
        path = find(self.root, relative)
        if path is None and self.origin is not None:
            brought = (self._brought(key, relative) for key in places(relative))
            path = next((there for there in brought if there), None)
        if path is None:
            raise gone(self.name, relative)
        return path

    def _select(self, table: str, where: str | None, columns: Sequence[str] | None) -> pa.Table:
        chosen = ", ".join('"{}"'.format(name.replace('"', '""')) for name in columns) if columns else "*"
        # On lines of its own, so that a comment in the condition ends with it.
        condition = f"WHERE (\n{where}\n)" if where else ""
        return self._typed(self.sql(f"SELECT {chosen} FROM {table}\n{condition}"))

    def _typed(self, table: pa.Table) -> pa.Table:
        """The declared types, units and descriptions, which DuckDB drops."""
        import pyarrow as pa

        from segtools.schema import DATASET_TABLES

        declared = {column.name: column.field for known in DATASET_TABLES for column in known.columns}
        return table.cast(
            pa.schema([declared.get(field.name, field).with_nullable(True) for field in table.schema])
        )

    # --- arrays ---------------------------------------------------------------------------------

    def mask(self, segment: str | Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """(k, j, i) bool mask of one segment; of a FRACTIONAL one, where its fraction is not 0.

        Parameters
        ----------
        segment : str or mapping
            `segment_id`, or a row of the segments table.

        Raises
        ------
        MissingError
            ``not-found``: no such segment, or it has no volume (failed, or not asked for).
        DatasetError
            ``dataset-invalid``: its file is missing or broken.
        """
        row = self._segment(segment)
        alone = row["fraction_path"] or row["mask_path"]
        if not (alone or row["volume_path"]):
            raise _no_volume(row["segment_id"])
        array = self._image(alone or row["volume_path"]).array
        mask: npt.NDArray[np.bool_] = array != 0 if alone else array == row["segment_number"]
        return mask

    def fraction(self, segment: str | Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """(k, j, i) float32 fraction of one segment, 0 to 1: exact quotients, never above 1.

        Parameters and errors as in `mask`; a segment that is no fraction is 0 and 1.
        """
        import numpy as np

        row = self._segment(segment)
        if not row["fraction_path"]:
            return self.mask(row).astype(np.float32)
        stored = self._image(row["fraction_path"]).array
        fraction: npt.NDArray[np.float32] = np.divide(stored, row["max_fractional_value"], dtype=np.float32)
        return fraction

    def volume(
        self, instance: str | Mapping[str, Any], labels: Literal["segment", "cohort"] = "segment"
    ) -> Volume:
        """The label maps of one instance.

        Parameters
        ----------
        instance : str or mapping
            SOPInstanceUID, SeriesInstanceUID (of a series with one instance), or a row with one.
        labels : {"segment", "cohort"}
            Voxel values: SegmentNumbers as in the file, or the dataset's `label_index`, where
            segments without one become background.

        Raises
        ------
        MissingError
            ``not-found``: nothing of that UID has a label map, or several instances have.
        DatasetError
            ``dataset-invalid``: a file is missing or broken.
        """
        import numpy as np

        rows = self._instance_rows(instance)
        uid = (
            instance
            if isinstance(instance, str)
            else instance.get("seg_sop_uid") or instance["seg_series_uid"]
        )
        if len(rows["seg_sop_uid"].unique()) > 1:
            raise MissingError(
                "not-found", f"Series {uid} has several instances: name one by its seg_sop_uid."
            )
        paths = dict(sorted(zip(rows["layer"].to_pylist(), rows["volume_path"].to_pylist(), strict=True)))
        if not paths or None in paths.values():
            raise _no_volume(uid)
        images = [self._image(path) for path in paths.values()]
        layers = tuple(image.array for image in images)
        if labels == "cohort":
            table = np.zeros(1 + max(int(layer.max(initial=0)) for layer in layers), np.int32)
            for row in rows.select(["segment_number", "label_index"]).to_pylist():
                if row["segment_number"] < len(table):
                    table[row["segment_number"]] = row["label_index"] or 0
            layers = tuple(table[layer] for layer in layers)
        affine = np.array(rows["affine_ras_mm"][0].as_py(), np.float64).reshape(4, 4)
        return Volume(layers, affine, rows)

    def _instance_rows(self, instance: str | Mapping[str, Any]) -> pa.Table:
        """Segments of an instance or a series; by equality alone, which can skip row groups."""
        if isinstance(instance, str):
            found = self._matching(seg_series_uid=instance)
            return found if found.num_rows else self._matching(seg_sop_uid=instance)
        # A row says more than its UID, and the table is in the order of the first of these.
        names = ("collection_id", "patient_id", "seg_series_uid", "seg_sop_uid")
        return self._matching(**{name: instance[name] for name in names if instance.get(name)})

    def _matching(self, **values: str) -> pa.Table:
        condition = " AND ".join(f"{name} = ${name}" for name in values)
        return self._typed(
            self.sql(f"SELECT * FROM segments WHERE {condition} ORDER BY segment_number", values)
        )

    def _segment(self, segment: str | Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(segment, str):
            return segment
        rows = self.sql("SELECT * FROM segments WHERE segment_id = $id", {"id": segment}).to_pylist()
        if not rows:
            raise MissingError("not-found", f"The dataset has no segment {segment!r}.", value=segment)
        row: dict[str, Any] = rows[0]
        return row

    def _image(self, relative: str) -> NiftiImage:
        from segtools.nifti.reader import read

        try:
            return read(self._here(relative))
        except FileNotFoundError as error:
            raise DatasetError("dataset-invalid", f"{relative} is missing.", path=relative) from error

    def _inside(self, relative: str) -> Path:
        """A path below the dataset; tables come from strangers too."""
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise DatasetError(
                "dataset-invalid", f"Path {relative!r} leads out of the dataset.", path=relative
            )
        return self.root / parts

    def _here(self, relative: str) -> Path:
        """A file of the dataset, brought here if it has to be."""
        path = self._inside(relative)
        if self.origin is not None and not path.exists():
            self._brought(relative, relative)
        return path  # whoever opens it says so, where it does not exist

    def _brought(self, key: str, relative: str) -> Path | None:
        """The object `key` as the file `relative`; None if there is none."""
        path = self._inside(relative)
        try:
            self.origin.get(key, path)  # type: ignore[union-attr]
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
        if path := find(self.root, entry["path"]):
            size = path.stat().st_size
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


def _manifest(path: Path, name: str) -> dict[str, Any]:
    from segtools.schema import FORMAT_VERSION

    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError("not-found", f"{name} holds no {MANIFEST}.", path=name) from error
    except ValueError as error:
        raise DatasetError("dataset-invalid", f"{path} is no JSON: {error}.", path=str(path)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format_version"), int):
        raise DatasetError("dataset-invalid", f"{path} is no dataset description.", path=str(path))
    if manifest["format_version"] != FORMAT_VERSION:
        raise DatasetError(
            "dataset-incompatible",
            f"{path} has format version {manifest['format_version']}, this reader knows {FORMAT_VERSION}.",
            path=str(path),
        )
    if not is_listing(manifest.get("tables")):
        raise DatasetError("dataset-invalid", f"{path} lists no tables.", path=str(path))
    return manifest


def _no_volume(name: str) -> MissingError:
    return MissingError(
        "not-found",
        f"{name} has no volume in this dataset.",
        hint="See its status and error_code; `volumes: none` cohorts have none.",
        value=name,
    )
