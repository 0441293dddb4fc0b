"""Load a dataset: tables by SQL, masks and volumes as arrays.

Only the standard library is imported here; NumPy, Arrow and DuckDB come with the first question.
A `Dataset` may be shared by threads, pickled and forked: see its docstring.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segtools.dataset.arrays import Image, Volume
from segtools.dataset.committed_files import CommittedFiles
from segtools.dataset.image_cache import ImageCache
from segtools.dataset.lookup import Lookup, typed
from segtools.dataset.queries import Queries
from segtools.dataset.rows import Row, integer, text
from segtools.errors import DatasetError, MissingError, UsageError
from segtools.objectstore.bucket import Bucket
from segtools.objectstore.urls import is_bucket_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from segtools.nifti.reader import NiftiImage
    from segtools.objectstore.bucket import BucketOptions

CACHE_BYTES = 256 << 20
"""Label maps kept in memory for the next `mask`: one of 512 x 512 x 1024 voxels of one byte."""


def open_dataset(
    path: str | Path, bucket: BucketOptions | None = None, *, cache_bytes: int = CACHE_BYTES
) -> Dataset:
    """Open the dataset in folder `path`, or in a bucket.

    Of one in a bucket, tables and volumes are brought to a temporary folder when they are first asked
    for; it vanishes when the dataset is closed.

    Parameters
    ----------
    path : str or Path
        Folder, or URL of a folder in a bucket.
    bucket : BucketOptions, optional
        Endpoint and credentials; default: AWS with those of the environment.
    cache_bytes : int
        Label maps kept in memory, so that the next segment of one costs no second reading.

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
    if not isinstance(path, str | Path):
        raise UsageError("argument-invalid", f"A folder or the URL of a bucket is needed, not {path!r}.")
    if not is_bucket_url(str(path)):
        return Dataset(Path(path), cache_bytes=cache_bytes)
    return _from_bucket(Bucket(str(path), bucket), None, cache_bytes)


class Dataset:
    """A committed dataset, read-only. See `open_dataset`.

    Threads may share one: each call has a database cursor of its own. It pickles by its path and the
    state that it shows, so workers of a `multiprocessing` pool or a PyTorch ``DataLoader`` can take it
    along, spawned or forked; each has its own cache.

    Parameters
    ----------
    root : Path
    origin : Bucket, optional
        Where files are that are not in `root` yet.
    manifest : mapping, optional
        State to show, which need not be committed yet; default: what dataset.json says now.
    cache_bytes : int
        See `open_dataset`.
    """

    def __init__(
        self,
        root: Path,
        origin: Bucket | None = None,
        manifest: Mapping[str, Any] | None = None,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._files = CommittedFiles(root, origin, manifest)
        self._queries = Queries(self.name, list(self.manifest["tables"]), self.table_paths)
        self._lookup = Lookup(self.name, self._queries)
        self._images = ImageCache(cache_bytes)
        self._cleanup: weakref.finalize[..., Dataset] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._files.origin is not None:
            return _from_bucket, (self._files.origin, self.manifest, self._images.max_bytes)
        return _from_folder, (self.root.absolute(), self.manifest, self._images.max_bytes)

    @property
    def root(self) -> Path:
        """The folder; of a dataset in a bucket, the temporary one."""
        return self._files.root

    @property
    def origin(self) -> Bucket | None:
        """The bucket that files are brought from; None of a dataset in a folder."""
        return self._files.origin

    @property
    def name(self) -> str:
        """The folder's path, or the bucket's URL."""
        return self._files.name

    @property
    def manifest(self) -> dict[str, Any]:
        """dataset.json, as it was when the dataset was opened."""
        return self._files.manifest

    @property
    def labels(self) -> dict[str, int]:
        """The cohort-wide label of each structure, `label_index`: a number once given is never another's."""
        return dict(self.manifest.get("labels") or {})

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
        """Close the database, if one was opened; remove what was brought here."""
        self._queries.close()
        self._images.clear()
        if self._cleanup is not None:
            self._cleanup()

    def download(self) -> None:
        """Bring every volume of a dataset in a bucket here; errors as in `open_dataset`."""
        self._files.download()

    # --- tables ---------------------------------------------------------------------------------

    def segments(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the segments table.

        Parameters
        ----------
        where : str, optional
            SQL condition on the columns, ``"structure = 'liver' AND volume_ml > 1500"``.
        columns : sequence of str, optional
            Default: all. A single name may stand alone.

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

    def images(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the images table; parameters as in `segments`."""
        return self._select("images", where, columns)

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> pa.Table:
        """Result of one SELECT in DuckDB's SQL over the views ``series``, ``segments``, ``findings``.

        Parameters
        ----------
        query : str
        parameters : mapping or sequence, optional
            Values of ``$name`` or ``?`` in the query.

        Raises
        ------
        UsageError
            ``filter-invalid``: no valid SQL, or not one SELECT.
        DatasetError
            ``dataset-invalid``: a table cannot be read.
        """
        return self._queries.select(query, parameters)

    def cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A DuckDB cursor on the same views, for results that are too large to hold."""
        return self._queries.cursor()

    def table_paths(self, name: str) -> list[Path]:
        """The Parquet files of a table, in its order; brought here if they have to be.

        Raises
        ------
        DatasetError
            ``dataset-invalid``: one is gone, or of another size.
        """
        return self._files.table_paths(name)

    def page(self, relative: str) -> Path:
        """A page of this state or of an earlier one; errors as in `table_paths`."""
        return self._files.page(relative)

    def _select(self, table: str, where: str | None, columns: Sequence[str] | None) -> pa.Table:
        if where is not None and not isinstance(where, str):
            raise UsageError("filter-invalid", f"A condition is a str of SQL, not {where!r}.")
        names = [columns] if isinstance(columns, str) else columns
        if names is not None and not all(isinstance(name, str) for name in names):
            raise UsageError("filter-invalid", f"Columns are a list of names, not {columns!r}.")
        chosen = ", ".join('"{}"'.format(name.replace('"', '""')) for name in names) if names else "*"
        # On lines of its own, so that a comment in the condition ends with it.
        condition = f"WHERE (\n{where}\n)" if where else ""
        return typed(self.sql(f"SELECT {chosen} FROM {table}\n{condition}"))

    # --- arrays ---------------------------------------------------------------------------------

    def mask(self, segment: str | Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """(k, j, i) bool mask of one segment; of a FRACTIONAL one, where its fraction is not 0.

        Parameters
        ----------
        segment : str or row
            `segment_id`, or a row of the segments table: a dict, a pandas Series, a named tuple, a
            frame with one row. Of its columns, `segment_id` is enough.

        Raises
        ------
        MissingError
            ``not-found``: no such segment, or it has no volume (failed, or not asked for).
        UsageError
            ``argument-invalid``: neither an id nor a row that names a segment.
        DatasetError
            ``dataset-invalid``: its file is missing or broken.
        """
        return self._mask(self._lookup.segment(segment))

    def fraction(self, segment: str | Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """(k, j, i) float32 fraction of one segment, 0 to 1: exact quotients, never above 1.

        Parameters and errors as in `mask`; a segment that is no fraction is 0 and 1.
        """
        import numpy as np

        row = self._lookup.segment(segment)
        path, maximum = text(row, "fraction_path"), integer(row, "max_fractional_value")
        if path is None:
            return self._mask(row).astype(np.float32)
        if not maximum:
            raise DatasetError(
                "dataset-invalid", f"{path} is a fraction of {maximum}: the row has no max_fractional_value."
            )
        fraction: npt.NDArray[np.float32] = np.divide(self._image(path).array, maximum, dtype=np.float32)
        return fraction

    def volume(
        self, instance: str | Mapping[str, Any], labels: Literal["segment", "cohort"] = "segment"
    ) -> Volume:
        """The label maps of one instance.

        Parameters
        ----------
        instance : str or row
            SOPInstanceUID, SeriesInstanceUID (of a series with one instance), or a row with one.
        labels : {"segment", "cohort"}
            Voxel values: SegmentNumbers as in the file, or the dataset's `label_index`, where
            segments without one become background.

        Raises
        ------
        MissingError
            ``not-found``: nothing of that UID has a label map, or several instances have.
        UsageError
            ``argument-invalid``: neither a UID nor a row with one; no such `labels`.
        DatasetError
            ``dataset-invalid``: a file is missing or broken.
        """
        import numpy as np

        if labels not in ("segment", "cohort"):
            raise UsageError(
                "argument-invalid",
                f"labels is {labels!r}; it is 'segment' (SegmentNumbers) or 'cohort' (label_index).",
                hint="Names are in the column `structure`, beside `segment_number` and `label_index`.",
            )
        uid, rows = self._lookup.instance(instance)
        if len(rows["seg_sop_uid"].unique()) > 1:
            raise MissingError(
                "not-found",
                f"Series {uid} has several instances.",
                hint="Name one by its seg_sop_uid.",
                value=uid,
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
        else:
            layers = tuple(layer.copy() for layer in layers)  # the caller's own, to write into
        stated = rows["affine_ras_mm"][0].as_py()
        # Null where part of it is unknown: the file's own then stands in for it.
        affine = images[0].affine_ras_mm if stated is None else np.array(stated, np.float64).reshape(4, 4)
        return Volume(layers, affine, rows)

    def image(self, segmentation: str | Mapping[str, Any]) -> Image:
        """The images that a segmentation was drawn on.

        Parameters
        ----------
        segmentation : str or row
            SeriesInstanceUID of the segmentation, or a row of segments, series or images.

        Raises
        ------
        MissingError
            ``not-found``: the cohort asked for no images, or these could not be had.
        DatasetError
            ``dataset-invalid``: the file is missing or broken.
        """
        found = self._images_of(segmentation)
        path = found["image_path"]
        image = self._image(path)
        return Image(image.array, image.affine_ras_mm, found)

    def pair(self, segment: str | Mapping[str, Any]) -> tuple[Image, npt.NDArray[np.bool_]]:
        """An image and the mask of one segment, of one shape and on one grid.

        Parameters and errors as in `mask` and `image`.

        Raises
        ------
        MissingError
            ``not-found``: mask and image lie on different grids.
        """
        row = self._lookup.segment(segment)
        image, mask = self.image(str(row["seg_series_uid"])), self._mask(row)
        if image.array.shape != mask.shape:
            raise MissingError(
                "not-found",
                f"The image has {image.array.shape} voxels (k, j, i), the mask {mask.shape}: no pair.",
                hint="Run the cohort with `output.grid: source`.",
            )
        return image, mask

    def _images_of(self, segmentation: str | Mapping[str, Any]) -> dict[str, Any]:
        uid = segmentation if isinstance(segmentation, str) else segmentation.get("seg_series_uid")
        rows = self.sql(
            "SELECT * FROM images WHERE seg_series_uid = $uid AND image_path IS NOT NULL "
            "ORDER BY image_series_uid LIMIT 1",
            {"uid": str(uid)},
        ).to_pylist()
        if not rows:
            raise MissingError(
                "not-found",
                f"There is no image of segmentation {uid} in this dataset.",
                hint="Run the cohort with `output.images: nifti`; the images table says what failed.",
                value=uid,
            )
        found: dict[str, Any] = rows[0]
        return found

    def _mask(self, row: Row) -> npt.NDArray[np.bool_]:
        alone = text(row, "fraction_path") or text(row, "mask_path")
        path = alone or text(row, "volume_path")
        if path is None:
            raise _no_volume(str(row.get("segment_id") or row.get("seg_sop_uid") or "The segment"))
        array = self._image(path).array
        mask: npt.NDArray[np.bool_] = array != 0 if alone else array == integer(row, "segment_number")
        return mask

    def _image(self, relative: str) -> NiftiImage:
        try:
            return self._images.read(self._files.here(relative))
        except FileNotFoundError as error:
            raise DatasetError("dataset-invalid", f"{relative} is missing.", path=relative) from error


def _from_folder(root: Path, manifest: dict[str, Any], cache_bytes: int) -> Dataset:
    return Dataset(root, manifest=manifest, cache_bytes=cache_bytes)


def _from_bucket(origin: Bucket, manifest: dict[str, Any] | None, cache_bytes: int) -> Dataset:
    folder = tempfile.mkdtemp(prefix="idcseg-")
    try:
        dataset = Dataset(Path(folder), origin, manifest, cache_bytes=cache_bytes)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    dataset._cleanup = weakref.finalize(dataset, _remove, folder, os.getpid())
    return dataset


def _remove(folder: str, owner: int) -> None:
    """Remove a working folder; a forked child leaves its parent's alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _no_volume(name: str) -> MissingError:
    return MissingError(
        "not-found",
        f"{name} has no volume in this dataset.",
        hint="See its status and error_code; `volumes: none` cohorts have none.",
        value=name,
    )
