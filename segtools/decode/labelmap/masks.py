"""Frames into label maps.

Eight voxels of a packed frame are one byte of the file and eight bytes of a uint8 label map. So the
label map is seen as 64-bit words: the non-zero bytes of a frame are found, a table of 256 words turns
each into a mask, and one gather tells whether another segment is there already. No array of frames ×
rows × columns exists; the frames pass in chunks that stay in the cache.

Segments that share voxels go to different layers: each segment, in SegmentNumber order, into the
first layer where all its voxels are free. The same file always gives the same layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from segtools.decode.dicom.mmap import Reader
from segtools.errors import CorruptSegError, UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from segtools.decode.pixels.frames import Frames

    Ints = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint64]
    Labels = npt.NDArray[np.uint8 | np.uint16]

_CHUNK_BYTES = 1 << 18
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_MASKS: dict[int, Words] = {
    1: (_BITS * np.uint8(0xFF)).view(np.uint64).reshape(256, 1),
    2: (_BITS.astype(np.uint16) * np.uint16(0xFFFF)).view(np.uint64).reshape(256, 2),
}
"""Bytes per label to (256, bytes per label): the words that a packed byte sets in a label map."""


@dataclass(frozen=True)
class Plan:
    """Which frame goes where.

    Attributes
    ----------
    shape : (3,) tuple of int
        (k, j, i) of the label map.
    frame, slice, segment : (F,) int64 ndarray
        Frame number, slice index and SegmentNumber; sorted by segment, then frame.
    dtype : uint8 or uint16
    max_bytes : int, bytes
        Bound of all layers together.
    """

    shape: tuple[int, int, int]
    frame: Ints
    slice: Ints
    segment: Ints
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    max_bytes: int

    def runs(self) -> Iterator[tuple[int, Ints, Ints]]:
        """SegmentNumber, frames and slices of each segment, in order."""
        if not len(self.segment):
            return
        starts = np.flatnonzero(np.diff(self.segment, prepend=self.segment[0] - 1))
        for start, stop in zip(starts, [*starts[1:], len(self.segment)], strict=True):
            yield int(self.segment[start]), self.frame[start:stop], self.slice[start:stop]


@dataclass
class Layers:
    """Label maps made from masks.

    Attributes
    ----------
    arrays : list of (k, j, i) uint8 or uint16 ndarray
    layer_of : dict of int to int
    empty : list of int
        Segments without a voxel.
    repeated : list of int
        Segments with several frames at one position.
    """

    arrays: list[Labels] = field(default_factory=list)
    layer_of: dict[int, int] = field(default_factory=dict)
    empty: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)


def check_memory(need: int, max_bytes: int, what: str) -> None:
    """Refuse before anything is allocated.

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``.
    """
    if need > max_bytes:
        raise UnsupportedSegError(
            "memory-limit", f"{what} needs {need} bytes, {max_bytes} are allowed.", need=need, limit=max_bytes
        )


def stack_masks(frames: Frames, plan: Plan) -> Layers:
    """Label maps from one mask per frame; every stored value but 0 is set.

    Parameters
    ----------
    frames : Frames
    plan : Plan

    Raises
    ------
    UnsupportedSegError
        ``memory-limit``: the label map, or one layer more, is too large.
    CorruptSegError
        ``conflicting-frames``; those of compressed frames.
    """
    result = Layers()
    canvas = _Canvas(plan)
    canvas.add()
    reader = _reader(frames, plan)
    for number, all_frames, all_slices in plan.runs():
        frame, where = all_frames, all_slices
        if np.bincount(where).max() > 1:
            result.repeated.append(number)
            frame, where = _without_repeats(frames, number, frame, where)
        strokes = list(reader(frame, where))
        if not strokes:
            result.empty.append(number)
            result.layer_of[number] = 0
            continue
        result.layer_of[number] = canvas.paint(strokes, number)
    result.arrays = canvas.layers
    return result


class _Stroke(NamedTuple):
    """Part of a mask; of a segment without repeated frames, it touches no place twice.

    Attributes
    ----------
    place : (N,) int64 ndarray
        Index of a group of eight voxels, or of a voxel.
    bits : (N,) uint8 ndarray or None
        The voxels of the group, least significant bit first; None where places are voxels.
    """

    place: Ints
    bits: npt.NDArray[np.uint8] | None


class _Canvas:
    """Layers, painted one segment at a time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.layers: list[Labels] = []
        self._flat: list[Labels] = []
        self._words: list[list[Words]] = []
        self.width = plan.dtype.itemsize
        self._masks = [np.ascontiguousarray(column) for column in _MASKS[self.width].T]

    def add(self) -> None:
        """One empty layer more."""
        voxels = int(np.prod(self.plan.shape, dtype=object))
        need = (len(self.layers) + 1) * voxels * self.width
        check_memory(need, self.plan.max_bytes, f"{len(self.layers) + 1} label map(s) of {self.plan.shape}")
        # Room up to a whole word, so that groups of eight voxels are words of the same memory.
        flat = np.zeros(-(-voxels // 8) * 8, self.plan.dtype)
        self._flat.append(flat)
        self._words.append([flat.view(np.uint64)[column :: self.width] for column in range(self.width)])
        self.layers.append(flat[:voxels].reshape(self.plan.shape))

    def paint(self, strokes: list[_Stroke], number: int) -> int:
        """Put a segment into the first layer where it is free; the layer's index."""
        layer = 0
        while not self._try(layer, strokes, number):
            layer += 1
            if layer == len(self.layers):
                self.add()
        return layer

    def _try(self, layer: int, strokes: list[_Stroke], number: int) -> bool:
        for done, stroke in enumerate(strokes):
            if not self._stroke(layer, stroke, number):
                for painted in strokes[:done]:
                    self._erase(layer, painted)
                return False
        return True

    def _stroke(self, layer: int, stroke: _Stroke, number: int) -> bool:
        """Paint where nothing is; False, with nothing painted, where something is."""
        place, bits = stroke
        if bits is None:
            flat = self._flat[layer]
            if flat[place].any():
                return False
            flat[place] = number
            return True
        words = self._words[layer]
        masks = [self._masks[column][bits] for column in range(self.width)]
        there = [column[place] for column in words]
        if any((word & mask).any() for word, mask in zip(there, masks, strict=True)):
            return False
        label = np.uint64(number * (0x0101010101010101 if self.width == 1 else 0x0001000100010001))
        for column in range(self.width):
            masks[column] &= label
            masks[column] |= there[column]
            words[column][place] = masks[column]
        return True

    def _erase(self, layer: int, stroke: _Stroke) -> None:
        place, bits = stroke
        if bits is None:
            self._flat[layer][place] = 0
            return
        for column in range(self.width):
            self._words[layer][column][place] &= ~self._masks[column][bits]


def _without_repeats(frames: Frames, number: int, frame: Ints, where: Ints) -> tuple[Ints, Ints]:
    """First frame of a segment in each slice; the others must equal it."""
    kept: dict[int, int] = {}
    for n, k in zip(frame.tolist(), where.tolist(), strict=True):
        first = kept.setdefault(k, n)
        if first != n:
            check_equal(frames.frame(first) != 0, frames.frame(n) != 0, number, k)
    return np.array([*kept.values()], np.int64), np.array([*kept], np.int64)


def check_equal(one: npt.NDArray[Any], other: npt.NDArray[Any], number: int, k: int) -> None:
    """Refuse two frames of one segment in one slice that differ: which one is right, nothing says.

    Raises
    ------
    CorruptSegError
        ``conflicting-frames``.
    """
    if not np.array_equal(one, other):
        raise CorruptSegError(
            "conflicting-frames",
            f"Two frames of segment {number} in slice {k} differ in {int((one != other).sum())} voxels.",
            segment=number,
            slice=k,
        )


class _FrameReader:
    """Strokes of single frames, of any encoding."""

    def __init__(self, frames: Frames, plan: Plan) -> None:
        self.frames = frames
        self.pixels = plan.shape[1] * plan.shape[2]

    def __call__(self, frame: Ints, where: Ints) -> Iterator[_Stroke]:
        for number, slice_index in zip(frame.tolist(), where.tolist(), strict=True):
            place = np.flatnonzero(self.frames.frame(number))
            if len(place):
                place += slice_index * self.pixels
                yield _Stroke(place, None)


class _ByteReader:
    """Strokes of frames with one byte per voxel, eight at a time."""

    def __init__(self, frames: Frames, plan: Plan) -> None:
        self.frames = frames
        self.groups = plan.shape[1] * plan.shape[2] // 8

    def __call__(self, frame: Ints, where: Ints) -> Iterator[_Stroke]:
        for number, slice_index in zip(frame.tolist(), where.tolist(), strict=True):
            values = np.ascontiguousarray(self.frames.frame(number)).reshape(-1)
            if values.dtype != np.uint8:
                values = (values != 0).view(np.uint8)
            place = np.flatnonzero(np.frombuffer(values, np.uint64))
            if len(place):
                bits = np.packbits(values.reshape(-1, 8)[place], axis=1, bitorder="little").reshape(-1)
                place += slice_index * self.groups
                yield _Stroke(place, bits)


class _PackedReader:
    """Strokes of packed frames that start on whole bytes, several frames at a time."""

    def __init__(self, bits: npt.NDArray[np.uint8], offsets: Ints, plan: Plan) -> None:
        self.starts = offsets >> 3
        self.frame_bytes = plan.shape[1] * plan.shape[2] // 8
        self.per_chunk = max(_CHUNK_BYTES // self.frame_bytes, 1)
        self._scratch = np.zeros(-(-self.per_chunk * self.frame_bytes // 8), np.uint64)
        self._starts = np.arange(self.per_chunk, dtype=np.int64) * self.frame_bytes
        self._edges = self._starts[1:]
        self._flags = np.zeros(len(self._scratch), np.bool_)
        self._reader = Reader(bits)

    def __call__(self, frame: Ints, where: Ints) -> Iterator[_Stroke]:
        starts = self.starts[frame]
        adjoin = np.diff(starts) == self.frame_bytes
        begin = 0
        while begin < len(frame):
            end = begin + 1
            while end < len(frame) and end - begin < self.per_chunk and adjoin[end - 1]:
                end += 1
            stroke = self._chunk(int(starts[begin]), where[begin:end])
            if stroke is not None:
                yield stroke
            begin = end

    def _chunk(self, start: int, where: Ints) -> _Stroke | None:
        """Non-zero bytes of frames that lie one behind the other."""
        size = len(where) * self.frame_bytes
        scratch = self._scratch[: -(-size // 8)]
        scratch[-1] = 0
        self._reader.into(scratch.view(np.uint8)[:size], start)
        # NumPy finds the set elements of a bool array several times faster than those of integers.
        words = np.flatnonzero(np.not_equal(scratch, 0, out=self._flags[: len(scratch)]))
        if not len(words):
            return None
        nearby = scratch[words].view(np.uint8)
        found = np.flatnonzero(nearby != 0)
        bits = nearby[found]
        place = (words << 3)[found >> 3]
        place += found & 7
        if len(where) == 1:
            place += int(where[0]) * self.frame_bytes
        else:
            # A frame's bytes are a run of `place`: shift the run to where its slice is.
            counts = np.empty(len(where), np.int64)
            counts[:-1] = np.searchsorted(place, self._edges[: len(where) - 1])
            counts[-1] = len(place)
            counts[1:] -= counts[:-1].copy()
            place += np.repeat(where * self.frame_bytes - self._starts[: len(where)], counts)
        return _Stroke(place, bits)


def _reader(frames: Frames, plan: Plan) -> _PackedReader | _ByteReader | _FrameReader:
    """Fastest reader that the frames' encoding and size allow."""
    whole_groups = plan.shape[1] * plan.shape[2] % 8 == 0
    if whole_groups and frames.packed_bits is not None and not (frames.packed_bits[1] & 7).any():
        return _PackedReader(*frames.packed_bits, plan)
    if whole_groups and frames.packed_bits is None:
        return _ByteReader(frames, plan)
    return _FrameReader(frames, plan)
