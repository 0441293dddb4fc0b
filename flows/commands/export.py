"""`idcseg export`: a dataset in the layout of a framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from flows.commands.dataset import opened_dataset
from flows.console import note, print_json


def export(
    dataset: str,
    /,
    *,
    to: Literal["nnunet", "monai", "bids", "torchio", "slicer", "huggingface", "croissant"],
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    where: str | None = None,
    overlap: Literal["refuse", "regions"] = "refuse",
    link: bool = False,
    images: Path | None = None,
    json: bool = False,
) -> int:
    """Write a dataset in the layout of a framework.

    Voxels get one number per structure, the same in all cases. A case that cannot be expressed is left
    out and reported; the others are written.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    to
        Format.
    output
        Folder to make; it must not exist, or be empty.
    where
        SQL condition on the segments table, as "structure = 'liver'".
    overlap
        Voxels of two structures: leave the case out (refuse), or give each combination a value of its
        own (regions; nnunet, monai, torchio and huggingface).
    link
        Hard links instead of copies, where a file stays as it is.
    images
        Folder with <SeriesInstanceUID of the images>.nii.gz, for datasets without images.
    json
        Machine-readable output.
    """
    from segtools.export import ExportOptions
    from segtools.export import export as write_export

    options = ExportOptions(where, overlap, "hard" if link else "copy", images)
    with opened_dataset(dataset) as opened:
        report = write_export(opened, to, output, options)
    if json:
        skipped = [{"case": name, "code": e.code, "message": e.message} for name, e in report.skipped]
        print_json(
            {"folder": str(output), "cases": report.cases, "labels": report.labels, "skipped": skipped}
        )
    else:
        for name, error in report.skipped:
            note(f"left out {name} [{error.code}]: {error}")
        note(f"wrote {report.cases} cases, {len(report.labels)} labels to {output}")
    return 3 if report.skipped else 0
