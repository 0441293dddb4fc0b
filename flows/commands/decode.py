"""`idcseg decode`: one file or a folder; no cohort, no server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.console import note, print_json, print_rows
from segtools.codes import Severity
from segtools.decode import DecodeOptions
from segtools.errors import MissingError, SegError, UsageError
from segtools.run.decode_file import decode_file, decode_parts, rows_for_people

if TYPE_CHECKING:
    from segtools.run.decode_file import SingleFile

_COLUMNS = ["segment_number", "structure", "label", "voxel_count", "volume_ml", "layer", "component_count"]


def decode(
    path: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    segments: tuple[int, ...] = (),
    source: Path | None = None,
    parts: bool = False,
    verify: bool = False,
    strict: bool = False,
    json: bool = False,
) -> int:
    """Decode one DICOM SEG or a folder of them; no cohort, no server.

    Parameters
    ----------
    path
        A file, or a folder whose files (also in sub-folders) are decoded one by one.
    output
        Folder for NIfTI volumes and sidecars; without it nothing is written.
    segments
        Segment numbers to read; may be repeated. Default: all.
    source
        Folder with the segmented images: put the masks on their grid.
    parts
        Read files whose frames fit no single grid (several orientations, time points, stacks): one
        volume per part, each in a folder `part-1`, `part-2`, … of the output.
    verify
        Count all voxels a second time, by an independent way, compare, and say how many agree.
    strict
        Refuse what the tolerant reading of positions repairs.
    json
        Machine-readable output.
    """
    if parts and verify:
        raise UsageError("settings-invalid", "--verify compares whole files; it does not go with --parts.")
    files = _files(path)
    grid = None
    if source is not None:
        from segtools.decode.geometry.source_grid import source_grid_from_files

        grid = source_grid_from_files(source)
    chosen: dict[str, Any] = {
        "segments": segments or None,
        "options": DecodeOptions(geometry="strict" if strict else "tolerant"),
        "source_grid": grid,
    }
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            if parts:
                decoded = decode_parts(file, output, **chosen)
            else:
                decoded = [decode_file(file, output, **chosen, verify=verify)]
        except SegError as error:
            note(f"error [{error.code}] {file}: {error}")
            results.append({"file": str(file), "error": error.code, "message": error.message})
            continue
        for done in decoded:
            results.append(_result(file, done))
            if not json:
                _show(file, done)
    if json:
        print_json(results if path.is_dir() or len(results) > 1 else results[0])
    failed = sum("error" in result for result in results)
    if failed:
        return 3 if failed < len(results) else 1
    worst = max((result["worst"] for result in results), default=0)
    return int(worst >= Severity.ERROR)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise MissingError("not-found", f"The folder {path} has no files.", path=str(path))
        return files
    if not path.exists():
        raise MissingError("not-found", f"There is no file {path}.", path=str(path))
    return [path]


def _result(file: Path, done: SingleFile) -> dict[str, Any]:
    return {
        "file": str(file),
        "part": done.part,
        "segments": done.written.segments,
        "findings": done.written.findings,
        "files": [stored.path for stored in done.written.files],
        "verified": None if done.agreement is None else asdict(done.agreement),
        "worst": max((finding.severity for finding in done.volume.findings), default=0),
    }


def _show(file: Path, done: SingleFile) -> None:
    grid = done.volume.grid
    size = "×".join(str(n) for n in reversed(grid.shape))
    spacing = " × ".join(f"{mm:.4g}" for mm in grid.spacing_mm)
    header = done.volume.header
    about = f"{header.segmentation_type}, {size} voxels of {spacing} mm, {header.frame_count} frames"
    name = f"{file}, part {done.part}" if done.part else str(file)
    print_rows(rows_for_people(done), _COLUMNS, title=f"{name}: {about}")
    for finding in done.volume.findings:
        if finding.severity >= Severity.HINT:
            note(f"{finding.severity.name.lower()} [{finding.code}] {finding.message}")
    if done.agreement is not None:
        note(f"verified: {done.agreement}")
    for stored in done.written.files:
        note(f"wrote {stored.path} ({stored.size_bytes:,} bytes)")
