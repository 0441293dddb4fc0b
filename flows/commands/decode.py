"""`idcseg decode`: one file or a folder; no cohort, no server."""

from __future__ import annotations

import filecmp
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.console import note, path_text, print_json, print_rows
from segtools.codes import Severity
from segtools.decode import DecodeOptions, read_header
from segtools.errors import (
    FetchError,
    MissingError,
    NotSegError,
    SegError,
    UsageError,
)
from segtools.run.decode_file import decode_file, decode_parts, rows_for_people

if TYPE_CHECKING:
    from segtools.errors import SegtoolsError
    from segtools.run.decode_file import SingleFile

_COLUMNS = ["segment_number", "structure", "label", "voxel_count", "volume_ml", "layer", "component_count"]


def decode(
    path: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    segments: tuple[int, ...] = (),
    source: Path | None = None,
    source_anyway: bool = False,
    parts: bool = False,
    verify: bool = False,
    strict: bool = False,
    json: bool = False,
) -> int:
    """Decode one DICOM SEG or a folder of them; no cohort, no server.

    Parameters
    ----------
    path
        A file, or a folder whose segmentations (also in sub-folders) are decoded one by one; what else is
        in it is counted.
    output
        Folder for NIfTI volumes and sidecars; without it nothing is written.
    segments
        Segment numbers to read; may be repeated. Default: all.
    source
        Folder with the segmented images, also in sub-folders: put the masks on their grid. Other files and
        other images in it do no harm.
    source_anyway
        Take source images with another FrameOfReferenceUID, if the voxels lie on one grid: a scan that
        was copied or anonymised again.
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
    images = None
    if source is not None:
        from segtools.decode.geometry.source_images import SourceImages

        images = SourceImages.below([source])
    elif source_anyway:
        raise UsageError("settings-invalid", "--source-anyway needs --source, the folder of images.")
    chosen: dict[str, Any] = {
        "segments": segments or None,
        "options": DecodeOptions(geometry="strict" if strict else "tolerant"),
        "images": images,
        "any_frame_of_reference": source_anyway,
    }
    work = _Folder(path.is_dir())
    results: list[dict[str, Any]] = []
    for file in _files(path):
        try:
            work.admit(file, written=output is not None)
            if parts:
                decoded = decode_parts(file, output, **chosen)
            else:
                decoded = [decode_file(file, output, **chosen, verify=verify)]
        except (SegError, FetchError, MissingError) as error:
            is_other = work.leaves_out(error)
            if not is_other:
                note(f"error [{error.code}] {path_text(file)}: {error}")
            kind = "skipped" if is_other else "error"
            results.append({"file": path_text(file), kind: error.code, "message": error.message})
            continue
        work.done(file)
        for done in decoded:
            results.append(_result(file, done))
            if not json:
                _show(file, done)
    return _end(path, results, work, json=json)


class _Folder:
    """What a folder of files is, besides the segmentations in it.

    Attributes
    ----------
    is_folder : bool
        Of a single file that was named, whatever it is not is an error.
    others : Counter of str
        Files that are no segmentation, by code.
    """

    def __init__(self, is_folder: bool) -> None:
        self.is_folder = is_folder
        self.others: Counter[str] = Counter()
        self._written: dict[str, Path] = {}
        self._uid = ""

    def admit(self, file: Path, *, written: bool) -> None:
        """Refuse what would replace the output of another file.

        Raises
        ------
        FetchError
            ``unreadable-object``: the operating system refuses it; ``duplicate-instance``.
        SegError
            As in `segtools.decode.read_header`.
        """
        try:
            uid = read_header(file).header.sop_instance_uid
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FetchError("unreadable-object", f"The file cannot be read: {reason}.") from error
        self._uid = uid
        first = self._written.get(uid)
        if first is None or not written:
            return
        same = filecmp.cmp(first, file, shallow=False)
        said = "with the same bytes" if same else "with other bytes; decode it alone, into another folder"
        raise FetchError(
            "duplicate-instance",
            f"It has the SOPInstanceUID of {path_text(first)}, which was decoded, {said}.",
            hint="",
            is_copy=same,
        )

    def done(self, file: Path) -> None:
        """Note that the file which was admitted last has been decoded."""
        self._written.setdefault(self._uid, file)

    def leaves_out(self, error: SegtoolsError) -> bool:
        """Count a file that is no segmentation, or a copy of one, where a folder was asked for."""
        is_other = isinstance(error, NotSegError) or error.attrs.get("is_copy")
        if not self.is_folder or not is_other:
            return False
        self.others[error.code] += 1
        return True


_OTHERS = {
    "not-dicom": "no DICOM",
    "empty-file": "empty",
    "not-segmentation": "other DICOM",
    "duplicate-instance": "copies of one that was decoded",
}


def _end(path: Path, results: list[dict[str, Any]], work: _Folder, *, json: bool) -> int:
    """Print what is left to say; the exit code."""
    of_segs = [result for result in results if "skipped" not in result]
    if json:
        print_json(results if work.is_folder or len(results) > 1 else results[0])
    if work.others:
        parts = ", ".join(f"{count:,} {_OTHERS.get(code, code)}" for code, count in work.others.items())
        note(f"{work.others.total():,} files of {path_text(path)} were left out: {parts}")
    if not of_segs:
        raise MissingError("not-found", f"The folder {path} has no DICOM SEG.", hint="", path=str(path))
    failed = sum("error" in result for result in of_segs)
    if failed:
        return 3 if failed < len(of_segs) else 1
    worst = max((result["worst"] for result in of_segs), default=0)
    return int(worst >= Severity.ERROR)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise MissingError("not-found", f"The folder {path} has no files.", path=str(path))
        return files
    if not path.exists():
        raise MissingError("not-found", f"There is no file {path}.", path=str(path))
    if not path.is_file():  # a pipe or a device has no end
        raise UsageError("settings-invalid", f"{path} is not a file, but a pipe, a socket or a device.")
    return [path]


def _result(file: Path, done: SingleFile) -> dict[str, Any]:
    return {
        "file": path_text(file),
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
    unknown = {"pixel spacing": (0, 1), "slice spacing": (2,)}
    hidden = {axis for name in grid.assumed for axis in unknown.get(name, ())}
    spacing = " × ".join("?" if n in hidden else f"{mm:.4g}" for n, mm in enumerate(grid.spacing_mm))
    header = done.volume.header
    about = f"{header.segmentation_type}, {size} voxels of {spacing} mm, {header.frame_count} frames"
    name = f"{path_text(file)}, part {done.part}" if done.part else path_text(file)
    print_rows(rows_for_people(done), _COLUMNS, title=f"{name}: {about}")
    for finding in done.volume.findings:
        if finding.severity >= Severity.HINT:
            note(f"{finding.severity.name.lower()} [{finding.code}] {finding.message}")
    if done.agreement is not None:
        note(f"verified: {done.agreement}")
    for stored in done.written.files:
        note(f"wrote {stored.path} ({stored.size_bytes:,} bytes)")
