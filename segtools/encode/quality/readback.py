"""What was written is read back, by our reader and by highdicom where it is installed, and compared."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode import read
from segtools.encode.frames.codecs import DEFLATED_FRAME
from segtools.errors import MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.volume import Grid, Segment, SegVolume
    from segtools.encode.frames.masks import Masks

_MM = 1e-3


@dataclass(frozen=True)
class Quality:
    """What was compared.

    Attributes
    ----------
    readers : tuple of str
        That gave back what was written.
    voxels : int
        Labelled voxels that agree.
    modules_checked : bool
        Whether the Type 1 and 2 attributes of all modules were checked.
    """

    readers: tuple[str, ...]
    voxels: int
    modules_checked: bool


def check_written(
    path: Path,
    masks: Masks,
    grid: Grid,
    segments: Sequence[Segment],
    maximum: int,
    *,
    second_reader: bool = True,
) -> Quality:
    """Compare a file with what it was made from.

    Raises
    ------
    UsageError
        ``quality-failed``: voxels, place or meaning differ, or an attribute of type 1 or 2 is missing.
    SegError
        Our reader refuses the file.
    """
    volume = read(path)
    voxels = _same_voxels(path, volume, masks, grid, segments, maximum)
    _same_meaning(path, volume, segments)
    readers, checked = ["idcseg"], False
    if second_reader:
        try:
            checked = _by_highdicom(path, volume)
        except MissingError:
            checked = False
        if checked:
            readers.append("highdicom")
    return Quality(tuple(readers), voxels, checked)


def _failed(path: Path, what: str) -> UsageError:
    return UsageError("quality-failed", f"{path.name}: {what}.", path=str(path))


def _same_voxels(
    path: Path, volume: SegVolume, masks: Masks, grid: Grid, segments: Sequence[Segment], maximum: int
) -> int:
    """Count voxels that are the same; each voxel is found by its place in the patient."""
    shift = np.linalg.inv(volume.grid.affine_lps) @ grid.affine_lps
    steps = np.diag(shift)[:3]
    if volume.grid.shape[0] == 1:
        steps = np.array([*steps[:2], 1.0])
    if np.abs(np.abs(steps) - 1).max() > _MM:
        raise _failed(path, f"the grid reads back with steps of {steps.tolist()} voxels")
    flipped = steps[2] < 0
    start = round(float(shift[2, 3]))
    total = 0
    for segment in segments:
        wanted = _wanted(masks, segment.number, maximum)
        have: npt.NDArray[Any] = volume.mask(segment.number)
        if segment.number in volume.fractions and wanted.dtype != bool:
            have = volume.fractions[segment.number]
        elif wanted.dtype != bool:
            wanted = wanted != 0
        index = start + np.arange(wanted.shape[0]) * (-1 if flipped else 1)
        inside = (index >= 0) & (index < have.shape[0])
        count = int(np.count_nonzero(wanted))
        if not np.array_equal(have[index[inside]], wanted[inside]) or int(np.count_nonzero(have)) != count:
            raise _failed(path, f"segment {segment.number} reads back with other voxels")
        total += count
    return total


def _wanted(masks: Masks, number: int, maximum: int) -> npt.NDArray[Any]:
    if number in masks.fractions:
        return np.rint(np.asarray(masks.fractions[number], np.float64) * maximum).astype(np.uint8)
    if number not in masks.place:
        return np.zeros(masks.shape, bool)
    layer, value = masks.place[number]
    wanted: npt.NDArray[Any] = masks.layers[layer] == value
    return wanted


def _same_meaning(path: Path, volume: SegVolume, segments: Sequence[Segment]) -> None:
    found = {segment.number: segment for segment in volume.segments}
    if sorted(found) != [segment.number for segment in segments]:
        raise _failed(path, f"segments {sorted(found)[:20]} read back")
    for segment in segments:
        other = found[segment.number]
        for name in ("category", "type", "type_modifiers", "regions", "tracking_uid"):
            mine, theirs = getattr(segment, name), getattr(other, name)
            if _values(mine) != _values(theirs):
                raise _failed(path, f"{name} of segment {segment.number} reads back as {theirs}")


def _values(concepts: object) -> object:
    """Codes without their meanings, which may have been cut to 64 characters."""
    if concepts and isinstance(concepts, tuple):
        if isinstance(concepts[0], str):
            return concepts[:2]
        return tuple(concept[:2] for concept in concepts)
    return concepts or None


def _by_highdicom(path: Path, volume: SegVolume) -> bool:
    """Compare with highdicom's reading, and check the modules; False where it has no such codec."""
    if volume.header.transfer_syntax_uid == DEFLATED_FRAME:
        return False
    try:
        import highdicom
    except ModuleNotFoundError as error:
        raise MissingError("not-found", "highdicom is not installed.") from error
    from segtools.encode.quality.iod import missing_attributes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = highdicom.seg.segread(path)
            theirs, ours = _counts(dataset, volume)
        except (ValueError, RuntimeError, KeyError, AttributeError, TypeError, NotImplementedError) as error:
            raise _failed(path, f"highdicom refuses it: {type(error).__name__}: {error}") from error
    if missing := missing_attributes(dataset):
        raise _failed(path, f"{len(missing)} attributes are missing, the first is {missing[0]}")
    if theirs != ours:
        raise _failed(path, f"highdicom reads {theirs} labelled voxels, we read {ours}")
    return True


def _counts(dataset: object, volume: SegVolume) -> tuple[dict[int, int], dict[int, int]]:
    """Voxels of each value, in a label map; of the frames as stored, else."""
    kind = volume.header.segmentation_type
    stored = dataset.pixel_array  # type: ignore[attr-defined]
    values, numbers = np.unique(stored, return_counts=True)
    theirs = {int(v): int(n) for v, n in zip(values, numbers, strict=True) if v}
    if kind == "LABELMAP":
        ours = {s.number: int(np.count_nonzero(volume.mask(s.number))) for s in volume.segments}
        return theirs, {number: count for number, count in ours.items() if count}
    total = sum(int(np.count_nonzero(volume.mask(s.number))) for s in volume.segments)
    return {1: sum(theirs.values())}, {1: total}
