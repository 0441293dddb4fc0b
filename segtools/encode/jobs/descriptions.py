"""Which file a description speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segtools.encode.inputs.mask import MaskFile
from segtools.encode.metadata.description import Description
from segtools.encode.metadata.read import read_description
from segtools.encode.metadata.slicer import segments_of
from segtools.encode.metadata.totalsegmentator import segment_of, total_segments
from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


from segtools.encode.jobs.spec import EncodeJob


def described_files(job: EncodeJob, files: list[MaskFile]) -> tuple[list[MaskFile], Description]:
    """Files in the order of their descriptions."""
    if job.meta is not None:
        description = read_description(job.meta)
        if description.file_names:
            files = _by_name(job.meta, files, description.file_names)
        if len(description.files) == 1 and len(files) > 1 and all(file.named == {} for file in files):
            raise _counts(job.meta, 1, len(files))
        if len(description.files) != len(files):
            raise _counts(job.meta, len(description.files), len(files))
        return files, description
    if job.labels == "totalsegmentator":
        return files, _totalsegmentator(files)
    if all(file.named for file in files):
        return files, Description(tuple(segments_of(file) for file in files), keeps_labels=False)
    raise UsageError(
        "metadata-invalid",
        "Nothing says what the labels mean.",
        hint="Describe them with --meta FILE (dcmqi's JSON, a BIDS table, YAML), or name them: --labels.",
    )


def _counts(meta: Path, described: int, given: int) -> UsageError:
    return UsageError(
        "metadata-invalid",
        f"{meta.name} describes {described} mask files, {given} are given.",
        path=str(meta),
    )


def _by_name(meta: Path, files: list[MaskFile], names: Sequence[str]) -> list[MaskFile]:
    by_name = {file.name: file for file in files}
    if sorted(by_name) != sorted(names) or len(by_name) != len(files):
        raise UsageError(
            "metadata-invalid",
            f"{meta.name}, segmentAttributesFileMapping names {sorted(names)}, given are {sorted(by_name)}.",
        )
    return [by_name[name] for name in names]


def _totalsegmentator(files: list[MaskFile]) -> Description:
    """Files named after structures hold one mask each; one other file is a label map of the task total."""
    names = [file.name.partition(".")[0] for file in files]
    of_names = [segment_of(name, 1) for name in names]
    if all(of_names):
        return Description(tuple({(0, 1): segment} for segment in of_names if segment), keeps_labels=False)
    if len(files) == 1:
        return Description((total_segments(),))
    unknown = [name for name, segment in zip(names, of_names, strict=True) if segment is None]
    raise UsageError(
        "metadata-invalid", f"TotalSegmentator knows no structure {', '.join(map(repr, unknown[:5]))}."
    )
