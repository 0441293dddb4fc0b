"""Build the index: objects in order, headers in parallel, rows as they come."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import pyarrow as pa

from segtools.decode.dicom.whole import open_whole
from segtools.errors import CorruptSegError, SegtoolsError, UsageError
from segtools.files import replacing
from segtools.index.bucket_archive import BucketArchive
from segtools.index.collections_table import FILE as COLLECTIONS_FILE
from segtools.index.collections_table import Belonging, Belongings
from segtools.index.folder_archive import Archive, ArchiveObject, FolderArchive
from segtools.index.header import IndexedHeader, read_header
from segtools.index.parquet_rows import RowWriter, write_rows
from segtools.objectstore.bucket import from_url
from segtools.schema import IDC_INSTANCES, IDC_SEGMENTATIONS, IDC_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SEGMENTATIONS_FILE = "segmentations.parquet"
SERIES_FILE = "series_index.parquet"
INSTANCES_FILE = "instances.parquet"

CHECKSUM_BYTES = 16 << 20
"""Objects up to this size get an MD5 by default: as good as free, where 100 MB are not."""
PROCESSES_FROM = 400
"""Objects from which worker processes pay for their start."""
BUCKET_THREADS = 16
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # ends of lines, and what is no UTF-8
CONTENT_NAMESPACE = UUID("8f1c1a52-2f0b-5a53-9c63-1d0f3a3d7a10")
"""Of crdc_series_uuid in own archives, which have no CRDC to give one."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An object that the index leaves out, and why."""

    path: str
    code: str
    message: str


@dataclass(frozen=True)
class IndexReport:
    """What was found.

    Attributes
    ----------
    out : Path
        Folder of the index.
    files : int
        Objects seen.
    series, image_series, instances, segments : int
        Segmentation series, other series, segmentation instances, and segments indexed.
    skipped : tuple of Skipped
        In the order of the archive.
    doubts : tuple of Skipped
        Objects that were taken, with something that is not known of them: which series was segmented.
    """

    out: Path
    files: int
    series: int
    image_series: int
    instances: int
    segments: int
    skipped: tuple[Skipped, ...]
    doubts: tuple[Skipped, ...] = ()


def build_index(
    source: Path | str | Archive,
    out: Path,
    *,
    collection: str | None = None,
    url_base: str | None = None,
    endpoint: str | None = None,
    workers: int | None = None,
    checksum: bool | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> IndexReport:
    """Index an archive by its headers.

    Segmentations (SOP classes 66.4 and 66.7) are indexed by segment, all other DICOM by series, so
    that source images join. What can't be read costs its own row and is reported.

    Parameters
    ----------
    source : Path, str or Archive
        A folder; a bucket or a folder in one, by its URL, read anonymously; or an `Archive`.
    out : Path
        Folder for `segmentations.parquet`, `series_index.parquet` and `instances.parquet`. Each is
        replaced as a whole, the series last. May lie within the source.
    collection : str, optional
        Collection of what `collections.csv` (see `segtools.index.collections_table`) does not name;
        default: the name of the folder or bucket.
    url_base : str, optional
        URL prefix of a folder's objects, if they are to be fetched from elsewhere.
    endpoint : str, optional
        Endpoint of a bucket; default: Amazon's.
    workers : int, optional
        Processes (folder) or threads (bucket); default: the processors, or 16.
    checksum : bool, optional
        Whether to read segmentations as a whole for their MD5. Default: those up to 16 MiB.
    on_progress : callable, optional
        Called with the objects done and the objects in all.

    Returns
    -------
    IndexReport

    Raises
    ------
    MissingError
        ``not-found``: no such folder.
    UsageError
        ``collections-invalid``.
    FetchError, EnvironmentProblem
        The bucket cannot be listed.
    WriteError, EnvironmentProblem
        As `segtools.files.replacing`.

    Notes
    -----
    Rows are in the archive's order, so the same archive gives the same bytes; segments of files that
    name the segmented images but not their series come last. `crdc_series_uuid`
    is a version 5 UUID over the MD5 (or size and modification time) of the series' objects: it
    changes when one of them does.
    """
    archive = _archive(source, out, url_base, endpoint)
    belongings = _belongings(archive, Belonging(collection or archive.name))
    objects = [found for found in archive.objects() if found.path != COLLECTIONS_FILE]
    ledger = _Admissions(belongings)
    unresolved: list[tuple[ArchiveObject, _Result]] = []
    with (
        replacing(out / SEGMENTATIONS_FILE) as file,
        RowWriter(file, IDC_SEGMENTATIONS) as rows,
        _mapping(archive, len(objects), workers) as run,
    ):
        read = partial(_read, archive, checksum)
        for done, (found, result) in enumerate(zip(objects, run(read, objects), strict=True), start=1):
            if ledger.admit(found, result, archive) and result.segments is not None:
                if result.header is not None and result.header.source.instances:
                    unresolved.append((found, result))
                else:
                    rows.write(result.segments)
            if on_progress is not None:
                on_progress(done, len(objects))
        # Last, when all images are known: these name images, but not their series.
        for found, result in unresolved:
            rows.write(ledger.resolved(found, result))
    write_rows(out / INSTANCES_FILE, IDC_INSTANCES, ledger.instances)
    write_rows(out / SERIES_FILE, IDC_SERIES, ledger.series_rows(objects))
    segmentations = sum(series.is_segmentation for series in ledger.series.values())
    return IndexReport(
        out=out,
        files=len(objects),
        series=segmentations,
        image_series=len(ledger.series) - segmentations,
        instances=len(ledger.instances),
        segments=rows.count,
        skipped=tuple(ledger.skipped),
        doubts=tuple(ledger.doubts),
    )


def _archive(source: Path | str | Archive, out: Path, url_base: str | None, endpoint: str | None) -> Archive:
    if not isinstance(source, str | Path):
        return source
    place = source if isinstance(source, Path) else from_url(source.rstrip("*"))
    if isinstance(place, Path):
        return FolderArchive(place, url_base, out)
    return BucketArchive.at(str(source), endpoint)


def _belongings(archive: Archive, default: Belonging) -> Belongings:
    try:
        return Belongings(archive.text(COLLECTIONS_FILE), default)
    except UnicodeDecodeError as error:
        raise UsageError(
            "collections-invalid", f"{COLLECTIONS_FILE} is not UTF-8: {error.reason}."
        ) from error


# --- reading, in workers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Result:
    """A header with its rows as Arrow, or why there is none."""

    header: IndexedHeader | None = None
    segments: pa.Table | None = None
    md5: str | None = None
    code: str = ""
    message: str = ""


def _read(archive: Archive, checksum: bool | None, found: ArchiveObject) -> _Result:
    try:
        _check_name(found)
        header = _header(archive, found)
        if not header.is_segmentation:
            return _Result(header)
        wanted = found.size_bytes <= CHECKSUM_BYTES if checksum is None else checksum
        rows = IDC_SEGMENTATIONS.from_rows(header.segments)
        header.segments.clear()  # Arrow pickles better
        return _Result(header, rows, archive.md5(found) if wanted else None)
    except SegtoolsError as error:
        return _Result(code=error.code, message=error.message)


def _header(archive: Archive, found: ArchiveObject) -> IndexedHeader:
    try:
        return archive.header(found, read_header)
    except CorruptSegError as error:
        if error.code != "truncated":
            raise
        # Its frames were asked for and end early: its segments are known nevertheless.
        return archive.header(found, partial(read_header, looks_at_frames=False))


def _is_whole(archive: Archive, found: ArchiveObject) -> bool:
    try:
        archive.header(found, open_whole)
    except SegtoolsError:
        return False
    return True


def _check_name(found: ArchiveObject) -> None:
    """Refuse names that no table and no manifest can carry."""
    if _UNSAFE.search(found.url):
        raise SegtoolsError("unsafe-url", f"{found.path!r} cannot be part of a URL.")


@contextmanager
def _mapping(
    archive: Archive, count: int, workers: int | None
) -> Iterator[Callable[[Callable[[ArchiveObject], _Result], Iterable[ArchiveObject]], Iterator[_Result]]]:
    """`map`, in order, over as many workers as pay."""
    pool: Executor
    if not archive.processes:
        pool = ThreadPoolExecutor(workers or BUCKET_THREADS)
    elif count < PROCESSES_FROM or (workers or os.cpu_count() or 1) == 1:
        yield map
        return
    else:
        # Spawned: the caller may have threads, and forking those can lock up.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield partial(pool.map, chunksize=16)
    finally:
        pool.shutdown(cancel_futures=True)


# --- deciding, in order ---------------------------------------------------------------------------


@dataclass
class _Series:
    """A series while its objects come in."""

    header: IndexedHeader
    belonging: Belonging
    members: dict[str, tuple[ArchiveObject, str]] = field(default_factory=dict)

    @property
    def is_segmentation(self) -> bool:
        return self.header.is_segmentation

    @property
    def identity(self) -> tuple[object, ...]:
        """What every object of the series must agree on."""
        header = self.header
        return self.belonging, header.patient_id, header.study_uid, header.is_segmentation

    def add(self, sop_uid: str, found: ArchiveObject, md5: str | None) -> None:
        """Take an object in, in place of another copy of the same instance."""
        self.members[sop_uid] = found, md5 or f"{sop_uid}:{found.size_bytes}:{found.stamp}"


class _Admissions:
    """Which objects count: the first whole one of a SOPInstanceUID, those that agree with their series."""

    def __init__(self, belongings: Belongings) -> None:
        self.belongings = belongings
        self.series: dict[str, _Series] = {}
        self._instances: dict[str, dict[str, Any]] = {}
        self.skipped: list[Skipped] = []
        self.doubts: list[Skipped] = []
        self._first: dict[str, tuple[ArchiveObject, str | None, str]] = {}

    @property
    def instances(self) -> list[dict[str, Any]]:
        """Rows of `segtools.schema.IDC_INSTANCES`."""
        return list(self._instances.values())

    def admit(self, found: ArchiveObject, result: _Result, archive: Archive) -> bool:
        """Take an object in; False if it is left out."""
        header = result.header
        if header is None:
            return self._skip(found, result.code, result.message)
        if header.sop_uid in self._first:
            self._compare(found, result, archive)
            return False
        candidate = _Series(header, self.belongings.of(found.folder))
        series = self.series.get(header.series_uid, candidate)
        if series.identity != candidate.identity:
            return self._skip(
                found,
                "series-conflict",
                f"{found.path!r} is of series {header.series_uid}, but of another collection, patient, study "
                "or kind than the objects before it.",
            )
        self.series[header.series_uid] = series
        self._take(found, header, result.md5)
        if header.source.doubt:
            self.doubts.append(Skipped(found.path, "source-series-unknown", header.source.doubt))
        return True

    def _take(self, found: ArchiveObject, header: IndexedHeader, md5: str | None) -> None:
        self._first[header.sop_uid] = found, md5, header.series_uid
        self.series[header.series_uid].add(header.sop_uid, found, md5)
        if header.is_segmentation:
            self._instances[header.sop_uid] = {
                "SeriesInstanceUID": header.series_uid,
                "SOPInstanceUID": header.sop_uid,
                "aws_url": found.url,
                "instance_size": found.size_bytes,
                "instance_hash": md5,
            }

    def resolved(self, found: ArchiveObject, result: _Result) -> pa.Table:
        """Segments with the series of the images that they name, as far as these are in the archive."""
        assert result.header is not None  # noqa: S101 - it was admitted
        assert result.segments is not None  # noqa: S101
        named = result.header.source.instances
        series = Counter(self._first[uid][2] for uid in named if uid in self._first)
        best = [uid for uid, count in series.items() if count == max(series.values())]
        if len(best) != 1:
            many = f"{len(named)} images and no series"
            where = f"they are of {len(best)} series alike" if best else "none of them is in the archive"
            message = f"It names {many} as what was segmented; {where}."
            self.doubts.append(Skipped(found.path, "source-series-unknown", message))
        name = "segmented_SeriesInstanceUID"
        column = result.segments.schema.get_field_index(name)
        values = pa.array([best[0] if best else None] * len(result.segments), pa.string())
        values = values.cast(result.segments.schema.field(column).type)
        return result.segments.set_column(column, result.segments.schema.field(column), values)

    def _skip(self, found: ArchiveObject, code: str, message: str) -> bool:
        self.skipped.append(Skipped(found.path, code, message))
        return False

    def _compare(self, found: ArchiveObject, result: _Result, archive: Archive) -> None:
        """Keep one of two objects with one SOPInstanceUID: the first, unless only the second is whole."""
        header = result.header
        assert header is not None  # noqa: S101 - it has a SOPInstanceUID
        first, md5, series_uid = self._first[header.sop_uid]
        code, pair = "duplicate-instance", f"{found.path!r} and {first.path!r} are one instance"
        if self._same(first, md5, found, result.md5, archive):
            self._skip(found, code, f"{pair}, with the same bytes.")
        elif (
            series_uid == header.series_uid
            and self.series[series_uid].belonging == self.belongings.of(found.folder)
            and not _is_whole(archive, first)
            and _is_whole(archive, found)
        ):
            self._take(found, header, result.md5)
            self._skip(
                first, code, f"{pair}, with other bytes; {first.path!r} ends early, the other is kept."
            )
        else:
            self._skip(found, code, f"{pair}, with other bytes; {first.path!r} is kept.")

    @staticmethod
    def _same(
        first: ArchiveObject, md5: str | None, found: ArchiveObject, other: str | None, archive: Archive
    ) -> bool:
        if found.size_bytes != first.size_bytes:
            return False
        try:
            return (md5 or archive.md5(first)) == (other or archive.md5(found))
        except SegtoolsError:
            return False

    def series_rows(self, objects: list[ArchiveObject]) -> list[dict[str, Any]]:
        """Rows of `segtools.schema.IDC_SERIES`, in the order of first objects."""
        beneath = Counter[str]()
        for found in objects:
            folder = found.folder
            while folder:
                beneath[folder] += 1
                folder = folder.rpartition("/")[0]
            beneath[""] += 1
        return [self._series_row(uid, series, beneath) for uid, series in self.series.items()]

    def _series_row(self, uid: str, series: _Series, beneath: Counter[str]) -> dict[str, Any]:
        header, belonging = series.header, series.belonging
        # A folder stands for the series only if nothing else, of any kind, is in or beneath it.
        objects = [found for found, _ in series.members.values()]
        marks = sorted(mark for _, mark in series.members.values())
        folders = {found.folder for found in objects}
        alone = len(folders) == 1 and beneath[next(iter(folders))] == len(objects)
        return {
            "collection_id": belonging.collection_id,
            "analysis_result_id": belonging.analysis_result_id,
            "PatientID": header.patient_id,
            "StudyInstanceUID": header.study_uid,
            "SeriesInstanceUID": uid,
            "crdc_series_uuid": str(uuid5(CONTENT_NAMESPACE, "\n".join([uid, *marks]))),
            "Modality": header.modality,
            "SOPClassUID": header.sop_class_uid,
            "TransferSyntaxUID": header.transfer_syntax_uid,
            "SeriesDescription": header.series_description,
            "series_aws_url": objects[0].url.rpartition("/")[0] + "/" if alone else "",
            "series_size_bytes": sum(found.size_bytes for found in objects),
            "instance_count": len(objects),
            "license_short_name": belonging.license_short_name,
            "source_DOI": belonging.source_DOI,
        }


# --- writing --------------------------------------------------------------------------------------
