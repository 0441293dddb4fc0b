"""Edge cases E92 to E102: how the file is built."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.factories import codecs
from tests.factories import seg as S
from tests.factories.case import (
    Answer,
    Case,
    answer,
    bad,
    good,
    labelled,
    masks,
)
from tests.factories.seg import SegFactory, element

HUGE_FRAMES = (126, 138)
"""Slices and segments of the largest radiology SEG in IDC: 17,388 frames (dcmqi #518)."""


def structure_cases() -> list[Case]:
    """All of them."""
    return [*_lengths(), *_offset_tables(), *_pixel_lengths(), *_frame_counts(), *_wrappings(), huge_case()]


def _lengths() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of, undefined_length=True)
    return [
        good("E92:groups", "group lengths, as of old", SegFactory.of_masks(of, edit=_group_lengths), of),
        good("E92", "sequences and items of undefined length", seg, of),
        good("E92:implicit", "undefined lengths in Implicit VR", seg.but(syntax=S.IMPLICIT), of),
        good("E92:big", "undefined lengths in Big Endian", seg.but(syntax=S.BIG_ENDIAN), of),
    ]


def _group_lengths(ds: Dataset) -> None:
    for group in (0x0008, 0x0020, 0x0028):
        ds.add_new((group << 16), "UL", 100)


def _offset_tables() -> list[Case]:
    of = masks((3, 34, 37))
    seg = SegFactory.of_masks(of, syntax=S.RLE)
    ignored = "offset-table-ignored"
    labels = labelled((3, 7, 9), numbers=(1, 221, 224, 254, 255))
    for plane in labels:
        plane.flat[4:12] = (254, 255, 221, 224, 0, 0, 0, 0)
        plane.flat[20:28] = (254, 255, 0, 224, 4, 0, 0, 0)
    described = (1, 4, 221, 224, 254, 255)
    tricky = SegFactory.of_labels(labels, described=described, syntax=S.ENCAPSULATED_UNCOMPRESSED)
    tricky_of = {n: labels == n for n in described}
    pieces = seg.but(syntax=S.ENCAPSULATED_UNCOMPRESSED, fragments=2)
    j2k = seg.but(syntax=S.JPEG_2000, fragments=3)
    one = {1: masks((1, 34, 37))[1]}
    return [
        good("E93", "a Basic Offset Table", seg, of, check=_no_doubt),
        good("E93:empty", "an empty Basic Offset Table", seg.but(offsets="empty"), of),
        good("E93:extended", "an Extended Offset Table", seg.but(offsets="extended"), of, check=_no_doubt),
        good("E93:wrong", "a Basic Offset Table that is off", seg.but(offsets="wrong"), of, ignored),
        good("E93:outside", "offsets behind the end of the file", seg.but(offsets="outside"), of, ignored),
        good(
            "E94:table", "two fragments a frame that only the offsets tell apart", pieces, of, check=_no_doubt
        ),
        good("E94", "three fragments a frame, with offsets", j2k, of),
        good("E94:RLE", "three RLE fragments a frame, with offsets", seg.but(fragments=3), of, may={ignored}),
        good(
            "E94:single",
            "three fragments of the only frame",
            SegFactory.of_masks(one, syntax=S.JPEG_2000, fragments=3, offsets="empty"),
            one,
        ),
        good(
            "E94:markers", "three fragments a frame, no offsets: markers tell", j2k.but(offsets="empty"), of
        ),
        good("E95", "fragments that hold the bytes of delimiters", tricky, tricky_of),
    ]


def _no_doubt(volume: Any) -> None:
    assert not volume.findings


def _pixel_lengths() -> list[Case]:
    of, labels = masks((4, 16, 16)), labelled((3, 7, 9))
    seg, odd = SegFactory.of_masks(of), SegFactory.of_labels(labels)
    whole = seg.native_pixels()
    first = {1: of[1], 2: of[2].copy()}
    first[2][3] = False
    cut = Case(
        "E96:recover",
        "PixelData ends within the last frame; whole frames recovered on request",
        lambda: seg.build()[:-20],
        answer(seg, first),
        findings=frozenset({"truncated-frames"}),
        options={"strict_length": False},
    )
    zeros, noise = b"\0" * 512, b"\xff\xfeabc"
    trailing = element(0xFFFC, 0xFFFC, "OB", b"\0" * 64)
    return [
        bad("E96", "PixelData ends within the last frame", lambda: seg.build()[:-20], "truncated"),
        bad(
            "E96:short",
            "PixelData shorter than its frames, and the length says so",
            seg.but(pixel_bytes=whole[:-20]),
            "frame-count-mismatch",
        ),
        cut,
        good(
            "E97",
            "bytes behind the last frame",
            seg.but(pixel_bytes=whole + b"\0" * 40),
            of,
            "trailing-bytes",
        ),
        Case("E97:element", "DataSetTrailingPadding", lambda: seg.build() + trailing, answer(seg, of)),
        Case("E97:zeros", "zeros behind the last element", lambda: seg.build() + zeros, answer(seg, of)),
        Case(
            "E97:noise", "a few bytes behind the last element", lambda: seg.build() + noise, answer(seg, of)
        ),
        good(
            "E98",
            "PixelData of odd length, not padded",
            odd.but(pixel_bytes=labels.tobytes()),
            {n: labels == n for n in (1, 2)},
        ),
        good(
            "E100",
            "as masks beyond 4 GiB must be: encapsulated, with an Extended Offset Table",
            seg.but(syntax=S.ENCAPSULATED_UNCOMPRESSED, offsets="extended"),
            of,
        ),
    ]


def _frame_counts() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)

    def claims(number: int) -> Callable[[Dataset], None]:
        def edit(ds: Dataset) -> None:
            ds.NumberOfFrames = number

        return edit

    repaired = "frame-count-repaired"
    return [
        good(
            "E99",
            "NumberOfFrames 10, of which 8 are described and there",
            seg.but(edit=claims(10)),
            of,
            repaired,
        ),
        good(
            "E99:less",
            "NumberOfFrames 6, while 8 are described and there",
            seg.but(edit=claims(6)),
            of,
            repaired,
        ),
    ]


def _wrappings() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)

    def of_class(uid: str) -> SegFactory:
        def edit(ds: Dataset) -> None:
            ds.SOPClassUID = uid

        return seg.but(edit=edit)

    surface, heights = "1.2.840.10008.5.1.4.1.1.66.5", "1.2.840.10008.5.1.4.1.1.66.8"
    bare = "missing-preamble"
    implicit = seg.but(preamble=False, meta=False, syntax=S.IMPLICIT)
    return [
        good("E101", "no preamble, no file meta group", seg.but(preamble=False, meta=False), of, bare),
        good("E101:implicit", "no preamble, no file meta group, Implicit VR", implicit, of, bare),
        good("E101:preamble", "no preamble, but a file meta group", seg.but(preamble=False), of, bare),
        bad("E101:surface", "a Surface Segmentation", of_class(surface), "not-segmentation"),
        bad("E101:heights", "a Height Map Segmentation", of_class(heights), "not-segmentation"),
        bad("E101:CT", "a CT image", of_class(S.CT_IMAGE), "not-segmentation"),
        bad("E101:text", "a text file", lambda: b"no DICOM at all\n" * 200, "not-dicom"),
        bad("E101:empty", "an empty file", lambda: b"", "empty-file"),
    ]


def huge_case() -> Case:
    """E102, its 17,388 frame items stamped from one, as pydicom would take a minute."""
    slices, segments = HUGE_FRAMES
    rows = columns = 16
    labels = np.arange(rows * columns).reshape(rows, columns) + 1
    of = {n: np.repeat((labels == n)[None], slices, axis=0) for n in range(1, segments + 1)}
    few = {n: of[n] for n in of if n <= 2}
    seg = SegFactory.of_masks({n: m[:1] for n, m in few.items()}, step=1.0)
    return Case(
        "E102",
        f"{slices * segments:,} frames",
        lambda: _stamped(seg, slices, segments, labels),
        Answer(of, seg.affine),
    )


def _stamped(seg: SegFactory, slices: int, segments: int, labels: np.ndarray) -> bytes:
    bits = b"".join(codecs.pack_bits(labels == n) * slices for n in range(1, segments + 1))
    return stamped_header(seg, segments, slices) + element(0x7FE0, 0x0010, "OB", bits)


def stamped_header(seg: SegFactory, segments: int, slices: int = 1) -> bytes:
    """A file up to PixelData, with a frame of each segment in each slice, all stamped from the first."""
    x, y, z = seg.origin

    def fixed_width(groups: Dataset) -> None:
        groups.PlanePositionSequence[0].ImagePositionPatient = [x, y, "0000000.5"]
        groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 0x5A5A

    template = _item_of(seg.but(frames=(replace(seg.frames[0], edit=fixed_width),)))
    items = []
    for n in range(1, segments + 1):
        of_segment = template.replace(b"\x5a\x5a", struct.pack("<H", n))
        items += [
            of_segment.replace(b"0000000.5", f"{z + k * seg.step:09.3f}".encode()) for k in range(slices)
        ]

    def head(ds: Dataset) -> None:
        ds.NumberOfFrames = slices * segments
        del ds.PerFrameFunctionalGroupsSequence

    header = seg.but(edit=head, described=tuple(range(1, segments + 1))).header()
    return header + element(0x5200, 0x9230, "SQ", b"".join(items))


def _item_of(seg: SegFactory) -> bytes:
    """The item of the only frame, with its tag."""
    data = seg.header()
    start = data.index(struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0)) + 12
    return data[start:]
