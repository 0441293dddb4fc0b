"""The frames of PixelData, one after the other, read a second way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from segtools.decode.pixels.codecs import codec_of
from segtools.decode.second.elements import unreadable
from segtools.decode.second.header import SecondHeader
from segtools.errors import UnsupportedSegError

Values = npt.NDArray[Any]
_NATIVE = frozenset(f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".1.99", ".2"))
_JPEG_END = b"\xff\xd9"
_STARTS = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "


def frame_count(header: SecondHeader) -> int:
    """Frames that two of three witnesses agree on: stated, described, held by PixelData.

    Raises
    ------
    CorruptSegError
        ``verify-unreadable``: PixelData has not a bit for each voxel, or not a fragment for each frame.
    """
    stated, described = header.stated_frames, len(header.frames)
    held = len(_fragments(header)[1]) if header.encapsulated else 0
    if not described and header.pixels is not None and not len(header.pixels):
        return 0  # nothing was segmented
    if not described or stated == described:
        count = stated or (held if header.encapsulated else int(header.pixels is not None))
    else:  # an absent NumberOfFrames means 1 where nothing else holds
        claims = (described, stated or 1)
        count = next((n for n in claims if _holds(header, n, held)), min(stated or described, described))
    size = header.rows * header.columns
    if count and (
        size == 0 or (count > held if header.encapsulated else count * size > 8 * len(header.pixels or b""))
    ):
        raise unreadable(f"PixelData cannot hold {count} frames of {header.rows} × {header.columns}")
    return count


def _holds(header: SecondHeader, count: int, held: int) -> bool:
    """Whether PixelData has the length of `count` frames."""
    if header.encapsulated:
        return held == count
    voxels, there = count * header.rows * header.columns, len(header.pixels or b"")
    sizes = {-(-voxels * bits // 8) for bits in (max(header.bits, 1), 8, 1)}  # some write bytes for bits
    return any(there in (size, size + size % 2) for size in sizes)


def frames_of(header: SecondHeader, count: int, numbers: list[int]) -> Iterator[Values]:
    """Flat stored values of each frame.

    Parameters
    ----------
    header : SecondHeader
    count : int
    numbers : list of int
        Segment of each frame; tells how an old writer padded.

    Raises
    ------
    CorruptSegError
        ``verify-unreadable``, ``codec-failed``.
    UnsupportedSegError
        ``unsupported-transfer-syntax``: no second decoder.
    """
    if not count:
        return
    if header.bits not in (1, 8, 16):
        raise unreadable(f"BitsAllocated is {header.bits}")
    if header.encapsulated:
        yield from _encapsulated(header, count)
    else:
        yield from _native(header, count, numbers)


def _native(header: SecondHeader, count: int, numbers: list[int]) -> Iterator[Values]:
    pixels, data = header.rows * header.columns, np.frombuffer(header.pixels or b"", np.uint8)
    if header.swapped and header.bits < 16:
        data = np.append(data, np.zeros(len(data) % 2, np.uint8)).reshape(-1, 2)[:, ::-1].ravel()
    if header.bits == 16:
        if len(data) < 2 * count * pixels:
            raise unreadable(f"PixelData has {len(data)} bytes for {count} frames of {2 * pixels}")
        words = data[: count * pixels * 2].view("<u2" if header.little else ">u2")
        yield from words.reshape(count, pixels)
    elif header.bits == 8 and len(data) >= count * pixels:
        yield from data[: count * pixels].reshape(count, pixels)
    elif 8 < count * pixels == len(data) - count * pixels % 2 and data.max() <= 1:
        yield from data[: count * pixels].reshape(count, pixels)  # a byte per voxel under BitsAllocated 1
    else:
        for start in _bit_offsets(header, data, pixels, numbers):
            end = start + pixels
            yield np.unpackbits(data[start // 8 : -(-end // 8)], bitorder="little")[start % 8 :][:pixels]


def _bit_offsets(
    header: SecondHeader, data: npt.NDArray[np.uint8], pixels: int, numbers: list[int]
) -> list[int]:
    """Where each frame of packed bits starts: without gaps, or on a byte per frame or per segment."""
    count = len(numbers)
    stride = -(-pixels // 8) * 8
    packed = [n * pixels for n in range(count)]
    padded = [n * stride for n in range(count)]
    aligned = [0]
    for before, after in pairwise(numbers):
        end = aligned[-1] + pixels
        aligned.append(end if before == after else -(-end // 8) * 8)
    candidates = [packed, padded, aligned]
    if "dcmjs" in header.manufacturer.lower():
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


def _encapsulated(header: SecondHeader, count: int) -> Iterator[Values]:
    table, fragments = _fragments(header)
    codec = codec_of(_syntax_of(header, fragments, count) if header.syntax in _NATIVE else header.syntax)
    if codec.second is None:
        raise UnsupportedSegError(
            "unsupported-transfer-syntax",
            f"{codec.name} cannot be decoded a second way: there is no other decoder of it here.",
            hint="Decode without --verify.",
            tag="(0002,0010)",
            value=header.syntax,
        )
    bounds = _frame_bounds(header, table, fragments, count)
    for begin, end in pairwise(bounds):
        yield codec.second(b"".join(fragments[begin:end]), header.rows, header.columns, header.bits)


def _fragments(header: SecondHeader) -> tuple[bytes, list[memoryview]]:
    """Value of the offset table, and of each fragment behind it (PS3.5 A.4)."""
    found, position, value = [], 0, header.pixels or memoryview(b"")
    while bytes(value[position : position + 4]) == b"\xfe\xff\x00\xe0":  # an item of fe ff 00 e0 | length
        length = int.from_bytes(value[position + 4 : position + 8], "little")
        if position + 8 + length > len(value):
            raise unreadable(f"a fragment of {length} bytes ends behind PixelData")
        found.append(value[position + 8 : position + 8 + length])
        position += 8 + length
    return (bytes(found[0]), found[1:]) if found else (b"", [])


def _syntax_of(header: SecondHeader, fragments: list[memoryview], count: int) -> str:
    """Transfer syntax that fragments look like, where the header names one without fragments."""
    head = bytes(fragments[0][:64]) if fragments else b""
    if head.startswith(_STARTS[1:]):
        return "1.2.840.10008.1.2.4.90"
    if head.startswith(_STARTS[0]):
        return "1.2.840.10008.1.2.4.80" if b"\xff\xf7" in head else "1.2.840.10008.1.2.4.70"
    if _is_rle(head):
        return "1.2.840.10008.1.2.5"
    size = -(-header.rows * header.columns * header.bits // 8)
    if len(fragments) == count and all(len(each) in (size, size + size % 2) for each in fragments):
        return "1.2.840.10008.1.2.1.98"
    raise unreadable("its fragments are of no known codec")


def _frame_bounds(header: SecondHeader, table: bytes, fragments: list[memoryview], count: int) -> list[int]:
    """First fragment of each frame, and one behind the last."""
    if len(fragments) == count:
        return list(range(count + 1))
    if count == 1 and fragments:
        return [0, len(fragments)]
    places, position = {}, 0
    for n, fragment in enumerate(fragments):
        places[position] = n
        position += 8 + len(fragment)
    for width, offsets in ((8, header.offsets), (4, table)):
        starts = [int.from_bytes(offsets[n : n + width], "little") for n in range(0, len(offsets), width)]
        bounds = [places.get(start, -1) for start in starts]
        if len(bounds) == count and bounds[0] == 0 and all(a < b for a, b in pairwise(bounds)):
            return [*bounds, len(fragments)]
    bounds = [0, *(n for n in range(1, len(fragments)) if _begins(fragments[n - 1], fragments[n]))]
    if len(bounds) != count:
        raise unreadable(f"{len(fragments)} fragments make {len(bounds)} frames, not {count}")
    return [*bounds, len(fragments)]


def _begins(before: memoryview, fragment: memoryview) -> bool:
    """Whether a fragment starts a frame: a codestream ended before it, or an RLE header stands in it."""
    head = bytes(fragment[:64])
    if head.startswith(_STARTS):
        return bytes(before[-4:]).rstrip(b"\0").endswith(_JPEG_END)
    return _is_rle(head)


def _is_rle(head: bytes) -> bool:
    """Whether 64 bytes are a header of one or two RLE segments: ``01 00 00 00 | 40 00 00 00 | 00 …``."""
    segments = int.from_bytes(head[:4], "little")
    return segments in (1, 2) and head[4:8] == b"\x40\0\0\0" and not any(head[4 + 4 * segments :])
