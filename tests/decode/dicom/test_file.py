"""Elements and top-level structure: every encoding, every lie about a length."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from segtools.decode.dicom.elements import MAX_DEPTH
from segtools.decode.dicom.file import open_structure, parse_decimals
from segtools.errors import CorruptSegError, NotSegError
from tests.factories import seg as S
from tests.factories.case import masks
from tests.factories.seg import SegFactory, element

ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
UNDEFINED = b"\xff\xff\xff\xff"
TAIL = element(0x0042, 0x0010, "ST", "behind")


def sequence(*items: bytes, group: int = 0x0040, number: int = 0x0275, vr: bytes = b"SQ") -> bytes:
    """A sequence of undefined length with items of undefined length."""
    body = b"".join(ITEM + UNDEFINED + item + ITEM_END for item in items)
    return struct.pack("<HH2sH", group, number, vr, 0) + UNDEFINED + body + SEQUENCE_END


def file_of(*elements: bytes) -> bytes:
    meta = element(0x0002, 0x0010, "UI", S.EXPLICIT)
    return b"\0" * 128 + b"DICM" + meta + b"".join(elements)


@pytest.mark.parametrize("syntax", [S.EXPLICIT, S.IMPLICIT, S.BIG_ENDIAN, S.DEFLATED])
@pytest.mark.parametrize("undefined", [False, True])
def test_values_are_the_same_in_every_encoding(syntax, undefined):
    seg = SegFactory.of_masks(masks(), syntax=syntax, undefined_length=undefined)
    structure = open_structure(seg.build())
    assert structure.transfer_syntax_uid == syntax
    assert structure.integer(0x00280010) == 7
    assert structure.integer(0x00280008) == len(seg.frames)
    assert structure.text(0x00080070) == "Factory"
    assert structure.uid(0x00200052) == f"{S.UID}.4"
    items = structure.items(0x00620002)
    assert [structure.integer(item[0x00620004]) for item in items] == [1, 2]
    assert structure.text(items[0][0x00620005]) == "Segment 1"
    assert structure.per_frame is not None
    assert structure.per_frame.count == len(seg.frames)
    assert 0x7FE00010 in structure.elements


def test_pixel_data_says_what_there_is_and_what_is_claimed():
    data = SegFactory.of_masks(masks((2, 8, 8))).but(pixel_length=1000).build()
    pixels = open_structure(data).elements[0x7FE00010]
    assert pixels.length == 1000
    assert pixels.end == len(data)
    assert pixels.end - pixels.offset == 32


def test_stopping_early_leaves_the_rest_unread():
    data = SegFactory.of_masks(masks()).build()
    cut = data[: data.index(struct.pack("<HH2s", 0x5200, 0x9230, b"SQ"))]
    structure = open_structure(cut, stop_before=0x52009230)
    assert max(structure.elements) == 0x52009229
    assert structure.per_frame is None


def test_private_and_unknown_sequences_are_stepped_over():
    inner = struct.pack("<HHI", 0x0028, 0x0010, 2) + b"\x09\0"  # implicit VR, as in UN (PS3.5 6.2.2)
    data = file_of(
        sequence(sequence(element(0x0028, 0x0010, "US", b"\x08\0"))),
        sequence(inner, group=0x0041, number=0x1001, vr=b"UN"),
        TAIL,
    )
    structure = open_structure(data)
    assert structure.text(0x00420010) == "behind"
    assert 0x00280010 not in structure.elements
    (item,) = structure.items(0x00411001)
    assert structure.integer(item[0x00280010]) == 9


def test_first_of_a_repeated_tag_counts():
    data = file_of(element(0x0028, 0x0010, "US", b"\x07\0"), element(0x0028, 0x0010, "US", b"\x09\0"))
    assert open_structure(data).integer(0x00280010) == 7


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH + 1, 100_000])
def test_nesting_is_bounded_without_recursion(depth):
    opening = struct.pack("<HH2sH", 0x0040, 0x0275, b"SQ", 0) + UNDEFINED + ITEM + UNDEFINED
    data = file_of(opening * depth + (ITEM_END + SEQUENCE_END) * depth)
    if depth < MAX_DEPTH:
        assert 0x00400275 in open_structure(data).elements
        return
    with pytest.raises(CorruptSegError) as refused:
        open_structure(data)
    assert refused.value.code == "too-deep"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (element(0x0028, 0x0010, "US", b"\x07\0", length=60_000), "truncated"),
        (element(0x0040, 0x0275, "SQ", b"", length=0x7FFFFFF0), "truncated"),
        (sequence(element(0x0028, 0x0010, "US", b"\x07\0"))[:-20], "truncated"),
        (b"\x28\0\x10\0??\x02\0\x07\0", "malformed-structure"),
        (b"\x28\0\x10\0", "truncated"),
        (element(0x0040, 0x0275, "SQ", ITEM + b"\x63\0\0\0") + TAIL, "malformed-structure"),
        (struct.pack("<HH2sHI", 0x40, 0x275, b"OB", 0, 0xFFFFFFFF), "truncated"),
        (sequence() [:-8] + element(0x0028, 0x0010, "US", b"\x07\0"), "malformed-structure"),
    ],
    ids=["value", "sequence", "no-delimiter", "no-VR", "half-a-header", "item", "OB-undefined", "no-item"],
)  # fmt: skip
def test_lengths_are_checked_against_what_is_there(body, code):
    with pytest.raises(CorruptSegError) as refused:
        open_structure(file_of(body)).items(0x00400275)
    assert refused.value.code == code


def test_every_beginning_of_a_file_is_refused_or_read():
    data = SegFactory.of_masks(masks((2, 3, 4)), undefined_length=True).build()
    for end in range(0, len(data), 7):
        try:
            structure = open_structure(data[:end])
        except (CorruptSegError, NotSegError):
            continue
        assert all(each.end <= end for each in structure.elements.values())


def test_inflating_stops_at_what_the_header_accounts_for():
    head = element(0x0028, 0x0010, "US", b"\x08\0") + element(0x0028, 0x0011, "US", b"\x08\0")
    bomb = (
        head + element(0x0028, 0x0100, "US", b"\x01\0") + element(0x7FE0, 0x0010, "OB", b"\0" * (200 << 20))
    )
    deflate = zlib.compressobj(9, wbits=-15)
    data = b"\0" * 128 + b"DICM" + element(0x0002, 0x0010, "UI", S.DEFLATED)
    data += deflate.compress(bomb) + deflate.flush()
    assert len(data) < 1 << 20
    with pytest.raises(CorruptSegError) as refused:
        open_structure(data)
    assert refused.value.code == "inflate-limit"


def test_broken_deflate_stream():
    data = b"\0" * 128 + b"DICM" + element(0x0002, 0x0010, "UI", S.DEFLATED) + b"\xff" * 64
    with pytest.raises(CorruptSegError) as refused:
        open_structure(data)
    assert refused.value.code == "malformed-structure"


@pytest.mark.parametrize(
    ("raw", "numbers"),
    [
        (b"1.5\\-2 ", (1.5, -2.0)),
        (b" 1e3\\+.5\0", (1000.0, 0.5)),
        (b"", ()),
        (b"  ", ()),
    ],
)
def test_decimal_strings(raw, numbers):
    assert parse_decimals(raw) == numbers


@pytest.mark.parametrize("raw", [b"abc", b"1\\", b"1.5.5", b"\xff\xfe", b"0x10", b"1,5"])
def test_what_is_no_number_is_nan(raw):
    assert np.isnan(parse_decimals(raw)).any()


def test_an_element_ends_within_its_item():
    row = element(0x0028, 0x0010, "US", b"\x07\0")
    short = ITEM + struct.pack("<I", len(row) - 1) + row
    with pytest.raises(CorruptSegError) as refused:
        open_structure(file_of(element(0x0040, 0x0275, "SQ", short), TAIL)).items(0x00400275)
    assert refused.value.code == "malformed-structure"
