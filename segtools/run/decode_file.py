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
    from segtools.decode.geometry.source_images import SourceImages
    from segtools.decode.verify import Verification


@dataclass(frozen=True, slots=True)
class SingleFile:
    """A decoded file, or a part of one (`part` counts from 1), its rows, what a second reading confirmed."""

    volume: SegVolume
    written: WrittenInstance
    part: int | None = None
    agreement: Verification | None = None


def decode_file(
    path: Path,
    output: Path | None = None,
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions | None = None,
    write: WriteOptions | None = None,
    images: SourceImages | None = None,
    any_frame_of_reference: bool = False,
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
    images : SourceImages, optional
        Put the masks on the grid of those that were segmented; frames without positions get those of the
        images they name.
    any_frame_of_reference : bool
        Accept images with another FrameOfReferenceUID.
    verify : bool
        Count the voxels a second time, by an independent way.

    Raises
    ------
    SegError
        See `segtools.decode.read`; ``verify-mismatch``, ``verify-unreadable``, ``grid-mismatch``.
    EnvironmentProblem, WriteError
        The output cannot be written.
    """
    grid = _grid(path, images, any_frame_of_reference)
    volume = read(path, segments=segments, options=options or DecodeOptions(), source_grid=grid)
    agreement = None
    if verify:
        from segtools.decode.verify import verify as compare

        agreement = compare(path, volume, segments=segments)
    done = _finish(path, _onto(volume, grid, any_frame_of_reference), output, write)
    return replace(done, agreement=agreement)


def decode_parts(
    path: Path,
    output: Path | None = None,
    *,
    segments: Collection[int] | None = None,
    options: DecodeOptions | None = None,
    write: WriteOptions | None = None,
    images: SourceImages | None = None,
    any_frame_of_reference: bool = False,
) -> list[SingleFile]:
    """Decode a DICOM SEG whose frames fit no single grid: several orientations, time points, stacks.

    Each part goes to ``part-<n>`` in `output`; the only part of a file that has one, to `output`.
    Parameters and errors as in `decode_file`.
    """
    grid = _grid(path, images, any_frame_of_reference)
    volumes = read_parts(path, segments=segments, options=options or DecodeOptions(), source_grid=grid)
    several = len(volumes) > 1
    return [
        _finish(path, _onto(volume, grid, any_frame_of_reference), output, write, part=n if several else None)
        for n, volume in enumerate(volumes, 1)
    ]


def _grid(path: Path, images: SourceImages | None, any_frame_of_reference: bool) -> SourceGrid | None:
    """Grid of the images that a file names, or fits."""
    if images is None:
        return None
    from segtools.decode.referenced_images import read_references

    return images.grid_for(read_references(path), any_frame_of_reference=any_frame_of_reference)


def _onto(volume: SegVolume, grid: SourceGrid | None, any_frame_of_reference: bool) -> SegVolume:
    if grid is None:
        return volume
    from segtools.decode.geometry.source_grid import onto

    return onto(volume, grid, any_frame_of_reference=any_frame_of_reference)


def _finish(
    path: Path,
    volume: SegVolume,
    output: Path | None,
    write: WriteOptions | None,
    *,
    part: int | None = None,
) -> SingleFile:
    """Measure and write a volume."""
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
