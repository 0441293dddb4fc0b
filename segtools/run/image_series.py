"""The segmented images of a batch: converted once each, before the masks that were drawn on them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segtools.dataset.layout import image_name, revision
from segtools.dataset.stage import StoredFile
from segtools.decode.geometry.source_images import SourceImages
from segtools.decode.geometry.source_planes import scan_images
from segtools.errors import SegError, SegtoolsError
from segtools.files import write_bytes
from segtools.images import image_sidecar, read_images, write_images
from segtools.version import DECODER

if TYPE_CHECKING:
    from segtools.dataset.stage import Stage
    from segtools.images import ImageVolume
    from segtools.series import FetchedSeries, SelectedSeries


@dataclass(frozen=True)
class ImageSeries:
    """What became of an image series.

    Attributes
    ----------
    row : dict
        Columns of `segtools.schema.IMAGES`, but for the segmentation's.
    files : tuple of StoredFile
    headers : SourceImages or None
        Places of its images, for masks that shall lie on their grid.
    """

    row: dict[str, Any]
    files: tuple[StoredFile, ...] = ()
    headers: SourceImages | None = None


class BatchImages:
    """Image series of one batch by SeriesInstanceUID.

    Parameters
    ----------
    stage : Stage
    settings_hash : str
    compression_level : int
    """

    def __init__(self, stage: Stage, settings_hash: str, compression_level: int = 1) -> None:
        self._stage = stage
        self._settings_hash = settings_hash
        self._compression_level = compression_level
        self._made: dict[str, ImageSeries] = {}
        self._lock = threading.Lock()

    def convert(self, fetched: FetchedSeries) -> None:
        """Write a fetched image series, or note why it cannot be.

        Raises
        ------
        EnvironmentProblem, WriteError
            Nobody's fault in the series.
        """
        made = self._converted(fetched)
        with self._lock:
            self._made[fetched.series.seg_series_uid] = made

    def of(self, series: SelectedSeries) -> list[ImageSeries]:
        """The image series that a segmentation was drawn on, as far as they were asked for."""
        with self._lock:
            return [self._made[image.seg_series_uid] for image in series.images]

    def _converted(self, fetched: FetchedSeries) -> ImageSeries:
        series = fetched.series
        if fetched.error is not None:
            return ImageSeries(_failed(series, fetched.error))
        try:
            volume = read_images(fetched.files)
            headers, ignored = scan_images(list(fetched.files))
        except SegError as error:
            return ImageSeries(_failed(series, error))
        images = SourceImages({volume.series_uid or series.seg_series_uid: headers}, ignored)
        path, files = self._written(series, volume)
        return ImageSeries(_row(series) | _described(volume) | {"image_path": path}, files, images)

    def _written(self, series: SelectedSeries, volume: ImageVolume) -> tuple[str, tuple[StoredFile, ...]]:
        layout = self._stage.layout
        folder = layout.series_folder(series.collection_id, series.patient_id, series.seg_series_uid)
        mark = revision(series.crdc_series_uuid, self._settings_hash)
        nifti, sidecar = (
            layout.within(folder, image_name(series.seg_series_uid, extension, revision=mark))
            for extension in ("nii.gz", "json")
        )
        extra = {
            "PatientID": series.patient_id,
            "CollectionID": series.collection_id,
            "StudyInstanceUID": series.study_uid,
            "License": series.license,
            "SourceDOI": series.source_doi,
        }
        files = []
        for relative, write in (
            (nifti, lambda path: write_images(path, volume, compression_level=self._compression_level)),
            (sidecar, lambda path: write_bytes(path, image_sidecar(volume, converter=DECODER, extra=extra))),
        ):
            with self._stage.stage(relative) as path:
                write(path)
            files.append(next(file for file in reversed(self._stage.files) if file.path == relative))
        return nifti, tuple(files)


def _row(series: SelectedSeries) -> dict[str, Any]:
    return {
        "image_series_uid": series.seg_series_uid,
        "collection_id": series.collection_id,
        "patient_id": series.patient_id,
        "study_uid": series.study_uid,
        "crdc_series_uuid": series.crdc_series_uuid,
        "modality": series.source_modality,
        "instance_count": series.instance_count,
        "source_bytes": series.size_bytes,
        "license": series.license,
        "status": "ok",
        "converter": DECODER,
    }


def _failed(series: SelectedSeries, error: SegtoolsError) -> dict[str, Any]:
    return _row(series) | {"status": "failed", "error_code": error.code, "error_message": error.message}


def _described(volume: ImageVolume) -> dict[str, Any]:
    grid, texts = volume.grid, volume.attributes
    same = set(volume.rescales)
    rescale = volume.rescales[0] if len(same) == 1 else None
    depth, rows, columns = grid.shape
    spacing_i, spacing_j, spacing_k = grid.spacing_mm
    return {
        "modality": texts.get("Modality"),
        "unit": volume.unit,
        "data_type": str(volume.array.dtype),
        "size_i": columns,
        "size_j": rows,
        "size_k": depth,
        "spacing_i_mm": spacing_i,
        "spacing_j_mm": spacing_j,
        "spacing_k_mm": spacing_k,
        "affine_ras_mm": grid.affine_ras.ravel().tolist(),
        "frame_of_reference_uid": volume.frame_of_reference_uid,
        "rescale_slope": rescale.slope if rescale else None,
        "rescale_intercept": rescale.intercept if rescale else None,
        "manufacturer": texts.get("Manufacturer"),
        "model_name": texts.get("ManufacturersModelName"),
        "series_description": texts.get("SeriesDescription"),
        "body_part": texts.get("BodyPartExamined"),
        "kernel": texts.get("ConvolutionKernel"),
        "contrast_agent": texts.get("ContrastBolusAgent"),
    }
