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

from segtools.decode.pixels.frames import (
    PIXEL_DATA,
    ArrayFrames,
    Frames,
    PackedFrames,
    PixelDescription,
    cut_off,
    too_short,
    unpacked_binary,
)
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.dicom.file import Element
    from segtools.decode.pixels.frames import Bytes, Offsets


def open_native(
    buffer: memoryview, element: Element, description: PixelDescription, strict: bool
) -> tuple[Frames, list[Finding]]:
    """Frames of native PixelData; parameters and errors as in `segtools.decode.pixels.open.open_frames`."""
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
            return PackedFrames(value, packing.offsets, description.shape), [finding, *packing.findings]
    findings = []
    if binary:
        findings.append(unpacked_binary(description))
    whole = min(description.frame_count, len(value) // description.frame_bytes)
    if whole < description.frame_count:
        findings.append(too_short(description, len(value), need, whole, strict))
    findings += _trailing(len(value), need)
    order = ">" if description.big_endian else "<"
    stored = value[: whole * description.frame_bytes].view(f"{order}u{description.bits_allocated // 8}")
    return ArrayFrames(stored.reshape(whole, *description.shape)), findings


def _open_bits(value: Bytes, description: PixelDescription, strict: bool) -> tuple[Frames, list[Finding]]:
    packing = _packing(value, description)
    if packing is not None:
        return PackedFrames(value, packing.offsets, description.shape), packing.findings
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
        return ArrayFrames(value[: frames * pixels].reshape(frames, *description.shape)), [finding]
    whole = min(frames, len(value) * 8 // pixels)
    findings = [too_short(description, len(value), need, whole, strict)] if whole < frames else []
    findings += _trailing(len(value), need)
    return PackedFrames(value, np.arange(whole, dtype=np.int64) * pixels, description.shape), findings


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
    # A gap is shorter than a byte and ends with it. A frame of 15 bits ends at bit 15: bit 7 of byte 1 is
    # the gap, 0xFF << 7 & 0xFF is 0x80.
    masks = (0xFF << (ends % 8)) & 0xFF
    return not bool(np.any(value[ends // 8] & masks))


def _fits(length: int, need: int) -> bool:
    """Whether `need` bytes are `length` bytes, with or without the pad byte to even length."""
    return length in (need, need + need % 2)


def _trailing(length: int, need: int) -> list[Finding]:
    if length <= need + need % 2:
        return []
    message = f"{PIXEL_DATA} has {length} bytes, its frames take {need}."
    return [Finding("trailing-bytes", message, observed=str(length), expected=str(need), tag="(7FE0,0010)")]
