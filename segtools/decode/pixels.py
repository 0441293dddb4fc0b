"""Frames of PixelData (7FE0,0010): which packing the bytes have, and one frame of them at a time.

Nothing is decoded here before it is asked for. Native data stay a view of the file; what their bytes
mean is decided once, from the value's length, because two generations of writers packed bits in ways
the header does not tell (PS3.5 8.1.1 packs frames without gaps):

- each frame padded to a whole byte: https://github.com/QIICR/dcmqi/issues/341
- each segment padded to a whole byte: https://github.com/dcmjs-org/dcmjs/issues/66
- one byte per voxel under BitsAllocated 1, one bit under BitsAllocated 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.structure import Element

    Stored = npt.NDArray[np.uint8 | np.uint16]
    Bytes = npt.NDArray[np.uint8]
    Offsets = npt.NDArray[np.int64]

PIXEL_DATA = "PixelData (7FE0,0010)"
NATIVE = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
)


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
    """(rows, columns) uint8, 0 or 1: one frame of packed bits that starts at bit `start`."""
    end = start + shape[0] * shape[1]
    first = start >> 3
    values = np.unpackbits(bits[first : (end + 7) >> 3], bitorder="little")
    return values[start - first * 8 : end - first * 8].reshape(shape)


def open_frames(
    buffer: memoryview,
    element: Element,
    description: PixelDescription,
    *,
    strict_length: bool = True,
    extended_offsets: memoryview | None = None,
) -> tuple[Frames, list[Finding]]:
    """Frames of PixelData, and what was doubtful about them.

    Parameters
    ----------
    buffer : memoryview
        The whole file.
    element : Element
        PixelData.
    description : PixelDescription
    strict_length : bool
        False reads the whole frames of a PixelData that ends early (finding ``truncated-frames``).
    extended_offsets : memoryview, optional
        Value of ExtendedOffsetTable (7FE0,0001).

    Raises
    ------
    CorruptSegError
        ``truncated``, ``invalid-attribute``, ``malformed-structure``, ``frame-count-mismatch``.
    UnsupportedSegError
        ``unsupported-transfer-syntax``.
    """
    _check_description(description)
    if description.transfer_syntax_uid in NATIVE:
        return _open_native(buffer, element, description, strict_length)
    from segtools.decode import codecs  # only files that are compressed pay for it

    return codecs.open_encapsulated(
        buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=extended_offsets,
    )


def too_short(description: PixelDescription, have: int, need: int, whole: int, strict: bool) -> Finding:
    """Make the finding ``truncated-frames``; raise ``truncated`` where `strict` or nothing is left."""
    message = (
        f"{PIXEL_DATA} has {have} bytes, {need} are needed for {description.frame_count} frames of "
        f"{description.rows} × {description.columns} voxels with {description.bits_allocated} bits"
    )
    if strict or not whole:
        raise CorruptSegError("truncated", f"{message}.", tag="(7FE0,0010)", observed=have, expected=need)
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


def _check_description(description: PixelDescription) -> None:
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


def _open_native(
    buffer: memoryview, element: Element, description: PixelDescription, strict: bool
) -> tuple[Frames, list[Finding]]:
    if element.length < 0:
        raise CorruptSegError(
            "malformed-structure",
            f"{PIXEL_DATA} has undefined length under the native transfer syntax "
            f"{description.transfer_syntax_uid}; only encapsulated data may.",
            tag="(7FE0,0010)",
        )
    value = np.frombuffer(buffer[element.offset : element.offset + element.length], np.uint8)
    findings = [cut_off(element, len(value), strict)] if len(value) < element.length else []
    if description.big_endian and description.vr == "OW" and description.bits_allocated < 16:
        value = _swap_words(value)
    opened = _open_bits if description.bits_allocated == 1 else _open_bytes
    frames, more = opened(value, description, strict)
    return frames, more if any(finding.code == "truncated-frames" for finding in more) else findings + more


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


def _swap_words(value: Bytes) -> Bytes:
    """Bytes of big endian 16-bit words in the order of the voxels (PS3.5 8.1.1, Annex D)."""
    even = np.concatenate([value, np.zeros(len(value) % 2, np.uint8)])
    return even.view(np.uint16).byteswap().view(np.uint8)


def _open_bytes(value: Bytes, description: PixelDescription, strict: bool) -> tuple[Frames, list[Finding]]:
    need = description.frame_count * description.frame_bytes
    binary = description.segmentation_type == "BINARY"
    if binary and len(value) < need and description.bits_allocated == 8:
        packing = _packing(value, description)
        if packing is not None:
            finding = Finding(
                "packed-despite-header",
                f"BitsAllocated (0028,0100) is 8, but {PIXEL_DATA} has {len(value)} bytes: bits.",
                observed="1",
                expected="8",
                tag="(0028,0100)",
            )
            return PackedFrames(value, packing.offsets, _shape(description)), [finding, *packing.findings]
    findings = []
    if binary:
        findings.append(unpacked_binary(description))
    whole = min(description.frame_count, len(value) // description.frame_bytes)
    if whole < description.frame_count:
        findings.append(too_short(description, len(value), need, whole, strict))
    findings += _trailing(len(value), need)
    order = ">" if description.big_endian else "<"
    stored = value[: whole * description.frame_bytes].view(f"{order}u{description.bits_allocated // 8}")
    return ArrayFrames(stored.reshape(whole, *_shape(description))), findings


def _open_bits(value: Bytes, description: PixelDescription, strict: bool) -> tuple[Frames, list[Finding]]:
    packing = _packing(value, description)
    if packing is not None:
        return PackedFrames(value, packing.offsets, _shape(description)), packing.findings
    frames, pixels = description.frame_count, description.pixels
    need = -(-frames * pixels // 8)
    if _fits(len(value), frames * pixels) and value.max(initial=0) <= 1:
        finding = Finding(
            "unpacked-binary",
            f"BitsAllocated (0028,0100) is 1, but {PIXEL_DATA} has one byte per voxel: {len(value)} bytes.",
            observed="8",
            expected="1",
            tag="(0028,0100)",
        )
        return ArrayFrames(value[: frames * pixels].reshape(frames, *_shape(description))), [finding]
    whole = min(frames, len(value) * 8 // pixels)
    findings = [too_short(description, len(value), need, whole, strict)] if whole < frames else []
    findings += _trailing(len(value), need)
    return PackedFrames(value, np.arange(whole, dtype=np.int64) * pixels, _shape(description)), findings


@dataclass(frozen=True)
class _Packing:
    """Where the frames of packed bits start, how many bytes that takes, and what to say of it."""

    offsets: Offsets
    need: int
    findings: list[Finding]


def _packing(value: Bytes, description: PixelDescription) -> _Packing | None:
    """Packing whose length is that of `value`; None if no packing's is.

    Where lengths coincide, the bits between frames decide: they are 0 in the packing that put them
    there. The standard's packing wins unless its own spare bits say otherwise.
    """
    if description.frame_count * description.pixels > 8 * len(value):
        return None  # before anything is allocated: no packing is denser than the standard's
    fitting = [p for p in _packings(description) if _fits(len(value), p.need)]
    if len(fitting) > 1:
        clean = [p for p in fitting if _gaps_are_zero(value, p.offsets, description.pixels)]
        fitting = clean or fitting
    elif (
        fitting and fitting[0].findings and not _gaps_are_zero(value, fitting[0].offsets, description.pixels)
    ):
        return None  # the length is a coincidence: the bits that would be padding are set
    return fitting[0] if fitting else None


def _packings(description: PixelDescription) -> list[_Packing]:
    frames, pixels = description.frame_count, description.pixels
    index = np.arange(frames, dtype=np.int64)
    packings = [_Packing(index * pixels, -(-frames * pixels // 8), [])]
    if pixels % 8 == 0 or frames == 1:
        return packings
    stride = -(-pixels // 8)
    padded = _Packing(
        index * stride * 8,
        frames * stride,
        [Finding("padded-frames", f"{PIXEL_DATA} has {stride} whole bytes per frame of {pixels} voxels.")],
    )
    by_segment = _per_segment(description)
    if by_segment is None:
        return [*packings, padded]
    dcmjs = "dcmjs" in (description.manufacturer or "").lower()
    return [*packings, by_segment, padded] if dcmjs else [*packings, padded, by_segment]


def _per_segment(description: PixelDescription) -> _Packing | None:
    """Each segment's frames packed without gaps, but starting on a whole byte."""
    segments = description.segment_of_frame
    if segments is None or len(segments) < description.frame_count:
        return None
    segments = np.asarray(segments[: description.frame_count])
    starts = np.flatnonzero(np.concatenate([[True], segments[1:] != segments[:-1]]))
    if len(starts) == 1 or len(starts) != len(np.unique(segments)):
        return None
    lengths = np.diff(np.append(starts, len(segments)))
    run_bytes = -(-lengths * description.pixels // 8)
    run_start = np.concatenate([[0], np.cumsum(run_bytes)])
    within = np.arange(len(segments)) - np.repeat(starts, lengths)
    offsets = (np.repeat(run_start[:-1], lengths) * 8 + within * description.pixels).astype(np.int64)
    message = f"{PIXEL_DATA} starts each of {len(starts)} segments on a whole byte."
    return _Packing(offsets, int(run_start[-1]), [Finding("padded-segments", message)])


def _gaps_are_zero(value: Bytes, offsets: Offsets, pixels: int) -> bool:
    """Whether the bits behind each frame, up to the next frame or the end of the byte, are 0."""
    ends = offsets + pixels
    nexts = np.append(offsets[1:], -(-int(ends[-1]) // 8) * 8)
    ends, nexts = ends[nexts > ends], nexts[nexts > ends]
    masks = (0xFF << (ends % 8)) & 0xFF  # a gap is shorter than a byte and ends with it
    return not bool(np.any(value[ends // 8] & masks))


def _fits(length: int, need: int) -> bool:
    """Whether `need` bytes are `length` bytes, with or without the pad byte to even length."""
    return length in (need, need + need % 2)


def _trailing(length: int, need: int) -> list[Finding]:
    if length <= need + need % 2:
        return []
    message = f"{PIXEL_DATA} has {length} bytes, its frames take {need}."
    return [Finding("trailing-bytes", message, observed=str(length), expected=str(need), tag="(7FE0,0010)")]


def _shape(description: PixelDescription) -> tuple[int, int]:
    return description.rows, description.columns
