"""The pixels of frames: label planes, stored fractions, packed bits; one frame or a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from segtools.encode.frames.masks import Masks, Rows

    Array = npt.NDArray[Any]


class Frame(NamedTuple):
    """A frame to be written.

    Attributes
    ----------
    number : int or None
        SegmentNumber; None in a label map.
    k : int
        Slice.
    rows : (int, int) or None
        Rows that have voxels of the segment; None if it has none.
    """

    number: int | None
    k: int
    rows: Rows | None = None


def label_planes(masks: Masks, frames: Sequence[Frame], bits: int) -> Iterator[Array]:
    """(rows, columns) uint8 or uint16: label planes; voxels are SegmentNumbers."""
    dtype = np.uint8 if bits == 8 else np.uint16
    layer = masks.layers[0]
    table = np.zeros(1 << (8 * layer.dtype.itemsize), dtype)
    for number, (_, value) in masks.place.items():
        if value < len(table):  # a label that the mask lacks may be too large for its type
            table[value] = number
    same = all(number == value for number, (_, value) in masks.place.items())
    for frame in frames:
        plane = layer[frame.k]
        yield plane.astype(dtype, copy=False) if same else table[plane]


def fraction_planes(masks: Masks, frames: Sequence[Frame], maximum: int) -> Iterator[Array]:
    """(rows, columns) uint8: stored fractions, 0 to `maximum`."""
    for frame in frames:
        number = frame.number or 0
        if number in masks.fractions:
            yield np.rint(np.asarray(masks.fractions[number][frame.k], np.float64) * maximum).astype(np.uint8)
        elif number in masks.place:
            layer, value = masks.place[number]
            yield (masks.layers[layer][frame.k] == value).astype(np.uint8) * np.uint8(maximum)
        else:
            yield np.zeros(masks.shape[1:], np.uint8)


def packed_frames(masks: Masks, frames: Sequence[Frame]) -> Iterator[bytes]:
    """Bits of frames without gaps between them (PS3.5 8.1.1), least significant bit first.

    Only rows with voxels are compared and packed, where frames and those rows begin on whole bytes.
    Frames of 5 × 5 pixels do not: 8 of them make 25 bytes.
    """
    rows, columns = masks.shape[1:]
    if rows * columns % 8:
        for begin in range(0, len(frames), 8):
            group = [_bits(masks, frame).reshape(-1) for frame in frames[begin : begin + 8]]
            yield np.packbits(np.concatenate(group), bitorder="little").tobytes()
        return
    unit = next(n for n in (1, 2, 4, 8) if n * columns % 8 == 0)
    size = rows * columns // 8
    for frame in frames:
        if frame.rows is None:
            yield bytes(size)
            continue
        first, after = frame.rows[0] // unit * unit, min(-(-frame.rows[1] // unit) * unit, rows)
        before, behind = first * columns // 8, after * columns // 8
        part = np.packbits(_bits(masks, frame, slice(first, after)), axis=None, bitorder="little")
        yield b"".join((bytes(before), part.tobytes(), bytes(size - behind)))


def label_bits(masks: Masks, frames: Sequence[Frame]) -> Iterator[Array]:
    """(rows, columns) uint8: 0 and 1, for codecs that take frames of one bit apart."""
    for frame in frames:
        yield _bits(masks, frame).view(np.uint8)


def _bits(masks: Masks, frame: Frame, rows: slice = slice(None)) -> npt.NDArray[np.bool_]:
    layer, value = masks.place[frame.number or 0]
    bits: npt.NDArray[np.bool_] = masks.layers[layer][frame.k, rows] == value
    return bits
