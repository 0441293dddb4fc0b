"""A second reading of the same file, slow and independent, to hold the first one against.

Nothing here is shared with the first reading: `segtools.decode.second` walks the elements and gathers the
frames, each codec's second decoder decodes them, numpy counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.second.header import SecondHeader, read_header
from segtools.decode.second.pixels import frame_count, frames_of
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from segtools.decode.volume import SegVolume

_SAME_PLACE_MM = 0.01


@dataclass(frozen=True, slots=True)
class Verification:
    """What two readings of a file agree on.

    Attributes
    ----------
    voxels : int
        Of all segments compared; a voxel of several segments counts for each.
    segments : int
        Segments compared, empty ones included.
    """

    voxels: int
    segments: int

    def __str__(self) -> str:
        return f"{self.voxels:,} voxels of {self.segments} segments agree"


def count_voxels(source: Path | str | bytes) -> dict[int, int]:
    """Voxels of every segment with at least one, counted frame by frame.

    Frames of one segment at one place count once where they coincide. Background (0 and
    PixelPaddingValue of a label map) is not counted; of FRACTIONAL, what is not 0 is.

    Parameters
    ----------
    source : path or bytes
        A DICOM SEG.

    Raises
    ------
    CorruptSegError
        ``verify-unreadable``, ``codec-failed``.
    UnsupportedSegError
        ``unsupported-transfer-syntax``: also where a codec has no second decoder.
    OSError
        The file cannot be opened.
    """
    header = read_header(source if isinstance(source, bytes) else Path(source).read_bytes())
    count = frame_count(header)
    padding = header.padding if header.kind == "LABELMAP" else None
    numbers = None if header.kind == "LABELMAP" else _segment_numbers(header, count)
    places = _places(header, count)
    counts: dict[int, int] = {}
    pending: dict[tuple[int | None, int], npt.NDArray[Any]] = {}
    repeated = _repeated(places, numbers)
    for n, frame in enumerate(frames_of(header, count, numbers or [0] * count)):
        number = None if numbers is None else numbers[n]
        values = frame if padding is None else np.where(frame == padding, 0, frame)
        key = number, places[n]
        if key in repeated:
            pending[key] = np.maximum(pending[key], values) if key in pending else values
        else:
            _count(counts, number, values)
    for (number, _), values in pending.items():
        _count(counts, number, values)
    return {number: voxels for number, voxels in counts.items() if voxels}


def verify(
    source: Path | str | bytes, volume: SegVolume, *, segments: Collection[int] | None = None
) -> Verification:
    """Hold a volume on its own grid against the second reading of its file.

    Segment 0 is not compared: what the file leaves out counts for it or not, as one likes.

    Parameters
    ----------
    source : path or bytes
    volume : SegVolume
    segments : collection of int, optional
        SegmentNumbers that were read; default: all.

    Raises
    ------
    CorruptSegError
        ``verify-mismatch``: the segments and both counts are named, also in ``attrs["segments"]``;
        errors of `count_voxels`.
    """
    expected = count_voxels(source)
    if segments is not None:
        expected = {number: count for number, count in expected.items() if number in segments}
    found: dict[int, int] = {}
    for layer in volume.layers:
        for plane in layer:
            _count(found, None, plane)
    numbers = {segment.number for segment in volume.segments}
    found = {number: count for number, count in found.items() if number in numbers}
    for number, fractions in volume.fractions.items():
        _count(found, number, fractions)
    compared = (expected.keys() | found.keys() | numbers) - {0}
    differing = {
        number: (expected.get(number, 0), found.get(number, 0))
        for number in sorted(compared)
        if expected.get(number, 0) != found.get(number, 0)
    }
    if differing:
        listed = ", ".join(f"{number} ({a}, read as {b})" for number, (a, b) in list(differing.items())[:20])
        raise CorruptSegError(
            "verify-mismatch",
            f"{len(differing)} segments have other voxel counts when read a second way: {listed}.",
            segments=differing,
        )
    return Verification(sum(found.get(number, 0) for number in compared), len(compared))


def _count(counts: dict[int, int], number: int | None, values: npt.NDArray[Any]) -> None:
    if number is not None:
        counts[number] = counts.get(number, 0) + int(np.count_nonzero(values))
        return
    for label, voxels in enumerate(np.bincount(values.ravel()).tolist()):
        if label and voxels:
            counts[label] = counts.get(label, 0) + voxels


def _segment_numbers(header: SecondHeader, count: int) -> list[int]:
    only = header.segments[0] if len(header.segments) == 1 else 0
    own = [frame.segment for frame in header.frames[:count]]
    own += [None] * (count - len(own))
    return [number or header.shared.segment or only for number in own]


def _places(header: SecondHeader, count: int) -> list[int]:
    """Give frames at one position the same number, and every frame without a position its own."""
    points = {n: frame.position or header.shared.position for n, frame in enumerate(header.frames[:count])}
    known = {n: point for n, point in points.items() if point and np.isfinite(point).all()}
    places = [-1 - n for n in range(count)]
    if known:
        columns = np.array(list(known.values())).T
        cells = np.stack([_clusters(column) for column in columns], axis=1)
        _, numbers = np.unique(cells, axis=0, return_inverse=True)
        for n, number in zip(known, numbers.ravel().tolist(), strict=True):
            places[n] = number
    return places


def _clusters(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Number of the run of close values that each value is in."""
    order = np.argsort(values)
    clusters = np.empty(len(values), np.int64)
    clusters[order] = np.cumsum(np.diff(values[order], prepend=values[order[0]]) > _SAME_PLACE_MM)
    return clusters


def _repeated(places: list[int], numbers: list[int] | None) -> set[tuple[int | None, int]]:
    seen: set[tuple[int | None, int]] = set()
    repeated = set()
    for n, place in enumerate(places):
        key = None if numbers is None else numbers[n], place
        if key in seen:
            repeated.add(key)
        seen.add(key)
    return repeated
