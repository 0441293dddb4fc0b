"""Thousands of sequence items parsed at once.

The items of PerFrameFunctionalGroupsSequence (5200,9230) repeat one skeleton of tags and differ in
values only. So the first item is walked element by element; the walk becomes a template; the template
is then followed through all items in lock-step, one NumPy operation per element instead of one per
element and item. Every header of every item is compared with the template, and an item's end with
the next one's start: nothing is assumed. Items that differ get a template of their own; what is left
after `_MAX_TEMPLATES` is walked one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.dicom.elements import MAX_DEPTH, Cursor
from segtools.decode.dicom.functional_groups import PLACING, Wanted
from segtools.decode.dicom.headers import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    tag_text,
)
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.dicom.functional_groups import Chain

    Int64s = npt.NDArray[np.int64]

_MAX_TEMPLATES = 16
_MAX_STEPS = 1024
_WINDOW = 1 << 20
_MAX_MISSES = 64
_LOW_48, _HIGH_16 = np.uint64((1 << 48) - 1), np.uint64(48)
_LOW_32, _HIGH_32 = np.uint64((1 << 32) - 1), np.uint64(32)
# FE FF 0D E0 00 00 00 00, an item's delimiter, then FE FF 00 E0 FF FF FF FF, an item of undefined length.
_DELIMITER_AND_ITEM = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\x00\xe0\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Value:
    """Where a wanted value lies in each item.

    Attributes
    ----------
    offset : (F,) int64 ndarray, bytes
        -1 where the item lacks it.
    length : (F,) int64 ndarray, bytes
    """

    offset: Int64s
    length: Int64s


@dataclass(frozen=True, slots=True)
class Items:
    """Items of a sequence.

    Attributes
    ----------
    count : int
    values : dict of Chain to Value
        The first value of each path.
    more : dict of Chain to list of (rows, offsets, lengths)
        Further values of a path, of items with several; int64 ndarrays of one length.
    after : int, bytes
        Where the sequence ends.
    cursor : Cursor
        The encoding of the items.
    walked : int
        Items that fitted no template and were walked one by one.
    """

    count: int
    values: dict[Chain, Value]
    more: dict[Chain, list[tuple[Int64s, Int64s, Int64s]]]
    after: int
    cursor: Cursor
    walked: int = 0

    def value(self, chain: Chain) -> Value | None:
        """Return the first value of that path; None where no item has it."""
        return self.values.get(chain)

    def rows(self, chain: Chain) -> list[tuple[Int64s, Int64s, Int64s]]:
        """Items, offsets and lengths of all values of that path, in no order."""
        found = list(self.more.get(chain, []))
        if (value := self.value(chain)) is not None:
            has = np.flatnonzero(value.offset >= 0)
            found.append((has, value.offset[has], value.length[has]))
        return found

    def every(self, chain: Chain) -> tuple[Int64s, Int64s]:
        """Offsets and lengths of all values of that path, in file order."""
        found = self.rows(chain)
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        offsets, lengths = (np.concatenate([each[n] for each in found]) for n in (1, 2))
        order = np.argsort(offsets, kind="stable")
        return offsets[order], lengths[order]


@dataclass(frozen=True, slots=True)
class _Step:
    """One header of the template.

    `kind` is ``value`` (skipped by its length), ``open`` (undefined length), ``bounded`` (defined
    length, looked into), ``close`` (the end of a bounded one) or ``mark`` (a delimiter).
    """

    kind: str
    expected: int = 0
    header: int = 8
    capture: tuple[Chain, int] | None = None


@dataclass(slots=True)
class _Trace:
    """One item, walked element by element."""

    wanted: Wanted
    steps: list[_Step] = field(default_factory=list)
    captures: dict[tuple[Chain, int], tuple[int, int]] = field(default_factory=dict)
    ordinals: dict[Chain, int] = field(default_factory=dict)
    end: int = 0
    last: str = ""


def parse_items(cursor: Cursor, start: int, end: int | None, wanted: Wanted = PLACING) -> Items:
    """Items of a sequence and where their wanted values lie.

    Parameters
    ----------
    cursor : Cursor
        The encoding of the items.
    start : int, bytes
        Where the first item starts.
    end : int or None, bytes
        Where the sequence ends; None if its length is undefined.
    wanted : Wanted
        Paths of the values that are looked for.

    Raises
    ------
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``too-deep``.
    """
    limit = cursor.size if end is None else end
    for pattern in _patterns(cursor, start, limit):
        starts, ends, after = _locate(cursor, start, limit, pattern)
        items = _follow(cursor, starts, ends, limit, after, wanted)
        if items is not None:
            return items
    raise CorruptSegError("malformed-structure", f"The items at byte {start} contradict each other.")


def _patterns(cursor: Cursor, start: int, limit: int) -> list[re.Pattern[bytes] | None]:
    """What may stand between two items, the most telling first; at last nothing: walk all of them.

    A sequence within the items looks the same, but starts with another element.
    """
    if not cursor.little_endian:
        return [None]
    head = cursor.raw[start + 8 : min(start + 14, limit)]
    return [
        re.compile(re.escape(_DELIMITER_AND_ITEM + head)),
        re.compile(re.escape(_DELIMITER_AND_ITEM)),
        None,
    ]


def _locate(
    cursor: Cursor, position: int, limit: int, pattern: re.Pattern[bytes] | None
) -> tuple[Int64s, Int64s, int]:
    """Start and end of every item, and the end of the sequence.

    Items with a length are hopped over. Those without are searched by the bytes between two of them
    (checked afterwards by `_follow`); where the search finds none in a window, the item is walked.
    """
    starts: list[int] = []
    apart: dict[int, int] = {}  # ends of items that the next one does not follow at once
    last, misses, after = position, 0, limit
    while position < limit:
        content, length = cursor.item(position, limit)
        if length == -1:
            after = content
            break
        if content - 8 != position and starts:
            apart[len(starts) - 1] = last
        starts.append(content - 8)
        if length != UNDEFINED:
            position = last = content + length
            continue
        if pattern is not None:
            while found := _search(pattern, cursor, starts[-1] + 8, limit):
                starts += found
            content = starts[-1] + 8
            misses += 1
            if misses > _MAX_MISSES:
                pattern = None  # a search that finds nothing costs a window: keep the whole linear
        position = last = cursor.skip_item(content, limit)
    ends = np.array([*starts[1:], last], np.int64) if starts else np.zeros(0, np.int64)
    for row, end in apart.items():
        ends[row] = end
    return np.array(starts, np.int64), ends, after


def _search(pattern: re.Pattern[bytes], cursor: Cursor, position: int, limit: int) -> list[int]:
    window = min(position + _WINDOW, limit)
    return [match.start() + 8 for match in pattern.finditer(cursor.raw, position, window)]


def _follow(
    cursor: Cursor, starts: Int64s, ends: Int64s, limit: int, after: int, wanted: Wanted
) -> Items | None:
    """Follow templates through the items; None if an item does not end where the next one starts."""
    count = len(starts)
    found = _Found(count)
    pending = np.arange(count)
    templates = walked = 0
    reader = _Lockstep(cursor, limit) if count > 4 and cursor.little_endian else None
    while len(pending):
        first = int(pending[0])
        trace = _trace(cursor, int(starts[first]), limit, wanted)
        if trace.end != ends[first]:
            return None
        for key, (offset, length) in trace.captures.items():
            found.add(key, np.array([first]), np.array([offset]), np.array([length]))
        pending = pending[1:]
        walked += 1
        if reader is None or templates >= _MAX_TEMPLATES or len(trace.steps) > _MAX_STEPS:
            continue
        templates += 1
        done = reader.run(trace.steps, starts, ends, pending, found)
        pending = pending[~done]
    return Items(count, found.values, found.more, after, cursor, walked)


class _Found:
    """Wanted values of the items followed so far."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: dict[Chain, Value] = {}
        self.more: dict[Chain, list[tuple[Int64s, Int64s, Int64s]]] = {}

    def add(self, key: tuple[Chain, int], rows: Int64s, offset: Int64s, length: Int64s) -> None:
        """Note one value of some items; `key` is its path and its ordinal in the item."""
        chain, ordinal = key
        if ordinal:
            self.more.setdefault(chain, []).append((rows, offset, length))
            return
        if chain not in self.values:
            self.values[chain] = Value(np.full(self.count, -1, np.int64), np.zeros(self.count, np.int64))
        self.values[chain].offset[rows] = offset
        self.values[chain].length[rows] = length


def _trace(cursor: Cursor, position: int, limit: int, wanted: Wanted) -> _Trace:
    """Walk one item into its template and its wanted values."""
    trace = _Trace(wanted)
    # What is open: path, whether it is an item, where it ends (None: at its delimiter), encoding.
    opened: list[tuple[Chain, bool, int | None, Cursor]] = []
    position = _open_item(trace, opened, cursor, (), position, limit)
    while opened:
        path, is_item, bound, reader = opened[-1]
        if bound is not None and position >= bound:
            if position > bound:
                raise CorruptSegError("malformed-structure", f"An element overruns its item at byte {bound}.")
            opened.pop()
            trace.last = "" if is_item else "SQ"
            trace.steps.append(_Step("close"))
            continue
        inner_limit = limit if bound is None else bound
        if not is_item:
            tag, _, _, _ = reader.header(position, inner_limit)
            if tag == SEQUENCE_END and bound is None:
                opened.pop()
                trace.steps.append(_Step("mark", SEQUENCE_END))
                position += 8
            elif tag in (ITEM_END, SEQUENCE_END):
                reader.oddities.note("odd-delimiter", "A delimiter stands where nothing is open", position)
                trace.steps.append(_Step("mark", tag))
                position += 8
            else:
                position = _open_item(trace, opened, reader, path, position, inner_limit)
            continue
        position = _element(trace, opened, position, inner_limit)
    trace.end = position
    return trace


def _open_item(
    trace: _Trace,
    opened: list[tuple[Chain, bool, int | None, Cursor]],
    cursor: Cursor,
    path: Chain,
    position: int,
    limit: int,
) -> int:
    content, length = cursor.item(position, limit)
    if length == -1:
        raise CorruptSegError("malformed-structure", f"A delimiter without a sequence at byte {position}.")
    undefined = length == UNDEFINED
    trace.steps.append(_Step("open" if undefined else "bounded", ITEM))
    opened.append((path, True, None if undefined else content + length, cursor))
    return content


def _element(
    trace: _Trace,
    opened: list[tuple[Chain, bool, int | None, Cursor]],
    position: int,
    limit: int,
) -> int:
    path, _, bound, cursor = opened[-1]
    tag, vr, length, offset = cursor.header(position, limit)
    if tag == ITEM_END:
        if bound is None:
            opened.pop()
        else:
            cursor.oddities.note("odd-delimiter", "An item with a length has a delimiter", position)
        trace.steps.append(_Step("mark", ITEM_END))
        return offset
    if tag == SEQUENCE_END and bound is None and trace.last != "SQ":
        cursor.closes_item(position)  # its own delimiter is missing: the sequence's is seen again above
        opened.pop()
        return position
    trace.last = "SQ" if vr == "SQ" and length != UNDEFINED else ""
    chain = (*path, tag)
    # The VR as in the file, which need not exist.
    code = cursor.raw[position + 4 : position + 6] if cursor.explicit and tag >> 16 != 0xFFFE else b""
    expected = tag | int.from_bytes(code, "little") << 32
    header = offset - position
    undefined = length == UNDEFINED
    if not undefined and offset + length > limit:
        raise CorruptSegError(
            "truncated" if limit == cursor.size else "malformed-structure",
            f"{tag_text(tag)} at byte {position} states {length} bytes; {limit - offset} are left.",
            tag=tag_text(tag),
        )
    if undefined or (chain in trace.wanted.prefixes and vr in ("SQ", "UN", "")):
        if len(opened) >= 2 * MAX_DEPTH:
            raise CorruptSegError("too-deep", f"Sequences are nested more than {MAX_DEPTH} deep.")
        inner = cursor.inner(tag, vr, position, offset, limit) if undefined or vr == "UN" else cursor
        trace.steps.append(_Step("open" if undefined else "bounded", expected, header))
        opened.append((chain, False, None if undefined else offset + length, inner))
        return offset
    capture = None
    if chain in trace.wanted.chains:
        ordinal = trace.ordinals.get(chain, 0)
        trace.ordinals[chain] = ordinal + 1
        capture = (chain, ordinal)
        trace.captures[capture] = (offset, length)
    trace.steps.append(_Step("value", expected, header, capture))
    return offset + length


class _Lockstep:
    """Reads headers at many positions of a little-endian buffer at once."""

    def __init__(self, cursor: Cursor, limit: int) -> None:
        self.cursor = cursor
        self.limit = limit
        # One uint64 per byte of the buffer, overlapping: an index is a byte position.
        self.words = np.ndarray((max(cursor.size - 7, 0),), "<u8", cursor.raw, strides=(1,))

    def run(
        self,
        steps: list[_Step],
        starts: Int64s,
        ends: Int64s,
        pending: Int64s,
        found: _Found,
    ) -> npt.NDArray[np.bool_]:
        """Follow a template through the `pending` items; which of them fitted it to the end."""
        alive = np.arange(len(pending))
        position = starts[pending]
        bounds: list[Int64s] = []
        captured: list[tuple[tuple[Chain, int], Int64s, Int64s]] = []
        for step in steps:
            if step.kind == "close":
                length, offset = None, position
                fits = position == bounds.pop()
            else:
                length, offset, fits = self._header(step, position)
            if not fits.all():
                keep = np.flatnonzero(fits)
                if not len(keep):
                    return np.zeros(len(pending), np.bool_)
                alive, offset = alive[keep], offset[keep]
                length = None if length is None else length[keep]
                bounds = [bound[keep] for bound in bounds]
                captured = [(key, o[keep], n[keep]) for key, o, n in captured]
            position = offset
            if step.kind == "bounded":
                assert length is not None  # noqa: S101 - only `close` has none
                bounds.append(offset + length)
            elif step.kind == "value":
                assert length is not None  # noqa: S101 - only `close` has none
                if step.capture is not None:
                    captured.append((step.capture, offset, length))
                position = offset + length
        fits = position == ends[pending[alive]]
        done = np.zeros(len(pending), np.bool_)
        done[alive[fits]] = True
        rows = pending[alive[fits]]
        for key, offset, length in captured:
            found.add(key, rows, offset[fits], length[fits])
        return done

    def _header(self, step: _Step, position: Int64s) -> tuple[Int64s, Int64s, npt.NDArray[np.bool_]]:
        """Stated length and value offset at each position, and whether the header is the expected one.

        One word of 8 bytes holds a header. Of ReferencedSegmentNumber the file has
        ``62 00 0B 00 55 53 02 00``: group, element, ``US``, length 2; the little-endian word is
        0x0002_5355_000B_0062. Its low 48 bits, 0x5355_000B_0062, are tag and VR and are compared; its
        high 16 bits, 0x0002, are the length. Of a VR of the long form (``53 51 00 00 7E 01 00 00``: SQ,
        reserved, length 0x17E) the length is the high half of the word that starts 4 bytes later. In
        implicit VR, and of items (``FE FF 00 E0 0A 00 00 00``), the low 32 bits are the tag, the high
        32 the length.
        """
        room = position + step.header <= self.limit
        at = position if room.all() else np.where(room, position, 0)
        word = self.words[at]
        # A tag is two 16-bit halves, each little endian: 0x0062_000B stands as 62 00 0B 00, which is the
        # number 0x000B_0062. So the halves change places; the VR stays above them.
        tag = step.expected & 0xFFFFFFFF
        swapped = (tag >> 16) | (tag & 0xFFFF) << 16 | (step.expected >> 32) << 32
        if self.cursor.explicit and tag >> 16 != 0xFFFE:
            fits = (word & _LOW_48) == np.uint64(swapped)
            if step.header == 8:
                length = (word >> _HIGH_16).astype(np.int64)
            else:
                length = (self.words[at + 4] >> _HIGH_32).astype(np.int64)
        else:
            fits = (word & _LOW_32) == np.uint64(swapped & 0xFFFFFFFF)
            length = (word >> _HIGH_32).astype(np.int64)
        if step.kind == "open":
            fits &= length == UNDEFINED
        elif step.kind == "mark":
            fits &= room
        else:
            fits &= length != UNDEFINED
        return length, position + step.header, fits & room
