"""The description of PixelData (7FE0,0010), and one frame of it at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.dicom.file import Element

    Stored = npt.NDArray[np.uint8 | np.uint16]
    Bytes = npt.NDArray[np.uint8]
    Offsets = npt.NDArray[np.int64]


PIXEL_DATA = "PixelData (7FE0,0010)"


@dataclass(frozen=True)
class PixelDescription:
    """What the header says about the pixels.

    Attributes
    ----------
    rows, columns, bits_allocated, bits_stored, samples_per_pixel : int
    photometric, transfer_syntax_uid, segmentation_type : str
    frame_count : int
        Frames described: NumberOfFrames reconciled with the functional groups.
    segment_of_frame : (F,) int ndarray or None
        ReferencedSegmentNumber of each frame; tells per-segment padding.
    manufacturer : str or None
    big_endian : bool
    vr : str
        Of PixelData: ``"OB"`` or ``"OW"``; big endian OW swaps the bytes of packed data.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    samples_per_pixel: int
    photometric: str
    transfer_syntax_uid: str
    segmentation_type: str
    frame_count: int
    segment_of_frame: npt.NDArray[np.integer] | None = None
    manufacturer: str | None = None
    big_endian: bool = False
    vr: str = "OW"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame by itself, as the header describes it."""
        return -(-self.pixels * self.bits_allocated // 8)


class Frames:
    """The frames of one PixelData element.

    Attributes
    ----------
    count : int
        Whole frames there are.
    shape : (2,) tuple of int
        Rows, columns.
    packed_bits : tuple of (B,) uint8 ndarray and (F,) int64 ndarray, or None
        One bit per voxel, least significant bit first, not compressed: the bytes (a view of the
        file unless they had to be swapped) and the bit at which each frame starts.
    array : (F, rows, columns) uint8 or uint16 ndarray, or None
        One value per voxel, not compressed: a view of the file, big endian where the file is.
    """

    packed_bits: tuple[Bytes, Offsets] | None = None
    array: Stored | None = None

    def __init__(self, count: int, shape: tuple[int, int]) -> None:
        self.count = count
        self.shape = shape

    def frame(self, n: int) -> Stored:
        """(rows, columns) uint8 or uint16: stored values of frame `n` (from 0).

        Of BINARY, every value but 0 is set; which value that is depends on the file.

        Raises
        ------
        IndexError
            There is no such frame.
        CorruptSegError
            ``codec-failed``, ``inflate-limit``, ``claims-exceed-bytes``: compressed frames only.
        """
        raise NotImplementedError

    def _check(self, n: int) -> None:
        if not 0 <= n < self.count:
            raise IndexError(f"frame {n} of {self.count}")


class PackedFrames(Frames):
    """One bit per voxel."""

    def __init__(self, bits: Bytes, offsets: Offsets, shape: tuple[int, int]) -> None:
        super().__init__(len(offsets), shape)
        self.packed_bits = (bits, offsets)
        self._bits, self._offsets = bits, offsets

    def frame(self, n: int) -> Stored:
        """(rows, columns) uint8, 0 or 1."""
        self._check(n)
        return unpack(self._bits, int(self._offsets[n]), self.shape)


class ArrayFrames(Frames):
    """One uint8 or uint16 per voxel."""

    def __init__(self, array: Stored) -> None:
        super().__init__(len(array), (array.shape[1], array.shape[2]))
        self.array = self._array = array

    def frame(self, n: int) -> Stored:
        """(rows, columns) uint8 or uint16 in native byte order; a view where it can be."""
        self._check(n)
        frame = self._array[n]
        native: Stored = frame if frame.dtype.isnative else frame.astype(frame.dtype.newbyteorder("="))
        return native


def unpack(bits: Bytes, start: int, shape: tuple[int, int]) -> Bytes:
    """(rows, columns) uint8, 0 or 1: one frame of packed bits that starts at bit `start`.

    Frames of 3 × 5 voxels take 15 bits, so the second one starts in mid-byte, at bit 15: of the bytes
    ``FF 7F 00 20`` it is bit 7 of 7F, which is 0, all of 00, and bits 0 to 5 of 20, of which the last
    is set. Bytes 1 to 3 are unpacked, least significant bit first, and the first 7 bits dropped.
    """
    end = start + shape[0] * shape[1]
    first = start >> 3
    values = np.unpackbits(bits[first : (end + 7) >> 3], bitorder="little")
    return values[start - first * 8 : end - first * 8].reshape(shape)


def too_short(description: PixelDescription, have: int, need: int, whole: int, strict: bool) -> Finding:
    """Make the finding ``truncated-frames``; raise where `strict` or nothing is left.

    The value is whole as it stands: the writer wrote fewer frames, so fetching again would not help.
    """
    message = (
        f"{PIXEL_DATA} has {have} bytes, {need} are needed for {description.frame_count} frames of "
        f"{description.rows} × {description.columns} voxels with {description.bits_allocated} bits"
    )
    if strict or not whole:
        raise CorruptSegError(
            "frame-count-mismatch", f"{message}.", tag="(7FE0,0010)", observed=have, expected=need
        )
    return Finding(
        "truncated-frames",
        f"{message}; {whole} frames are whole.",
        observed=str(have),
        expected=str(need),
        tag="(7FE0,0010)",
    )


def unpacked_binary(description: PixelDescription) -> Finding:
    """Make the finding ``unpacked-binary``."""
    allocated = description.bits_allocated
    return Finding(
        "unpacked-binary",
        f"SegmentationType (0062,0001) is BINARY with BitsAllocated (0028,0100) {allocated}; it must be 1.",
        observed=str(allocated),
        expected="1",
        tag="(0028,0100)",
    )


def check_description(description: PixelDescription) -> None:
    """Refuse sizes and widths that no segmentation has.

    Raises
    ------
    CorruptSegError
        ``invalid-attribute``.
    """
    widths = (8, 16) if description.segmentation_type == "LABELMAP" else (1, 8, 16)  # PS3.3 C.8.20.2
    for keyword, tag, value, allowed in (
        ("Rows", "(0028,0010)", description.rows, range(1, 65536)),
        ("Columns", "(0028,0011)", description.columns, range(1, 65536)),
        ("SamplesPerPixel", "(0028,0002)", description.samples_per_pixel, (1,)),
        ("BitsAllocated", "(0028,0100)", description.bits_allocated, widths),
        ("NumberOfFrames", "(0028,0008)", description.frame_count, range(1, 2**31)),
    ):
        if value not in allowed:
            rule = (
                f"{allowed[0]} to {allowed[-1]}"
                if isinstance(allowed, range)
                else " or ".join(map(str, allowed))
            )
            raise CorruptSegError(
                "invalid-attribute",
                f"{keyword} {tag} is {value}; a segmentation needs {rule}.",
                tag=tag,
                value=value,
            )


def cut_off(element: Element, have: int, strict: bool) -> Finding:
    """Make the finding ``truncated-frames`` of a value cut off by the file's end; raise if `strict`."""
    message = f"{PIXEL_DATA} states {element.length} bytes, {have} are left in the file"
    if strict:
        raise CorruptSegError(
            "truncated", f"{message}.", tag="(7FE0,0010)", observed=have, expected=element.length
        )
    return Finding(
        "truncated-frames",
        f"{message}.",
        observed=str(have),
        expected=str(element.length),
        tag="(7FE0,0010)",
    )
