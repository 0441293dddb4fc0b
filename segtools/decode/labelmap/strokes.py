"""Masks of frames as strokes: which groups of eight voxels they touch, and which voxels of each.

A packed frame is a run of bits that may start at any bit of the file and belong at any voxel of the
label map, as soon as rows × columns is not a multiple of 8. So each frame is shifted once, a whole
chunk of frames in a few calls, until its bits lie as the label map's groups do. For frames of 511²
voxels = 261,121 bits without gaps:

=======  ==================  =====================  ============================================
frame    first bit in file   first voxel in map     shift
=======  ==================  =====================  ============================================
0        0 (bit 0)           0 (voxel 0 of group)   none
1, k=1   261121 (bit 1)      261121 (voxel 1)       none: file and map shift alike
1, k=2   261121 (bit 1)      522242 (voxel 2)       one bit up
=======  ==================  =====================  ============================================

The group at which one slice ends is then that at which the next one starts; it is a stroke of its own.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.dicom.mmap import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from segtools.decode.labelmap.plan import PaintPlan
    from segtools.decode.pixels.frames import Frames

    Ints = npt.NDArray[np.int64]
    Octets = npt.NDArray[np.uint8]
    Words = npt.NDArray[np.uint64]

_CHUNK_BYTES = 1 << 19
_WORD = np.dtype("<u8")  # bit n of a word is bit n % 8 of its byte n // 8, whatever the machine
_ALL = (1 << 64) - 1


class Stroke(NamedTuple):
    """Part of a mask; of a segment without repeated frames, it touches no group twice.

    Attributes
    ----------
    group : (N,) int64 ndarray
        Groups of eight voxels of the label map: voxel index // 8.
    bits : (N,) uint8 ndarray
        The voxels of each group, least significant bit first; never 0.
    """

    group: Ints
    bits: Octets


class ByteStrokes:
    """Strokes of frames with a value per voxel, of any encoding; every value but 0 is set."""

    def __init__(self, frames: Frames, plan: PaintPlan) -> None:
        self._frames = frames
        self._pixels = plan.shape[1] * plan.shape[2]
        self._room = np.zeros(-(-(7 + self._pixels) // 8) * 8, np.uint8)

    def __call__(self, frame: Ints, where: Ints) -> Iterator[Stroke]:
        """Strokes of some frames, which belong into the slices `where`."""
        for number, slice_index in zip(frame.tolist(), where.tolist(), strict=True):
            first = slice_index * self._pixels
            values = self._grouped(self._frames.frame(number), first & 7)
            found = np.flatnonzero(values.view(np.uint64))
            if len(found):
                bits = np.packbits(values.reshape(-1, 8)[found], axis=1, bitorder="little").reshape(-1)
                found += first >> 3
                yield Stroke(found, bits)

    def _grouped(self, stored: npt.NDArray[np.uint8 | np.uint16], ahead: int) -> Octets:
        """Values of a frame behind `ahead` voxels of another slice, filled up to whole groups."""
        values: Octets = np.ascontiguousarray(stored if stored.dtype == np.uint8 else stored != 0).view(
            np.uint8
        )
        values = values.reshape(-1)
        if ahead == 0 and self._pixels % 8 == 0:
            return values
        self._room[:ahead] = 0
        self._room[ahead : ahead + self._pixels] = values
        self._room[ahead + self._pixels :] = 0
        return self._room


class PackedStrokes:
    """Strokes of packed frames, a chunk of them at a time, wherever they lie in the file."""

    def __init__(self, bits: Octets, offsets: Ints, plan: PaintPlan) -> None:
        self._offsets = offsets
        self._pixels = plan.shape[1] * plan.shape[2]
        self._reader = Reader(bits)
        self._end = len(bits)
        self._aligned = self._pixels % 8 == 0 and not (offsets[plan.frame] & 7).any()
        # Where frames are shifted, a row has a byte ahead, so that any shift goes to the right, by 1 to
        # 15 bits, and ends with an empty word, so that a word's upper neighbour is of the same row.
        self._reach = (7 + self._pixels + 7) // 8
        self._row = self._pixels // 8 if self._aligned else (-(-(1 + self._reach) // 8) + 1) * 8
        # Frames smaller than a group share groups with more than their neighbours.
        self._per_chunk = max(_CHUNK_BYTES // self._row, 1) if self._pixels >= 8 else 1
        size = -(-self._per_chunk * self._row // 8)
        self._room = np.zeros(size, _WORD)
        self._flags = np.zeros(size, np.bool_)
        self._rows = np.arange(self._per_chunk, dtype=np.int64)
        # A frame's bits begin at bit 8 to 15 of its row; words before `_full` hold none beyond its end.
        begin = 8 + np.arange(8)[:, None]
        self._full = self._pixels >> 6
        self._heads = ~_low_bits(begin[:, 0])
        self._tails = _low_bits(begin + self._pixels - 64 * np.arange(self._full, -(-self._row // 8)))

    def __call__(self, frame: Ints, where: Ints) -> Iterator[Stroke]:
        """Strokes of some frames, which belong into the slices `where`."""
        starts = self._offsets[frame]
        for begin in range(0, len(frame), self._per_chunk):
            part = slice(begin, begin + self._per_chunk)
            voxels = where[part] * self._pixels
            found, words = (
                self._aligned_words(starts[part])
                if self._aligned
                else self._shifted_words(starts[part], voxels)
            )
            if len(found):
                yield from self._strokes(found, words, voxels)

    def _aligned_words(self, starts: Ints) -> tuple[Ints, Words]:
        """Non-zero words of frames that start on whole bytes and end with them, one behind the other."""
        first, row = starts >> 3, self._row
        size = len(first) * row
        room = self._room[: -(-size // 8)]
        room[-1] = 0
        octets = room.view(np.uint8)[:size]
        breaks = [0, *(np.flatnonzero(np.diff(first) != row) + 1).tolist(), len(first)]
        for begin, end in pairwise(breaks):
            self._reader.into(octets[begin * row : end * row], int(first[begin]))
        # NumPy finds the set elements of a bool array several times faster than those of integers.
        found = np.flatnonzero(np.not_equal(room, 0, out=self._flags[: len(room)]))
        return found, room[found]

    def _shifted_words(self, starts: Ints, voxels: Ints) -> tuple[Ints, Words]:
        """Words of frames shifted to their groups, all that are not zero among them; a row per frame."""
        count, columns = len(starts), self._row // 8
        room = self._room[: count * columns].reshape(count, columns)
        octets = room.view(np.uint8)
        for row, byte in enumerate((starts >> 3).tolist()):
            stop = 1 + min(self._reach, self._end - byte)
            self._reader.into(octets[row, 1:stop], byte)
        phase = starts & 7
        room[:, self._full :] &= self._tails[phase]
        room[:, 0] &= self._heads[phase]
        flags = self._flags[: room.size].reshape(room.shape)
        np.not_equal(room, 0, out=flags)
        flags[:, :-1] |= flags[:, 1:]
        found = np.flatnonzero(flags)
        down = np.repeat((8 + phase - (voxels & 7)).astype(_WORD), self._per_row(found, columns, count))
        flat = room.reshape(-1)
        return found, (flat[found] >> down) | (flat[found + 1] << (np.uint64(64) - down))

    def _strokes(self, found: Ints, words: Words, voxels: Ints) -> Iterator[Stroke]:
        """Non-zero bytes of words; the groups that a frame may share with the slice before it apart."""
        nearby = words.view(np.uint8)
        some = np.flatnonzero(nearby != 0)
        bits = nearby[some]
        place = (found << 3)[some >> 3]
        place += some & 7
        # A row's bytes are a run of `place`: shift the run to where its slice is.
        count = len(voxels)
        counts = self._per_row(place, self._row, count)
        rows = self._rows[:count] * self._row
        heads = np.zeros(0, np.int64)
        if not self._aligned:
            begins = np.cumsum(counts) - counts
            there = np.flatnonzero((voxels & 7 != 0) & (counts > 0))
            heads = begins[there[place[begins[there]] == rows[there]]]
        place += np.repeat((voxels >> 3) - rows, counts)
        if len(heads):
            yield Stroke(place[heads], bits[heads])
            place, bits = np.delete(place, heads), np.delete(bits, heads)
        if len(place):
            yield Stroke(place, bits)

    def _per_row(self, places: Ints, row: int, count: int) -> Ints:
        """(count,) how many of the sorted `places` are in each row of `row` places."""
        if count == 1:
            return np.array([len(places)])
        return np.diff(np.searchsorted(places, (self._rows[:count] + 1) * row), prepend=0)


def _low_bits(count: Ints) -> Words:
    """Words with their `count` lowest bits set; less than 0 is none, more than 64 is all."""
    kept = np.clip(count, 0, 64)
    low = np.left_shift(np.uint64(1), (kept & 63).astype(_WORD)) - np.uint64(1)
    return np.where(kept == 64, np.uint64(_ALL), low).astype(_WORD)


def strokes_of(frames: Frames, plan: PaintPlan) -> PackedStrokes | ByteStrokes:
    """Reader for the frames' encoding."""
    if frames.packed_bits is not None:
        return PackedStrokes(*frames.packed_bits, plan)
    return ByteStrokes(frames, plan)
