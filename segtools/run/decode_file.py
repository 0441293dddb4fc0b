"""One file, no cohort: decode, measure, write beside one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segtools.dataset.layout import FlatLayout
from segtools.dataset.stage import Stage
from segtools.decode import DecodeOptions, read, read_parts
from segtools.decode.measure import measure
from segtools.series import SelectedSeries
from segtools.write.instance import WriteOptions, WrittenInstance, write_instance

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from segtools.decode import SegVolume
    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.decode.verify import Agreement


@dataclass(frozen=True, slots=True)
class SingleFile:
    """A decoded file, or a part of one (`part` counts from 1), its rows, what a second reading confirmed."""

    volume: SegVolume
    written: WrittenInstance
    part: int | None = None
    agreement: Agreement | None = None


def decode_file(
    path: Path,
    output: Path | None = None,
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions | None = None,
    write: WriteOptions | None = None,
    source_grid: SourceGrid | None = None,
    verify: bool = False,
) -> SingleFile:
    """Decode one DICOM SEG; write its volumes and sidecars into `output`, if given.

    Parameters
    ----------
    path : Path
    output : Path, optional
        Folder; default: nothing is written.
    segments : collection of int, optional
        SegmentNumbers; default: all.
    options, write : options of these stages, optional
    source_grid : SourceGrid, optional
        Put the masks on this grid; frames without positions get those of the images they name.
    verify : bool
        Count the voxels a second time, by an independent way.

    Raises
    ------
    SegError
        See `segtools.decode.read`; ``verify-mismatch``, ``verify-unreadable``, ``grid-mismatch``.
    EnvironmentProblem, WriteError
        The output cannot be written.
    """
    volume = read(path, segments=segments, options=options or DecodeOptions(), source_grid=source_grid)
    agreement = None
    if verify:
        from segtools.decode.verify import verify as compare

        agreement = compare(path, volume, segments=segments)
    return replace(_finish(path, volume, output, write, source_grid), agreement=agreement)


def decode_parts(
    path: Path,
    output: Path | None = None,
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions | None = None,
    write: WriteOptions | None = None,
    source_grid: SourceGrid | None = None,
) -> list[SingleFile]:
    """Decode a DICOM SEG whose frames fit no single grid: several orientations, time points, stacks.

    Each part goes to ``part-<n>`` in `output`; the only part of a file that has one, to `output`.
    Parameters and errors as in `decode_file`.
    """
    volumes = read_parts(path, segments=segments, options=options or DecodeOptions(), source_grid=source_grid)
    several = len(volumes) > 1
    return [
        _finish(path, volume, output, write, source_grid, part=n if several else None)
        for n, volume in enumerate(volumes, 1)
    ]


def _finish(
    path: Path,
    volume: SegVolume,
    output: Path | None,
    write: WriteOptions | None,
    source_grid: SourceGrid | None,
    *,
    part: int | None = None,
) -> SingleFile:
    """Measure and write a volume."""
    if source_grid is not None:
        from segtools.decode.geometry.source_grid import onto

        volume = onto(volume, source_grid)
    chosen = write or WriteOptions()
    stage = Stage(FlatLayout(output if output is not None else path.parent, part))
    written = write_instance(
        stage,
        _series_of(volume),
        volume,
        measure(volume),
        source_bytes=volume.header.file_bytes,
        source_md5=None,
        options=chosen if output is not None else WriteOptions("none"),
    )
    stage.close()
    return SingleFile(volume, written, part)


def _series_of(volume: SegVolume) -> SelectedSeries:
    header = volume.header
    return SelectedSeries(
        collection_id="",
        patient_id=header.patient_id,
        study_uid=header.study_instance_uid,
        seg_series_uid=header.series_instance_uid,
        crdc_series_uuid="",
        series_url="",
        size_bytes=header.file_bytes,
        instance_count=1,
    )


def rows_for_people(file: SingleFile) -> list[dict[str, Any]]:
    """The columns of the segment rows that fit a terminal."""
    names = ("segment_number", "structure", "label", "voxel_count", "volume_ml", "layer", "component_count")
    return [{name: row[name] for name in names} for row in file.written.segments]
