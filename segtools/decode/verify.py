"""A second reading of the same file, slow and independent, to hold the first one against.

Nothing here is shared with the fast path: pydicom parses, numpy counts, one frame after the other, each
decoded by its codec's second decoder.
"""

from __future__ import annotations

from io import BytesIO
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.pixels.codecs import codec_of
from segtools.errors import CorruptSegError, UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    from pydicom.dataset import Dataset

    from segtools.decode.volume import SegVolume

_SAME_PLACE_MM = 0.01


def count_voxels(source: Path | str | bytes) -> dict[int, int]:
    """Voxels of every segment with at least one, counted frame by frame.

    Frames of one segment at one place count once where they coincide. Background (0 and
    PixelPaddingValue of a label map) is not counted; of FRACTIONAL, what is not 0 is.

    Parameters
    ----------
    source : path or bytes
        A DICOM SEG.
    """
    from pydicom import dcmread

    dataset = dcmread(BytesIO(source) if isinstance(source, bytes) else source, force=True)
    kind = str(dataset.get("SegmentationType", ""))
    padding = dataset.get("PixelPaddingValue") if kind == "LABELMAP" else None
    numbers = None if kind == "LABELMAP" else _segment_numbers(dataset)
    places = _places(dataset)
    counts: dict[int, int] = {}
    pending: dict[tuple[int | None, int], npt.NDArray[Any]] = {}
    repeated = _repeated(places, numbers)
    for n, frame in enumerate(_frames(dataset)):
        number = None if numbers is None else numbers[n]
        values = frame if padding is None else np.where(frame == padding, 0, frame)
        key = number, places[n]
        if key in repeated:
            pending[key] = np.maximum(pending[key], values) if key in pending else values
        else:
            _count(counts, number, values)
    for (number, _), values in pending.items():
        _count(counts, number, values)
    return counts


def verify(source: Path | str | bytes, volume: SegVolume) -> None:
    """Hold a volume, with all segments and on its own grid, against the second reading of its file.

    Segment 0 is not compared: what the file leaves out counts for it or not, as one likes.

    Raises
    ------
    CorruptSegError
        ``verify-mismatch``: the segments and both counts are named, also in ``attrs["segments"]``.
    """
    expected = count_voxels(source)
    found: dict[int, int] = {}
    for layer in volume.layers:
        for plane in layer:
            _count(found, None, plane)
    numbers = {segment.number for segment in volume.segments}
    found = {number: count for number, count in found.items() if number in numbers}
    for number, fractions in volume.fractions.items():
        _count(found, number, fractions)
    differing = {
        number: (expected.get(number, 0), found.get(number, 0))
        for number in sorted(expected.keys() | found.keys())
        if number and expected.get(number, 0) != found.get(number, 0)
    }
    if differing:
        listed = ", ".join(f"{number} ({a}, read as {b})" for number, (a, b) in list(differing.items())[:20])
        raise CorruptSegError(
            "verify-mismatch",
            f"{len(differing)} segments have other voxel counts when read a second way: {listed}.",
            segments=differing,
        )


def _count(counts: dict[int, int], number: int | None, values: npt.NDArray[Any]) -> None:
    if number is not None:
        counts[number] = counts.get(number, 0) + int(np.count_nonzero(values))
        return
    for label, voxels in enumerate(np.bincount(values.ravel()).tolist()):
        if label and voxels:
            counts[label] = counts.get(label, 0) + voxels


# --- which frame is of which segment, and where --------------------------------------------------


def _groups(dataset: Dataset, keyword: str) -> Iterator[Any]:
    """First item of a functional group for each frame: its own, else the shared one, else None."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    common = shared[0].get(keyword)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for n in range(_frame_count(dataset)):
        own = per_frame[n].get(keyword) if n < len(per_frame) else None
        group = own or common
        yield group[0] if group else None


def _frame_count(dataset: Dataset) -> int:
    stated = int(dataset.get("NumberOfFrames") or 1)
    return min(stated, len(dataset.get("PerFrameFunctionalGroupsSequence") or []) or stated)


def _segment_numbers(dataset: Dataset) -> list[int]:
    segments = dataset.get("SegmentSequence") or []
    only = int(segments[0].SegmentNumber) if len(segments) == 1 else 0
    numbers = []
    for group in _groups(dataset, "SegmentIdentificationSequence"):
        value = group.get("ReferencedSegmentNumber") if group is not None else None
        numbers.append(int(value) if isinstance(value, int) else only)
    return numbers


def _places(dataset: Dataset) -> list[int]:
    """Give frames at one position the same number, and every frame without a position its own."""
    points: dict[int, list[float]] = {}
    for n, group in enumerate(_groups(dataset, "PlanePositionSequence")):
        position = group.get("ImagePositionPatient") if group is not None else None
        if position and len(position) == 3:
            points[n] = [float(v) for v in position]
    places = [-1 - n for n in range(_frame_count(dataset))]
    if points:
        columns = np.array(list(points.values())).T
        cells = np.stack([_clusters(column) for column in columns], axis=1)
        _, numbers = np.unique(cells, axis=0, return_inverse=True)
        for n, number in zip(points, numbers.ravel().tolist(), strict=True):
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


# --- pixels --------------------------------------------------------------------------------------


def _frames(dataset: Dataset) -> Iterator[npt.NDArray[Any]]:
    """Flat stored values of each frame."""
    if "PixelData" not in dataset:
        raise CorruptSegError("missing-attribute", "PixelData (7FE0,0010) is absent.", tag="(7FE0,0010)")
    meta = getattr(dataset, "file_meta", {})
    syntax = str(meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    count, pixels = _frame_count(dataset), int(dataset.Rows) * int(dataset.Columns)
    bits = int(dataset.BitsAllocated)
    if dataset["PixelData"].is_undefined_length:
        yield from _encapsulated(dataset, syntax, count, pixels, bits)
        return
    data = np.frombuffer(dataset.PixelData, np.uint8)
    if syntax == "1.2.840.10008.1.2.2" and bits < 16 and dataset["PixelData"].VR == "OW":
        data = np.append(data, np.zeros(len(data) % 2, np.uint8)).reshape(-1, 2)[:, ::-1].ravel()
    if bits == 16:
        words = data[: count * pixels * 2].view(">u2" if syntax == "1.2.840.10008.1.2.2" else "<u2")
        yield from words.reshape(count, pixels).astype(np.uint16)
    elif bits == 8 and len(data) >= count * pixels:
        yield from data[: count * pixels].reshape(count, pixels)
    elif 8 < count * pixels == len(data) - count * pixels % 2 and data.max() <= 1:
        yield from data[: count * pixels].reshape(count, pixels)  # a byte per voxel under BitsAllocated 1
    else:
        for start in _bit_offsets(dataset, data, count, pixels):
            end = start + pixels
            yield np.unpackbits(data[start // 8 : -(-end // 8)], bitorder="little")[start % 8 :][:pixels]


def _bit_offsets(dataset: Dataset, data: npt.NDArray[np.uint8], count: int, pixels: int) -> list[int]:
    """Where each frame of packed bits starts: without gaps, or on a byte per frame or per segment."""
    stride = -(-pixels // 8) * 8
    packed = [n * pixels for n in range(count)]
    padded = [n * stride for n in range(count)]
    numbers = _segment_numbers(dataset)
    aligned = [0]
    for before, after in pairwise(numbers):
        end = aligned[-1] + pixels
        aligned.append(end if before == after else -(-end // 8) * 8)
    candidates = [packed, padded, aligned]
    if "dcmjs" in str(dataset.get("Manufacturer", "")).lower():
        candidates = [packed, aligned, padded]
    fitting = [
        c for c in candidates if 0 <= len(data) - -(-(c[-1] + pixels) // 8) <= (c[-1] + pixels + 7) // 8 % 2
    ]
    for offsets in fitting:
        spare = [
            b
            for start, end in zip(offsets, [*offsets[1:], None], strict=True)
            for b in range(start + pixels, end if end is not None else -(-(start + pixels) // 8) * 8)
        ]
        if not any(data[b // 8] >> (b % 8) & 1 for b in spare):
            return offsets
    return fitting[0] if len(fitting) > 1 or packed in fitting else packed


def _encapsulated(
    dataset: Dataset, syntax: str, count: int, pixels: int, bits: int
) -> Iterator[npt.NDArray[Any]]:
    codec = codec_of(syntax)
    if codec.second is None:
        raise UnsupportedSegError(
            "unsupported-transfer-syntax",
            f"{codec.name} cannot be decoded a second way: there is no other decoder of it here.",
            tag="(0002,0010)",
            value=syntax,
        )
    for data in _compressed_frames(dataset.PixelData, count):
        yield codec.second(data, int(dataset.Rows), int(dataset.Columns), bits)


def _compressed_frames(value: bytes, count: int) -> Iterator[bytes]:
    """Fragments, one a frame; where there are more, pydicom joins them by the offset table."""
    from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets

    buffer = BytesIO(value)
    parse_basic_offsets(buffer)
    fragments = list(generate_fragments(buffer))
    if len(fragments) == count:
        return iter(fragments)
    return islice(generate_frames(value, number_of_frames=count), count)
