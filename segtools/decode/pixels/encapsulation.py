"""Encapsulated PixelData: which fragments make which frame (PS3.5 A.4), following lengths only.

The items are believed, offset tables are not: a table that contradicts the items is reported, and
needed only where frames have several fragments and nothing in the fragments tells them apart.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.pixels.frames import PIXEL_DATA, PixelDescription
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.decode.dicom.file import Element
    from segtools.decode.pixels.frames import Offsets, PixelDescription

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class Fragments:
    """The fragments of PixelData and the frames they make.

    Attributes
    ----------
    starts, lengths : (N,) int64 ndarray, bytes
        Of each fragment in the file, the offset table excluded.
    first : (F + 1,) int64 ndarray
        Frame ``n`` is fragments ``first[n]`` to ``first[n + 1]``, exclusive.
    """

    starts: Offsets
    lengths: Offsets
    first: Offsets

    @property
    def frame_count(self) -> int:
        """Frames."""
        return len(self.first) - 1

    def frame(self, buffer: memoryview, n: int) -> bytes:
        """Compressed bytes of frame `n`."""
        parts = range(int(self.first[n]), int(self.first[n + 1]))
        return b"".join(buffer[self.starts[i] : self.starts[i] + self.lengths[i]] for i in parts)


def read_fragments(
    buffer: memoryview,
    element: Element,
    description: PixelDescription,
    *,
    strict_length: bool,
    extended_offsets: memoryview | None,
    starts_frame: Callable[[bytes], bool],
) -> tuple[Fragments, list[Finding]]:
    """Fragments of encapsulated PixelData, attributed to frames.

    Parameters
    ----------
    buffer, element, description, strict_length, extended_offsets
        As in `segtools.decode.pixels.open.open_frames`.
    starts_frame : callable
        Whether the first bytes of a fragment can start a frame of the codec.

    Raises
    ------
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``frame-count-mismatch``.
    """
    starts, lengths, whole = _walk(buffer, element)
    if len(starts) < 2 or (strict_length and not whole):
        raise CorruptSegError(
            "truncated",
            f"{PIXEL_DATA} ends within or before an item, after {max(len(starts) - 1, 0)} whole fragments.",
            tag="(7FE0,0010)",
        )
    basic = np.frombuffer(buffer[starts[0] : starts[0] + lengths[0] // 4 * 4], "<u4")
    extended = np.frombuffer((extended_offsets or b"")[: len(extended_offsets or b"") // 8 * 8], "<u8")
    tables = [table.astype(np.int64) for table in (extended, basic) if len(table)]
    items = _Items(buffer, starts[1:], lengths[1:], starts_frame)
    return _attribute(items, tables, description, strict=strict_length)


@dataclass(frozen=True)
class _Items:
    """Fragments not yet attributed to frames."""

    buffer: memoryview
    starts: Offsets
    lengths: Offsets
    starts_frame: Callable[[bytes], bool]

    def frame_marks(self) -> Offsets:
        """(F + 1,) first fragment of each frame, by how fragments start; the first always does."""
        heads = (
            bytes(self.buffer[s : s + min(n, 64)]) for s, n in zip(self.starts, self.lengths, strict=True)
        )
        marks = [i for i, head in enumerate(heads) if i == 0 or self.starts_frame(head)]
        return np.array([*marks, len(self.starts)])


def _walk(buffer: memoryview, element: Element) -> tuple[Offsets, Offsets, bool]:
    """Value offset and length of every whole item, the table's first; and whether none is cut off."""
    starts, lengths = array("q"), array("q")
    position = element.offset
    stated = element.end if element.length < 0 else element.offset + element.length
    end = min(stated, len(buffer))
    while position + 8 <= end:
        tag = buffer[position : position + 4]
        length = int.from_bytes(buffer[position + 4 : position + 8], "little")
        if tag == _DELIMITER:
            position = stated
            break
        if tag != _ITEM or length == 0xFFFFFFFF:
            raise CorruptSegError(
                "malformed-structure",
                f"{PIXEL_DATA} has {bytes(tag).hex(' ')} with length {length:#x} at byte {position}, "
                f"where an item (FFFE,E000) of defined length must be.",
                tag="(7FE0,0010)",
                offset=position,
            )
        if position + 8 + length > end:
            break
        starts.append(position + 8)
        lengths.append(length)
        position += 8 + length
    return np.frombuffer(starts, np.int64), np.frombuffer(lengths, np.int64), position == stated


def _attribute(
    fragments: _Items,
    tables: list[Offsets],
    description: PixelDescription,
    *,
    strict: bool,
) -> tuple[Fragments, list[Finding]]:
    """Fragments by frame: one each, or as a sound offset table says, or by how frames start."""
    frames, count = description.frame_count, len(fragments.starts)
    by_table = [_from_table(table, fragments.starts, frames) for table in tables]
    sound = next((first for first in by_table if first is not None), None)
    findings: list[Finding] = []
    if count == frames:
        first = np.arange(frames + 1)
    elif frames == 1:
        first = np.array([0, count])
    elif count > frames and sound is not None:
        first = sound
    else:
        first = fragments.frame_marks()
        if len(first) - 1 != frames:
            findings.append(_other_count(count, len(first) - 1, frames, strict))
    if any(table is None or not np.array_equal(table, first) for table in by_table):
        message = f"The offset table of {PIXEL_DATA} contradicts where its items start."
        findings.append(Finding("offset-table-ignored", message, tag="(7FE0,0010)"))
    return Fragments(fragments.starts, fragments.lengths, first.astype(np.int64)), findings


def _other_count(fragments: int, have: int, need: int, strict: bool) -> Finding:
    message = f"{fragments} fragments of {PIXEL_DATA} make {have} frames; {need} are described."
    if strict or not 0 < have < need:
        raise CorruptSegError(
            "frame-count-mismatch", message, tag="(7FE0,0010)", observed=have, expected=need
        )
    return Finding("truncated-frames", message, observed=str(have), expected=str(need), tag="(7FE0,0010)")


def _from_table(table: Offsets, starts: Offsets, frames: int) -> Offsets | None:
    """First fragment of each frame after an offset table; None if the table contradicts the items."""
    if len(table) != frames or not len(starts):
        return None
    items = starts - starts[0]  # offsets count from the first item's tag, both 8 bytes before the values
    first = np.searchsorted(items, table)
    if first[0] or first.max() >= len(items) or np.any(np.diff(first) <= 0) or np.any(items[first] != table):
        return None
    return np.append(first, len(starts))
