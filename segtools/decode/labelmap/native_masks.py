"""Painting frames into label maps with the native core: one pass over the bytes of each segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.dicom.mmap import Reader, cut_short
from segtools.decode.labelmap.plan import Layers, add_layer

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt

    from segtools.decode.labelmap.plan import Labels, PaintPlan
    from segtools.decode.pixels.frames import Frames

    Ints = npt.NDArray[np.int64]
    Octets = npt.NDArray[np.uint8]

_ROOM_BYTES = 1 << 18
"""Of the file in memory at a time: what stays in the cache."""
_NO_LAYER, _NOTHING_SET, _FILE_SHORTENED = -1, -2, -3  # segtools/native/core.h


def paint_masks_natively(core: ModuleType, frames: Frames, plan: PaintPlan) -> Layers:
    """Label maps from one mask per segment and slice; parameters and errors as in `stack_masks`."""
    result = Layers()
    canvas = _Canvas(core, plan, result.arrays)
    source = _Packed(*frames.packed_bits) if frames.packed_bits is not None else _Values(frames)
    for number, frame, where in plan.runs():
        layer = canvas.paint(source, source.starts(frame), where, number)
        if layer == _NOTHING_SET:
            result.empty.append(number)
        result.layer_of[number] = max(layer, 0)
    return result


class _Packed:
    """Packed frames, where they lie in the file."""

    def __init__(self, bits: Octets, offsets: Ints) -> None:
        self.bits = bits
        self._offsets = offsets
        self._reader = Reader(bits)
        self.place = self._reader.place

    def starts(self, frame: Ints) -> Ints:
        """First bits of some frames."""
        return self._offsets[frame]


class _Values:
    """Frames with a value per voxel, of any encoding, packed a segment at a time."""

    place = (-1, 0)

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._row = -(-frames.shape[0] * frames.shape[1] // 8)
        self.bits: Octets = np.zeros(0, np.uint8)

    def starts(self, frame: Ints) -> Ints:
        """First bits of some frames, whose `bits` are there until the next call."""
        self.bits = np.empty(len(frame) * self._row, np.uint8)
        for row, number in enumerate(frame.tolist()):
            values = self._frames.frame(number).reshape(-1)
            packed = np.packbits(values if values.dtype == np.uint8 else values != 0, bitorder="little")
            self.bits[row * self._row : (row + 1) * self._row] = packed
        return np.arange(len(frame)) * (8 * self._row)


class _Canvas:
    """Layers, painted one segment at a time."""

    def __init__(self, core: ModuleType, plan: PaintPlan, layers: list[Labels]) -> None:
        self._core, self._plan, self._layers = core, plan, layers
        self._flat = [add_layer(layers, plan)]
        self._room = np.empty(_ROOM_BYTES + 16, np.uint8)
        self._pixels = plan.shape[1] * plan.shape[2]

    def paint(self, source: _Packed | _Values, starts: Ints, where: Ints, number: int) -> int:
        """Put a segment into the first layer where it is free; the layer's index, or `_NOTHING_SET`."""
        layer = self._paint(0, source, starts, where, number)
        if layer == _NO_LAYER:
            self._flat.append(add_layer(self._layers, self._plan))
            layer = self._paint(len(self._flat) - 1, source, starts, where, number)
        if layer == _FILE_SHORTENED:
            raise cut_short()
        return layer

    def _paint(self, first: int, source: _Packed | _Values, starts: Ints, where: Ints, number: int) -> int:
        layer: int = self._core.paint(
            self._flat,
            first,
            *source.place,
            source.bits,
            np.ascontiguousarray(starts, np.int64),
            np.ascontiguousarray(where, np.int64),
            self._pixels,
            self._plan.shape[0],
            number,
            self._plan.dtype.itemsize,
            self._room,
        )
        return layer
