"""The source images of a job, and its masks on their grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.volume import Grid
from segtools.encode.api import check_grid, subject_source
from segtools.encode.header.files import Named, one_source, read_series
from segtools.encode.header.source import SourceSeries
from segtools.encode.images import Subject
from segtools.encode.inputs.align import Aligned, onto_source, regrid_nearest
from segtools.encode.inputs.mask import MaskFile
from segtools.encode.metadata.description import Description
from segtools.errors import UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

from segtools.encode.jobs.spec import EncodeJob


def source_for(job: EncodeJob, files: list[MaskFile], description: Description) -> SourceSeries:
    """Source of a job: its images, of several series the one that the masks lie on, or a subject."""
    if job.source is None:
        check_grid(files[0].grid)
        return _subject(job, description, files[0].grid)
    series, skipped = read_series(job.source)
    if job.series_uid is not None:
        series = {uid: images for uid, images in series.items() if uid == job.series_uid}
    if not series:
        raise UsageError("source-images-missing", f"There is no image in {job.source}.", path=str(job.source))
    if len(series) == 1:
        return one_source(next(iter(series.values())), skipped)
    return _fitting(series, files[0], skipped)


def _fitting(series: Mapping[str, list[Named]], file: MaskFile, skipped: int) -> SourceSeries:
    """The one series of several that the mask lies on."""
    fits: list[SourceSeries] = []
    others = sum(map(len, series.values()))
    for images in series.values():
        try:
            source = one_source(images, skipped + others - len(images))
            if source.grid is not None:
                onto_source(file.name, file.layers[:1], file.affine_lps, source)
                fits.append(source)
        except UsageError:
            continue  # a series that the mask cannot belong to
    if len(fits) == 1:
        return fits[0]
    names = ", ".join(f"{uid} ({len(images)} images)" for uid, images in list(series.items())[:4])
    raise UsageError(
        "source-inconsistent",
        f"The source folder has {len(series)} image series, {len(fits) or 'none'} of which "
        f"the mask lies on: {names}.",
        hint="Name the segmented one with --series.",
        values=list(series),
    )


def _subject(job: EncodeJob, description: Description, grid: Grid) -> SourceSeries:
    given = description.subject
    patient = job.patient_id or given.get("PatientID")
    if not patient:
        raise UsageError(
            "source-images-missing",
            "There are no source images, and nothing says whose the masks are.",
            hint="Give --source FOLDER, or --patient-id, or a subject in the YAML description.",
        )
    made = subject_source(
        Subject(patient, given.get("BodyPartExamined", ""), given.get("StudyDate", "")), grid
    )
    values = dict(made.attributes.values)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        values[keyword] = given.get(keyword, "")
    return replace(
        made,
        attributes=made.attributes._replace(
            values={k: v for k, v in values.items() if v or k != "BodyPartExamined"}
        ),
        study_uid=given.get("StudyInstanceUID", made.study_uid),
        frame_of_reference_uid=given.get("FrameOfReferenceUID", made.frame_of_reference_uid),
    )


def on_one_grid(
    job: EncodeJob, files: list[MaskFile], source: SourceSeries, findings: list[Finding]
) -> tuple[list[tuple[npt.NDArray[Any], ...]], Grid | None]:
    """Layers of every file on one grid; None for planes without a place in the patient."""
    if source.stack is None:
        size = (len(source.planes), source.rows, source.columns)
        for file in files:
            if file.layers[0].shape != size:
                raise UsageError(
                    "mask-off-grid",
                    f"{file.name} has {file.layers[0].shape} voxels (k, j, i), its source images {size}.",
                )
        return [file.layers for file in files], None
    arrays, grids = [], []
    for file in files:
        placed = _placed(job, file, source)
        findings += placed.findings
        arrays.append(placed.layers)
        grids.append(placed.grid)
    first = grids[0]
    for file, grid in zip(files, grids, strict=True):
        if grid.shape != first.shape or np.abs(grid.affine_lps - first.affine_lps).max() > 1e-3:
            raise UsageError("mask-off-grid", f"{file.name} is on another grid than {files[0].name}.")
    return arrays, first


def _placed(job: EncodeJob, file: MaskFile, source: SourceSeries) -> Aligned:
    if source.is_made_up:
        check_grid(file.grid)
        return Aligned(file.layers, file.grid, ())
    try:
        return onto_source(file.name, file.layers, file.affine_lps, source)
    except UsageError as error:
        if job.regrid != "nearest" or error.code != "mask-off-grid":
            raise
        return regrid_nearest(file.name, file.layers, file.affine_lps, source)


def time_point(
    file: MaskFile, layers: tuple[npt.NDArray[Any], ...], time: int
) -> tuple[npt.NDArray[Any], ...]:
    """Layers of one time point; a mask without time holds at all of them."""
    if not file.is_temporal:
        return layers
    if time >= len(layers):
        raise UsageError(
            "invalid-mask",
            f"{file.name} has {len(layers)} time points, its source images have more: {time + 1}.",
        )
    return (layers[time],)
