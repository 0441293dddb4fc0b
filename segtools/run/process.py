"""One fetched series through decode, measure and write, up to its catalog rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from segtools import decode
from segtools.dataset.layout import revision
from segtools.decode.measure import measure
from segtools.errors import MissingError, SegError, SegtoolsError, UnsupportedSegError
from segtools.finding import Finding
from segtools.run.ledger import Outcome
from segtools.write.instance import WriteOptions, write_instance
from segtools.write.rows import failed_rows, file_rows, finding_row, series_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from segtools.dataset.stage import Stage, StoredFile
    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.decode.geometry.source_images import SourceImages
    from segtools.run.image_series import BatchImages, ImageSeries
    from segtools.series import FetchedSeries


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; it pickles.

    Attributes
    ----------
    settings_hash : str
        Of the settings the outputs depend on.
    decode : DecodeOptions
    write : WriteOptions
    source_images : SourceImages, optional
        Headers of source images; None leaves masks on their own grid.
    run : int
        Number of the run among those that wait for the commit; orders what they staged.
    """

    settings_hash: str
    decode: decode.DecodeOptions = field(default_factory=decode.DecodeOptions)
    write: WriteOptions = field(default_factory=WriteOptions)
    source_images: SourceImages | None = None
    run: int = 1


@dataclass(frozen=True, slots=True)
class ProcessedSeries:
    """Catalog rows of one series, and what became of it."""

    outcome: Outcome
    series: dict[str, Any]
    segments: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    files: list[dict[str, Any]]
    images: list[dict[str, Any]] = field(default_factory=list)


def process_series(
    fetched: FetchedSeries, job: Job, stage: Stage, images: BatchImages | None = None
) -> ProcessedSeries:
    """Decode every instance of a series, stage its volumes, and give its rows.

    An instance that cannot be read costs the series its good status, not the other instances theirs.

    Raises
    ------
    EnvironmentProblem, WriteError
        Nobody's fault in the series: disk full, output not writable.
    """
    progress = _Progress(fetched, job, stage, images.of(fetched.series) if images is not None else [])
    if fetched.error is None:
        for paths, md5s in _instances(fetched):
            progress.instance(paths, md5s)
    return progress.result()


def series_memory(fetched: FetchedSeries, job: Job) -> int:
    """Bytes of memory that `process_series` takes for a series, by what its headers say."""
    from segtools.decode.memory import estimate_memory

    groups = _instances(fetched) if fetched.error is None else []
    sources: list[Any] = [paths[0] if len(paths) == 1 else paths for paths, _ in groups]
    return max((estimate_memory(source, options=job.decode) for source in sources), default=0)


def _instances(fetched: FetchedSeries) -> list[tuple[list[Path], list[str | None]]]:
    """Files by SOP instance; the parts of a concatenation are one instance."""
    pairs = list(zip(fetched.files, fetched.md5s, strict=True))
    if len(pairs) < 2:
        return [([path], [md5]) for path, md5 in pairs]
    groups: dict[str, tuple[list[Path], list[str | None]]] = {}
    for path, md5 in pairs:
        try:
            # The parts of a concatenation name the same source instance.
            key = decode.read_header(path).header.sop_instance_uid
        except SegError:
            key = str(path)
        paths, md5s = groups.setdefault(key, ([], []))
        paths.append(path)
        md5s.append(md5)
    return list(groups.values())


class _Progress:
    """Rows gathered over the instances of one series."""

    def __init__(
        self, fetched: FetchedSeries, job: Job, stage: Stage, images: Sequence[ImageSeries] = ()
    ) -> None:
        self.fetched, self.job, self.stage, self.images = fetched, job, stage, images
        self.series = fetched.series
        self.error: SegtoolsError | None = fetched.error
        self.segments: list[dict[str, Any]] = []
        self.findings: list[dict[str, Any]] = []
        self.files: list[StoredFile] = []
        self.file_rows: list[dict[str, Any]] = []
        self.bytes_in = 0
        self.no_grid = ""
        self.image_rows: list[dict[str, Any]] = []

    def instance(self, paths: list[Path], md5s: list[str | None]) -> None:
        size = sum(path.stat().st_size for path in paths)
        self.bytes_in += size
        source: Any = paths[0] if len(paths) == 1 else paths
        try:
            grid = self._source_grid(paths[0])
            volume = decode.read(source, options=self.job.decode, source_grid=grid)
            if self.job.source_images is not None:
                volume = self._onto_source(volume, grid)
            volume = self._with_doubt(volume)
        except SegError as error:
            self.error = self.error or error
            self._failed(paths[0], error, size, md5s[0])
            return
        written = write_instance(
            self.stage,
            self.series,
            volume,
            measure(volume),
            source_bytes=size,
            source_md5=md5s[0],
            options=self.job.write,
            revision=revision(self.series.crdc_series_uuid, self.job.settings_hash),
        )
        self.segments += written.segments
        self.findings += written.findings
        self.files += written.files
        self.file_rows += file_rows(
            written.files,
            seg_series_uid=self.series.seg_series_uid,
            seg_sop_uid=volume.header.sop_instance_uid,
        )

    def _source_grid(self, path: Path) -> SourceGrid | None:
        """Grid of the images that an instance was drawn on, if one is wanted and at hand."""
        images = self.job.source_images
        if images is None:
            return None
        images = next((one.headers for one in self.images if one.headers), images)
        from segtools.decode.referenced_images import read_references

        references = read_references(path)
        if (named := self.series.source_series_uid) is not None and not references.series:
            references = replace(references, series=(named,))
        try:
            return images.grid_for(references)
        except (MissingError, UnsupportedSegError) as error:
            self.no_grid = error.message
            return None

    def _with_doubt(self, volume: decode.SegVolume) -> decode.SegVolume:
        """The volume, with a finding where nothing names the series that was segmented."""
        header = volume.header
        if self.series.source_series_uid is not None or header.source_series_uids:
            return volume
        named = len(header.source_instance_uids)
        what = f"names {named} images, but no series" if named else "names neither images nor a series"
        message = f"The file {what} as what was segmented, and the index does not know it."
        return replace(volume, findings=(*volume.findings, Finding("source-series-unknown", message)))

    def _onto_source(self, volume: decode.SegVolume, grid: SourceGrid | None) -> decode.SegVolume:
        from segtools.decode.geometry.source_grid import onto

        if grid is not None:
            return onto(volume, grid)
        message = f"{self.no_grid} The mask keeps its own grid."
        return replace(volume, findings=(*volume.findings, Finding("source-grid-unknown", message)))

    def _failed(self, path: Path, error: SegError, size: int, md5: str | None) -> None:
        """Rows of an instance that could not be read, as far as its header goes."""
        try:
            file = decode.read_header(path)
        except SegError:
            return
        self.segments += failed_rows(
            self.series, error, header=file.header, segments=file.segments, source_bytes=size, source_md5=md5
        )
        series, instance = self.series.seg_series_uid, file.header.sop_instance_uid
        self.findings += [
            finding_row(item, seg_series_uid=series, seg_sop_uid=instance) for item in file.findings
        ]

    def _add_images(self) -> None:
        """Rows of the image series, each with the segmentation's key; a finding for each that failed."""
        uid = self.series.seg_series_uid
        sop = self.segments[0]["seg_sop_uid"] if self.segments else ""
        for one in self.images:
            self.image_rows.append({"seg_series_uid": uid, **one.row})
            self.file_rows += file_rows(one.files, seg_series_uid=uid, seg_sop_uid=sop)
            if one.row["status"] == "failed":
                message = f"Images {one.row['image_series_uid']}: {one.row['error_message']}"
                finding = Finding(
                    "image-unavailable", message, scope="series", observed=one.row["error_code"]
                )
                self.findings.append(finding_row(finding, seg_series_uid=uid, seg_sop_uid=None))

    def result(self) -> ProcessedSeries:
        series, error = self.series, self.error
        self._add_images()
        folder = self.stage.layout.series_folder(
            series.collection_id, series.patient_id, series.seg_series_uid
        )
        row = series_row(
            series,
            segments=self.segments,
            findings=self.findings,
            files=self.files,
            settings_hash=self.job.settings_hash,
            error=error,
            fetch_status="failed" if self.fetched.error else "fetched",
            fetch_attempts=self.fetched.attempts,
            fetch_verified=self.fetched.verified,
            folder=folder,
        ) | {"image_path": next((one.row.get("image_path") for one in self.images), None)}
        outcome = Outcome(
            seg_series_uid=series.seg_series_uid,
            crdc_series_uuid=series.crdc_series_uuid,
            settings_hash=self.job.settings_hash,
            status=row["status"],
            error_code=row["error_code"],
            error_message=row["error_message"],
            segment_count=row["segment_count"],
            volume_count=row["volume_count"],
            bytes_in=self.bytes_in,
            bytes_out=sum(file.size_bytes for file in self.files),
            attempts=self.fetched.attempts,
        )
        return ProcessedSeries(outcome, row, self.segments, self.findings, self.file_rows, self.image_rows)
