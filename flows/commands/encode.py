"""`idcseg encode`: masks to a DICOM SEG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from flows.console import note, print_json
from segtools.codes import Severity
from segtools.errors import UsageError

Codec = Literal["raw", "implicit", "deflated", "rle", "jpeg-ls", "jpeg-2000", "deflated-frame"]


def encode(
    masks: tuple[Path, ...],
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    source: Path | None = None,
    meta: Path | None = None,
    labels: Literal["totalsegmentator"] | None = None,
    type: Literal["binary", "labelmap", "fractional"] = "labelmap",
    codec: Codec | None = None,
    palette: bool = False,
    use_label_ids: bool | None = None,
    regrid: Literal["nearest"] | None = None,
    only_described: bool = False,
    keep_empty: bool = False,
    references: Literal["frames", "none"] = "frames",
    series: str | None = None,
    series_number: int | None = None,
    series_description: str | None = None,
    patient_id: str | None = None,
    seed: str | None = None,
    check: Literal["full", "own", "none"] = "full",
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Encode masks as one DICOM SEG: validated before, read back after.

    Parameters
    ----------
    masks
        NIfTI, NRRD, seg.nrrd or NumPy files; several are paired with the description's files in order.
    output
        The DICOM file; a JSON beside it says how it was made.
    source
        Folder of the segmented images; sub-folders are searched.
    meta
        What the labels mean: dcmqi's JSON, a BIDS table (`_dseg.tsv`), or YAML.
    labels
        Take labels, or file names, as TotalSegmentator's structures.
    type
        SegmentationType. `fractional` takes one file per segment, values 0 to 1.
    codec
        How pixels are stored. Default: rle for labelmap and fractional, raw for binary.
    palette
        Store a label map with a colour table.
    use_label_ids
        Labels become segment numbers as they are, or are numbered 1 to n in order. Default: as dcmqi
        numbers its JSON's labels (1 to n), else as they are where the type allows.
    regrid
        Resample a mask that lies on another grid; recorded in the object.
    only_described
        Leave out labels that the description lacks.
    keep_empty
        Write frames without a voxel, too.
    references
        `none` leaves out which image each frame shows: smaller, but viewers look for it.
    series
        SeriesInstanceUID of the segmented series, where the folder has several.
    series_number, series_description
        Instead of the description's.
    patient_id
        Whose the masks are, where there are no source images.
    seed
        The same seed and inputs give the same bytes.
    check
        Read the result back by our reader and by highdicom (if installed), by ours, or not.
    dry_run
        Validate and say what was found; write nothing.
    json
        Machine-readable output.
    """
    from segtools.encode.frames.codecs import SYNTAX_OF
    from segtools.encode.jobs.run import prepare, run
    from segtools.encode.jobs.spec import EncodeJob
    from segtools.encode.write.options import Storage

    if not masks:
        raise UsageError("settings-invalid", "No mask file is given.")
    if output is None and not dry_run:
        raise UsageError("settings-invalid", "Where to? Give -o OUT.dcm, or --dry-run.")
    kinds: dict[str, Any] = {"binary": "BINARY", "labelmap": "LABELMAP", "fractional": "FRACTIONAL"}
    storage = Storage(
        kinds[type],
        SYNTAX_OF[codec or ("raw" if type == "binary" else "rle")],
        omit_empty_frames=not keep_empty,
        palette=palette,
        references=references,
    )
    prepared = prepare(
        EncodeJob(
            masks,
            source,
            meta,
            labels,
            storage,
            use_label_ids,
            regrid,
            only_described,
            series,
            patient_id,
            series_number,
            series_description,
            seed,
        )
    )
    done = [] if dry_run or output is None else run(prepared, output, check=check)
    findings = list(dict.fromkeys((*prepared.findings, *(f for each in done for f in each.findings))))
    if json:
        print_json(
            {
                "segments": [
                    {"number": segment.number, "label": segment.label, "type": segment.type}
                    for segment in prepared.plans[0].segments
                ],
                "written": [
                    {
                        "file": str(each.path),
                        "bytes": each.size_bytes,
                        "frames": each.frame_count,
                        "sop_instance_uid": each.sop_instance_uid,
                        "read_back_by": list(each.quality.readers) if each.quality else [],
                        "voxels": each.quality.voxels if each.quality else None,
                    }
                    for each in done
                ],
                "findings": [
                    {"code": f.code, "severity": f.severity.name.lower(), "message": f.message}
                    for f in findings
                ],
            }
        )
    for finding in findings:
        note(f"{finding.severity.name.lower()} [{finding.code}] {finding.message}")
    if dry_run:
        plan = prepared.plans[0]
        size = "×".join(map(str, reversed(plan.masks.shape)))
        note(f"valid: {len(plan.segments)} segments on {size} voxels; nothing was written")
    for each in done:
        told = "not read back"
        if each.quality:
            told = f"{each.quality.voxels:,} voxels read back by {' and '.join(each.quality.readers)}"
        note(
            f"wrote {each.path} ({each.size_bytes:,} bytes, {each.frame_count} frames, "
            f"{each.segment_count} segments; {told})"
        )
    return int(any(finding.severity >= Severity.ERROR for finding in findings))
