"""Painting strokes into label maps with NumPy.

Eight voxels of a packed frame are one byte of the file and eight bytes of a uint8 label map. So the
label map is seen as 64-bit words: a table of 256 words turns each byte of a stroke into a mask, and one
gather tells whether another segment is there already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.labelmap.plan import Layers, add_layer
from segtools.decode.labelmap.strokes import Stroke, strokes_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.labelmap.plan import Labels, PaintPlan
    from segtools.decode.pixels.frames import Frames

    Words = npt.NDArray[np.uint64]

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_MASKS: dict[int, Words] = {
    1: (_BITS * np.uint8(0xFF)).view(np.uint64).reshape(256, 1),
    2: (_BITS.astype(np.uint16) * np.uint16(0xFFFF)).view(np.uint64).reshape(256, 2),
}
"""Bytes per label to (256, bytes per label): the words that a packed byte sets in a label map.

Byte 0x05, voxels 0 and 2, is the word 0x0000_0000_00FF_00FF; and-ed with 0x0707_0707_0707_0707, it is
``07 00 07 00 00 00 00 00``: segment 7 at voxels 0 and 2. With two bytes per label it is two words,
0x0000_FFFF_0000_FFFF and 0.
"""
_LOOK_FIRST, _LOOK_MOST = 512, 1 << 17
"""Groups looked at before it is seen whether one of them is taken: growing, so that a clash ends it soon."""
_REMEMBERED = 8
"""Clashes of a segment that are tried first in the next layer."""


def paint_masks(frames: Frames, plan: PaintPlan) -> Layers:
    """Label maps from one mask per segment and slice; parameters and errors as in `stack_masks`."""
    result = Layers()
    canvas = _Canvas(plan)
    canvas.add()
    read = strokes_of(frames, plan)
    for number, frame, where in plan.runs():
        strokes = list(read(frame, where))
        if not strokes:
            result.empty.append(number)
        result.layer_of[number] = canvas.paint(strokes, number) if strokes else 0
    result.arrays = canvas.layers
    return result


class _Canvas:
    """Layers, painted one segment at a time."""

    def __init__(self, plan: PaintPlan) -> None:
        self.plan = plan
        self.layers: list[Labels] = []
        self._words: list[list[Words]] = []
        self.width = plan.dtype.itemsize
        self._masks = [np.ascontiguousarray(column) for column in _MASKS[self.width].T]

    def add(self) -> None:
        """One empty layer more."""
        words = add_layer(self.layers, self.plan).view(np.uint64)
        self._words.append([words[column :: self.width] for column in range(self.width)])

    def paint(self, strokes: list[Stroke], number: int) -> int:
        """Put a segment into the first layer where it is free; the layer's index."""
        clash = self._paint_unless_taken(strokes, number)
        if clash is None:
            return 0
        # Segments that share voxels tend to share them at one place: look there first. Without this,
        # a file of n such segments costs the voxels of n² / 2 segments.
        clashes = [clash]
        for layer in range(1, len(self.layers)):
            if any(self._taken(layer, *known) for known in clashes):
                continue
            clash = self._first_taken(layer, strokes)
            if clash is None:
                break
            clashes = [clash, *clashes[: _REMEMBERED - 1]]
        else:
            self.add()
            layer = len(self.layers) - 1
        for stroke in strokes:
            self._put(layer, stroke, number)
        return layer

    def _paint_unless_taken(self, strokes: list[Stroke], number: int) -> tuple[int, int] | None:
        """Paint into layer 0, or nothing and a group that is taken there.

        Most segments are free: looking and painting at once spares a second gather.
        """
        for done, (group, bits) in enumerate(strokes):
            masks = [self._masks[column][bits] for column in range(self.width)]
            there = [column[group] for column in self._words[0]]
            taken = [word & mask for word, mask in zip(there, masks, strict=True)]
            if any(words.any() for words in taken):
                for painted in strokes[:done]:
                    self._erase(0, painted)
                at = int(np.flatnonzero(np.bitwise_or.reduce(taken))[0])
                return int(group[at]), int(bits[at])
            self._put(0, Stroke(group, bits), number, masks, there)
        return None

    def _taken(self, layer: int, group: int, bits: int) -> bool:
        """Whether a segment is at one of a group's voxels."""
        return any(
            words[group] & masks[bits] for words, masks in zip(self._words[layer], self._masks, strict=True)
        )

    def _first_taken(self, layer: int, strokes: list[Stroke]) -> tuple[int, int] | None:
        """One group where another segment is, with the voxels that are wanted of it."""
        for group, bits in strokes:
            begin, step = 0, _LOOK_FIRST
            while begin < len(group):
                part = slice(begin, begin + step)
                for words, masks in zip(self._words[layer], self._masks, strict=True):
                    taken = words[group[part]] & masks[bits[part]]
                    if taken.any():
                        at = begin + int(np.flatnonzero(taken)[0])
                        return int(group[at]), int(bits[at])
                begin, step = begin + step, min(step * 4, _LOOK_MOST)
        return None

    def _put(
        self,
        layer: int,
        stroke: Stroke,
        number: int,
        masks: list[Words] | None = None,
        there: list[Words] | None = None,
    ) -> None:
        """Paint where nothing is; `masks` and `there` are overwritten."""
        label = np.uint64(number * (0x0101010101010101 if self.width == 1 else 0x0001000100010001))
        for column, words in enumerate(self._words[layer]):
            painted = masks[column] if masks else self._masks[column][stroke.bits]
            painted &= label
            painted |= there[column] if there else words[stroke.group]
            words[stroke.group] = painted

    def _erase(self, layer: int, stroke: Stroke) -> None:
        for column, words in enumerate(self._words[layer]):
            words[stroke.group] &= ~self._masks[column][stroke.bits]
