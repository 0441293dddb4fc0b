"""Mask files, their description and their source images to one DICOM SEG: validate, write, check.

`prepare` reads and validates and writes nothing; `run` does the rest. Several time points make one
object each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segtools.decode.volume import Grid, Segment
from segtools.encode.dicom.uids import uid_from
from segtools.encode.frames.masks import Masks
from segtools.encode.header.match import planes_of
from segtools.encode.header.source import SourceSeries
from segtools.encode.inputs.read import read_mask
from segtools.encode.jobs.descriptions import described_files
from segtools.encode.jobs.segments import fraction_masks, label_masks
from segtools.encode.jobs.sources import on_one_grid, source_for, time_point
from segtools.encode.jobs.spec import EncodeJob
from segtools.encode.metadata.description import Description
from segtools.encode.quality.readback import Quality, check_written
from segtools.encode.validate import check_islands
from segtools.encode.write.seg import WritePlan, build, check_storage
from segtools.files import dump_json, write_bytes
from segtools.finding import Finding

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Prepared:
    """A validated job.

    Attributes
    ----------
    plans : tuple of WritePlan
        One per time point.
    findings : tuple of Finding
    """

    plans: tuple[WritePlan, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Encoded:
    """One object written.

    Attributes
    ----------
    path : Path
    size_bytes, frame_count, segment_count : int
    sop_instance_uid : str
    quality : Quality or None
    findings : tuple of Finding
    """

    path: Path
    size_bytes: int
    frame_count: int
    segment_count: int
    sop_instance_uid: str
    quality: Quality | None
    findings: tuple[Finding, ...]


def prepare(job: EncodeJob) -> Prepared:
    """Read and validate everything.

    Raises
    ------
    UsageError
        With the codes of the stage ``encode``; MissingError ``not-found``.
    """
    files, description = described_files(job, [read_mask(path) for path in job.masks])
    source = source_for(job, files, description)
    findings: list[Finding] = []
    arrays, aligned = on_one_grid(job, files, source, findings)
    fractional = job.storage.kind == "FRACTIONAL"
    plans = []
    times = max(source.time_points, len(files[0].layers) if files[0].is_temporal else 1)
    for time in range(times):
        layered = [time_point(file, layers, time) for file, layers in zip(files, arrays, strict=True)]
        if fractional:
            masks, segments = fraction_masks(job, files, layered, description)
        else:
            masks, segments = label_masks(job, files, layered, description, findings)
        plans.append(_plan(job, description, source, aligned, masks, segments, (time, times)))
    if not fractional:
        findings += check_islands(plans[0].masks, [segment.number for segment in plans[0].segments])
    return Prepared(tuple(plans), tuple(dict.fromkeys((*source.findings, *findings))))


def run(prepared: Prepared, output: Path, *, check: Literal["full", "own", "none"] = "full") -> list[Encoded]:
    """Write the objects of a validated job, and read them back.

    Parameters
    ----------
    prepared : Prepared
    output : Path
        Of several time points, ``NAME-1.dcm``, ``NAME-2.dcm`` …; each with a JSON beside it that
        says how it was made.
    check : {"full", "own", "none"}
        Read back by our reader and by highdicom, by ours only, or not at all.

    Raises
    ------
    UsageError
        ``invalid-mask``, ``quality-failed``; WriteError, EnvironmentProblem.
    """
    done = []
    for n, plan in enumerate(prepared.plans, start=1):
        path = output if len(prepared.plans) == 1 else output.with_name(f"{output.stem}-{n}{output.suffix}")
        made = build(plan)
        size = made.write(path)
        quality = None
        if check != "none" and plan.grid is not None:
            quality = check_written(
                path,
                plan.masks,
                plan.grid,
                plan.segments,
                plan.storage.maximum,
                second_reader=check == "full",
            )
        findings = tuple(dict.fromkeys((*prepared.findings, *made.findings)))
        encoded = Encoded(
            path, size, made.frame_count, len(plan.segments), made.sop_instance_uid, quality, findings
        )
        write_bytes(path.with_suffix(".json"), dump_json(_record(plan, encoded)))
        done.append(encoded)
    return done


def _plan(
    job: EncodeJob,
    description: Description,
    source: SourceSeries,
    grid: Grid | None,
    masks: Masks,
    segments: list[Segment],
    moment: tuple[int, int],
) -> WritePlan:
    time, times = moment
    check_storage(job.storage, masks.shape)
    producer = description.producer
    if job.series_description is not None:
        producer = replace(producer, series_description=job.series_description)
    if times > 1:
        producer = replace(producer, instance_number=time + 1)
    series_uid = None
    if times > 1:
        series_uid = str(uid_from(job.seed or source.series_uid, source.study_uid, *job.masks, "series"))
    if grid is None:
        planes: dict[int, Any] = {k: (plane,) for k, plane in enumerate(source.planes)}
    else:
        planes = planes_of(grid, source, time)
    return WritePlan(
        masks,
        segments,
        source,
        grid,
        planes,
        job.storage,
        producer,
        description.series_number if job.series_number is None else job.series_number,
        None if job.seed is None else f"{job.seed}/{time}",
        _parameters(job),
        series_uid,
    )


def _parameters(job: EncodeJob) -> str:
    """Words for ContributingEquipmentSequence: what was done, without paths."""
    words = [f"masks {', '.join(path.name for path in job.masks)}"[:400]]
    words += [f"description {job.meta.name}"] if job.meta else []
    words += [f"labels {job.labels}"] if job.labels else []
    words += ["resampled by nearest neighbours where off the source's grid"] if job.regrid else []
    return "; ".join((*words, f"type {job.storage.kind}"))


def _record(plan: WritePlan, encoded: Encoded) -> dict[str, Any]:
    """What is written beside an object."""
    quality = encoded.quality
    return {
        "File": encoded.path.name,
        "SOPInstanceUID": encoded.sop_instance_uid,
        "SegmentationType": plan.storage.kind,
        "TransferSyntaxUID": plan.storage.transfer_syntax,
        "SourceSeriesInstanceUID": None if plan.source.is_made_up else plan.source.series_uid,
        "Parameters": plan.parameters,
        "Segments": [
            {"SegmentNumber": segment.number, "SegmentLabel": segment.label, "Type": list(segment.type or ())}
            for segment in plan.segments
        ],
        "Frames": encoded.frame_count,
        "Bytes": encoded.size_bytes,
        "ReadBackBy": list(quality.readers) if quality else [],
        "LabelledVoxels": quality.voxels if quality else None,
        "Findings": [
            {"Code": finding.code, "Severity": finding.severity.name.lower(), "Message": finding.message}
            for finding in encoded.findings
        ],
    }
