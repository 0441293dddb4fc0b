"""Edge cases E107 to E111: elements, delimiters and encodings that break the rules."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from tests.factories import seg as S
from tests.factories.case import (
    Answer,
    Case,
    answer,
    bad,
    labelled,
    masks,
)
from tests.factories.seg import SegFactory, element

ODD, DELIMITER, CONTRADICTS = "odd-element", "odd-delimiter", "encoding-contradicts-header"
ITEM_END, SEQUENCE_END = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
LEFT_OUT = b"\xff\xff\xff\xff"


def encoding_cases() -> list[Case]:
    """All of them."""
    return [*_odd_elements(), *_unknown(), *_delimiters(), *_contradicting(), *_pixels()]


def _read(
    id: str, title: str, data: Callable[[], bytes], right: Answer, *codes: str, may: tuple[str, ...] = ()
) -> Case:
    return Case(id, title, data, right, findings=frozenset(codes), may=frozenset(may))


def _swapped(seg: SegFactory, *pairs: tuple[bytes, bytes]) -> Callable[[], bytes]:
    """The file with bytes replaced, wherever they occur."""

    def build() -> bytes:
        data = seg.build()
        for old, new in pairs:
            assert old in data, old
            data = data.replace(old, new)
        return data

    return build


def _odd_elements() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    right = answer(seg, of)
    open_ended = seg.but(undefined_length=True)
    maker = element(0x0008, 0x0070, "LO", "Factory ")
    patient = element(0x0010, 0x0010, "PN", "Phantom^One ")
    head = maker[:4]
    value = maker[8:]
    implicit = head + struct.pack("<I", len(value)) + value
    long_form = head + b"ZZ\0\0" + struct.pack("<I", len(value)) + value
    rows = element(0x0028, 0x0010, "US", struct.pack("<H", 7))
    dimensions = b"\x20\0\x21\x92"
    index = b"\x20\0\x57\x91UL\x08\0"
    position = b"\x20\0\x32\0DS"
    private = (
        b"\x09\0\x10\0" + struct.pack("<I", 4) + b"PRIV" + b"\x09\0\x01\x10" + struct.pack("<I", 2) + b"x "
    )
    return [
        _read("E107", "an invented VR", _swapped(seg, (maker, head + b"XX" + maker[6:])), right, ODD),
        _read(
            "E107:lower", "a VR in lower case", _swapped(seg, (maker, head + b"lo" + maker[6:])), right, ODD
        ),
        _read(
            "E107:mixed", "a VR in mixed case", _swapped(seg, (maker, head + b"Lo" + maker[6:])), right, ODD
        ),
        _read(
            "E107:long",
            "an invented VR, with a length of four bytes",
            _swapped(seg, (maker, long_form)),
            right,
            ODD,
        ),
        _read("E107:implicit", "an element without VR", _swapped(seg, (maker, implicit)), right, ODD),
        _read(
            "E107:two",
            "private elements without VR",
            _swapped(seg, (patient, private + patient)),
            right,
            ODD,
        ),
        _read(
            "E107:needed",
            "Rows with its VR in lower case",
            _swapped(seg, (rows, rows[:4] + b"us" + rows[6:])),
            right,
            ODD,
        ),
        _read(
            "E107:sequence",
            "a sequence with its VR in lower case",
            _swapped(seg, (dimensions + b"SQ", dimensions + b"sq")),
            right,
            ODD,
        ),
        _read(
            "E107:frames",
            "a VR in lower case in every frame",
            _swapped(seg, (index, index[:4] + b"ul" + index[6:])),
            right,
            ODD,
        ),
        _read(
            "E107:positions",
            "positions with their VR in lower case",
            _swapped(seg, (position, position[:4] + b"ds")),
            right,
            ODD,
        ),
        _read(
            "E107:open",
            "positions with their VR in lower case, in items of undefined length",
            _swapped(open_ended, (position, position[:4] + b"ds")),
            right,
            ODD,
        ),
        bad(
            "E107:none",
            "a VR that no length fits",
            _swapped(seg, (maker, head + b"\x01\x02\xff\x7f" + value)),
            "malformed-structure",
        ),
    ]


def _hide(ds: Dataset, keyword: str, *, explicit: bool) -> None:
    """Make a sequence a UN element of defined length, with its items in implicit or explicit VR."""
    whole = Dataset()
    whole[keyword] = ds[keyword]
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = not explicit, True
    write_dataset(buffer, whole)
    _add_unknown(ds, int(ds[keyword].tag), buffer.getvalue()[12 if explicit else 8 :])


def _add_unknown(ds: Dataset, tag: int, value: bytes) -> None:
    """Set a UN element; pydicom would make one of a known tag what its dictionary says."""
    unknown = DataElement(tag, "OB", value)
    unknown.VR = "UN"
    ds[tag] = unknown


def _unknown() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    right = answer(seg, of)

    def hidden(*keywords: str, explicit: bool = False, frames: str = "") -> SegFactory:
        def edit(ds: Dataset) -> None:
            if frames:
                for groups in ds.PerFrameFunctionalGroupsSequence:
                    _hide(groups, frames, explicit=explicit)
            for keyword in keywords:
                _hide(ds, keyword, explicit=explicit)

        return seg.but(edit=edit)

    def values(ds: Dataset) -> None:
        _add_unknown(ds, 0x00280008, b"8 ")
        _add_unknown(ds, 0x00280010, b"\x07\0")

    def algorithm(ds: Dataset) -> None:
        for item in ds.SegmentSequence:
            _hide(item, "SegmentedPropertyTypeCodeSequence", explicit=False)

    groups = "PerFrameFunctionalGroupsSequence"
    shared, segments = "SharedFunctionalGroupsSequence", "SegmentSequence"
    named = {"check": _has_types}
    return [
        replace(_read("E108", "SegmentSequence as UN", hidden(segments).build, right), **named),
        replace(_read("E108:codes", "code sequences as UN", seg.but(edit=algorithm).build, right), **named),
        _read("E108:frames", "functional groups as UN", hidden(groups).build, right),
        _read("E108:shared", "shared functional groups as UN", hidden(shared).build, right),
        _read("E108:all", "all sequences as UN", hidden(segments, shared, groups).build, right),
        _read(
            "E108:nested", "PlanePositionSequence as UN", hidden(frames="PlanePositionSequence").build, right
        ),
        _read("E108:values", "Rows and NumberOfFrames as UN", seg.but(edit=values).build, right),
        _read(
            "E108:explicit",
            "SegmentSequence as UN, explicit VR inside",
            hidden(segments, explicit=True).build,
            right,
            ODD,
        ),
        _read(
            "E108:explicit-frames",
            "functional groups as UN, explicit VR inside",
            hidden(groups, explicit=True).build,
            right,
            ODD,
        ),
        _read(
            "E108:explicit-shared",
            "shared groups as UN, explicit VR inside",
            hidden(shared, explicit=True).build,
            right,
            ODD,
        ),
        _read(
            "E108:explicit-nested",
            "PlanePositionSequence as UN, explicit VR inside",
            hidden(frames="PlanePositionSequence", explicit=True).build,
            right,
            ODD,
        ),
    ]


def _has_types(volume: object) -> None:
    assert [segment.type.meaning for segment in volume.segments] == ["Liver", "Liver"]  # type: ignore[attr-defined]


def _delimiters() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    right = answer(seg, of)
    open_ended = seg.but(undefined_length=True)
    number = element(0x0062, 0x000B, "US", b"\1\0")
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(number)) + number
    stray = ITEM_END + SEQUENCE_END
    maker = element(0x0008, 0x0070, "LO", "Factory ")
    organization = b"\x20\0\x21\x92SQ\0\0"
    return [
        _read(
            "E109",
            "the last item of every sequence lacks its delimiter",
            _swapped(open_ended, (stray, SEQUENCE_END)),
            right,
            DELIMITER,
        ),
        _read(
            "E109:stray",
            "delimiters where nothing is open",
            _swapped(seg, (maker, maker + stray)),
            right,
            DELIMITER,
        ),
        _read(
            "E109:sequence",
            "a sequence delimiter behind a sequence with a length",
            lambda: _behind(seg.build(), organization),
            right,
            DELIMITER,
        ),
        _read(
            "E109:item",
            "an item delimiter behind every item with a length",
            _swapped(open_ended, (b"\xfe\xff\x00\xe0" + LEFT_OUT + number + ITEM_END, item + ITEM_END)),
            right,
            DELIMITER,
        ),
    ]


def _behind(data: bytes, header: bytes) -> bytes:
    """A sequence delimiter behind the top-level sequence with that header and a length."""
    at = data.index(header)
    end = at + 12 + int.from_bytes(data[at + 8 : at + 12], "little")
    return data[:end] + SEQUENCE_END + data[end:]


def _contradicting() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    right = answer(seg, of)
    implicit, big, deflated = (seg.but(syntax=uid) for uid in (S.IMPLICIT, S.BIG_ENDIAN, S.DEFLATED))
    large = SegFactory.of_masks({1: np.ones((4, 1200, 1200), bool)})

    def meta_in_implicit(of: SegFactory) -> Callable[[], bytes]:
        def build() -> bytes:
            meta = of._meta()
            body, position = b"", 0
            while position < len(meta):
                is_long = meta[position + 4 : position + 6] == b"OB"
                start = position + (12 if is_long else 8)
                size = (
                    meta[position + 8 : position + 12]
                    if is_long
                    else meta[position + 6 : position + 8] + b"\0\0"
                )
                end = start + int.from_bytes(size, "little")
                body += meta[position : position + 4] + size + meta[start:end]
                position = end
            return of.build().replace(meta, body, 1)

        return build

    compressed = SegFactory.of_labels(labelled(), syntax=S.RLE)
    labels = answer(compressed, {n: labelled() == n for n in (1, 2)})
    return [
        _read(
            "E110", "Implicit VR named, Explicit VR there", lambda: seg.named(S.IMPLICIT), right, CONTRADICTS
        ),
        _read(
            "E110:explicit",
            "Explicit VR named, Implicit VR there",
            lambda: implicit.named(S.EXPLICIT),
            right,
            CONTRADICTS,
        ),
        _read(
            "E110:large",
            "Implicit VR named, Explicit VR there, in a file that is larger than the lengths misread",
            lambda: large.named(S.IMPLICIT),
            answer(large, {1: np.ones((4, 1200, 1200), bool)}),
            CONTRADICTS,
        ),
        _read(
            "E110:big",
            "Big Endian named, Little Endian there",
            lambda: seg.named(S.BIG_ENDIAN),
            right,
            CONTRADICTS,
        ),
        _read(
            "E110:little",
            "Little Endian named, Big Endian there",
            lambda: big.named(S.EXPLICIT),
            right,
            CONTRADICTS,
        ),
        _read(
            "E110:deflated", "Deflated named, not deflated", lambda: seg.named(S.DEFLATED), right, CONTRADICTS
        ),
        _read(
            "E110:not-deflated",
            "Explicit VR named, deflated",
            lambda: deflated.named(S.EXPLICIT),
            right,
            CONTRADICTS,
        ),
        _read("E110:meta", "the meta group in Implicit VR", meta_in_implicit(implicit), right, CONTRADICTS),
        _read(
            "E110:meta-only", "only the meta group in Implicit VR", meta_in_implicit(seg), right, CONTRADICTS
        ),
        _read(
            "E110:meta-RLE",
            "the meta group of an RLE file in Implicit VR",
            meta_in_implicit(compressed),
            labels,
            CONTRADICTS,
        ),
        bad(
            "E110:lengths",
            "a sequence beyond the end of a file that is whole",
            lambda: _longer(seg.build(), b"\x62\0\x02\0SQ\0\0"),
            "malformed-structure",
        ),
    ]


def _longer(data: bytes, header: bytes) -> bytes:
    at = data.index(header) + len(header)
    return data[:at] + struct.pack("<I", 1 << 20) + data[at + 4 :]


def _pixels() -> list[Case]:
    of = masks((4, 34, 38))
    seg = SegFactory.of_masks(of)
    labels = labelled((3, 34, 38))
    label_map = SegFactory.of_labels(labels)
    right, right_labels = answer(seg, of), answer(label_map, {n: labels == n for n in (1, 2)})
    open_length = seg.but(pixel_length=0xFFFFFFFF)

    def fragments(uid: str, of: SegFactory = label_map) -> Callable[[], bytes]:
        return lambda: of.but(syntax=uid).named(S.EXPLICIT)

    native = {
        "RLE": S.RLE,
        "JPEG-2000": S.JPEG_2000,
        "JPEG-LS": S.JPEG_LS,
        "deflated-frames": S.DEFLATED_FRAME,
    }
    named: Mapping[str, Case] = {
        name: _read(
            f"E111:{name}",
            f"{name} named, native pixels there",
            lambda uid=uid: label_map.named(uid),
            right_labels,
            CONTRADICTS,
        )
        for name, uid in native.items()
    }
    return [
        _read("E111", "RLE named, native bits there", lambda: seg.named(S.RLE), right, CONTRADICTS),
        *named.values(),
        _read(
            "E111:open",
            "native pixels of undefined length, without items",
            open_length.build,
            right,
            CONTRADICTS,
        ),
        _read(
            "E111:open-RLE",
            "RLE named, pixels of undefined length without items",
            lambda: open_length.named(S.RLE),
            right,
            CONTRADICTS,
        ),
        _read(
            "E111:closed",
            "and closed by a sequence delimiter",
            lambda: open_length.build() + SEQUENCE_END,
            right,
            CONTRADICTS,
        ),
        _read(
            "E111:is-RLE", "native named, RLE fragments there", fragments(S.RLE), right_labels, CONTRADICTS
        ),
        _read(
            "E111:is-JPEG-2000",
            "native named, JPEG 2000 fragments there",
            fragments(S.JPEG_2000),
            right_labels,
            CONTRADICTS,
        ),
        _read(
            "E111:is-JPEG-LS",
            "native named, JPEG-LS fragments there",
            fragments(S.JPEG_LS),
            right_labels,
            CONTRADICTS,
        ),
        _read(
            "E111:is-wrapped",
            "native named, uncompressed fragments there",
            fragments(S.ENCAPSULATED_UNCOMPRESSED),
            right_labels,
            CONTRADICTS,
        ),
        bad(
            "E111:neither",
            "RLE named, bytes that are neither fragments nor as long as the frames",
            lambda: seg.but(pixel_bytes=seg.native_pixels() + b"\1" * 6).named(S.RLE),
            "malformed-structure",
        ),
        bad(
            "E111:unknown",
            "native named, fragments of no known codec",
            fragments(S.DEFLATED_FRAME),
            "malformed-structure",
        ),
    ]
