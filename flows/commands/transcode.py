"""`idcseg transcode`: a segmentation in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.console import note, print_json
from segtools.errors import UsageError


def transcode(
    path: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    type: Literal["binary", "labelmap"] | None = None,
    codec: Literal["raw", "deflated", "rle", "jpeg-ls", "jpeg-2000", "deflated-frame"] | None = None,
    split: bool = False,
    to: Literal["seg.nrrd", "nrrd", "nii.gz"] | None = None,
    json: bool = False,
) -> int:
    """Store a DICOM SEG in another type or codec, or as a file for people; voxels are proven the same.

    Parameters
    ----------
    path
        A DICOM SEG.
    output
        The new file.
    type
        SegmentationType of the new file. Default: as it is.
    codec
        How pixels are stored. Default: as they are; of another type rle for labelmap, raw for binary.
    split
        Segments that share voxels become several label maps, NAME-1.dcm, NAME-2.dcm …
    to
        Write no DICOM, but a volume with dcmqi's JSON and Slicer's colour table beside it.
    json
        Machine-readable output.
    """
    if to is not None:
        if type or codec or split:
            raise UsageError("settings-invalid", "--to writes no DICOM: without --type, --codec and --split.")
        return _for_people(path, output, to, json)
    from segtools.encode.frames.codecs import SYNTAX_OF
    from segtools.encode.transcode.convert import Target, transcode

    kinds: dict[str, Target] = {"binary": "BINARY", "labelmap": "LABELMAP"}
    done = transcode(
        path,
        output,
        kind=kinds[type] if type else None,
        transfer_syntax=SYNTAX_OF[codec] if codec else None,
        split=split,
    )
    if json:
        print_json(
            [
                {
                    "file": str(each.path),
                    "bytes": each.size_bytes,
                    "source_bytes": each.source_bytes,
                    "segmentation_type": each.kind,
                    "transfer_syntax_uid": each.transfer_syntax_uid,
                    "frames": each.frame_count,
                    "segments": each.segment_count,
                    "voxels": each.voxels,
                }
                for each in done
            ]
        )
    for each in done:
        note(
            f"wrote {each.path} ({each.kind}, {each.size_bytes:,} bytes, before {each.source_bytes:,}; "
            f"{each.voxels:,} voxels of {each.segment_count} segments are the same)"
        )
    return 0


def _for_people(path: Path, output: Path, kind: Literal["seg.nrrd", "nrrd", "nii.gz"], json: bool) -> int:
    from segtools.decode import read
    from segtools.encode.transcode.people import write_for_people

    if not output.name.endswith(f".{kind}"):
        raise UsageError("settings-invalid", f"{output.name} does not end in .{kind}.")
    files = write_for_people(read(path), output, kind)
    if json:
        print_json([str(file) for file in files])
    for file in files:
        note(f"wrote {file} ({file.stat().st_size:,} bytes)")
    return 0
