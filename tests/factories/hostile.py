"""Files made to hurt: each must be refused at once, in memory bounded by its own size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tests.factories import codecs
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.cases_geometry import at_z
from tests.factories.seg import SegFactory, element

LIMIT_FACTOR = 8
LIMIT_CONSTANT = 128 << 20
"""Peak memory allowed: LIMIT_FACTOR * file size + LIMIT_CONSTANT bytes."""


@dataclass(frozen=True)
class Hostile:
    """A file, and the codes any of which is a fair refusal."""

    id: str
    build: Callable[[], bytes]
    codes: frozenset[str]


def hostile_files() -> list[Hostile]:
    """All of them."""
    return [*_claims(), *_bombs(), *_nesting(), *_places(), *_codec_lies(), *_nothing()]


def _hostile(id: str, build: SegFactory | Callable[[], bytes], *codes: str) -> Hostile:
    return Hostile(id, build.build if isinstance(build, SegFactory) else build, frozenset(codes))


def _plain() -> SegFactory:
    return SegFactory.of_masks(masks((4, 16, 16)))


def _with(**attributes: object) -> SegFactory:
    def edit(ds: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    return _plain().but(edit=edit)


def _claims() -> list[Hostile]:
    claims = {"claims-exceed-bytes", "memory-limit", "truncated", "invalid-attribute", "frame-count-mismatch"}

    def one_kilobyte() -> bytes:
        def edit(ds: Dataset) -> None:
            ds.Rows = ds.Columns = 65_535
            ds.NumberOfFrames = 2**31 - 1
            keep = [
                "SOPClassUID",
                "SOPInstanceUID",
                "Rows",
                "Columns",
                "NumberOfFrames",
                "BitsAllocated",
                "SegmentationType",
                "SegmentSequence",
                "SharedFunctionalGroupsSequence",
                "PerFrameFunctionalGroupsSequence",
            ]
            for item in list(ds):
                if item.keyword not in keep:
                    del ds[item.tag]

        seg = SegFactory.of_masks({1: np.ones((1, 4, 4), bool)})
        return seg.but(edit=edit).build()

    sizes = _with(Rows=65_535, Columns=65_535)
    outside = "truncated", "malformed-structure"
    return [
        _hostile("huge-claims-in-a-kilobyte", one_kilobyte, *claims),
        _hostile("huge-planes", sizes, *claims),
        _hostile("huge-planes-compressed", sizes.but(syntax=S.RLE), *claims, "codec-failed"),
        _hostile("huge-planes-deflated-frames", sizes.but(syntax=S.DEFLATED_FRAME), *claims, "codec-failed"),
        _hostile("pixel-length-outside", _plain().but(pixel_length=0xFFFFFFF0), *outside),
        _hostile(
            "pixel-length-undefined",
            _plain().but(pixel_length=0xFFFFFFFF, pixel_bytes=_plain().native_pixels() + b"\1" * 6),
            *outside,
            "codec-failed",
        ),
        _hostile("sequence-length-outside", _sequence_length(0x7FFFFFF0), *outside),
        _hostile("sequence-length-too-short", _sequence_length(9), *outside, "missing-attribute"),
        _hostile("zero-rows", _with(Rows=0), "invalid-attribute"),
        _hostile("zero-columns", _with(Columns=0), "invalid-attribute"),
        _hostile(
            "segment-0-of-BINARY", SegFactory.of_masks({0: np.ones((2, 9, 9), bool)}), "invalid-attribute"
        ),
        _hostile("tiled-by-name-only", _with(DimensionOrganizationType="TILED_FULL"), "slide-microscopy"),
        _hostile("samples-per-pixel-3", _with(SamplesPerPixel=3), "invalid-attribute"),
        _hostile("LABELMAP-of-1-bit", SegFactory.of_labels(labelled(), bits=1), "invalid-attribute"),
        _hostile("bits-allocated-32", _with(BitsAllocated=32), "invalid-attribute"),
        _hostile("no-segments", _nameless(), "missing-attribute", "unresolved-segment"),
    ]


def _nameless() -> SegFactory:
    """No Segment item, and frames that name none."""
    return _with(SegmentSequence=Sequence([])).but(places={"segment": "absent"})


def _sequence_length(length: int) -> Callable[[], bytes]:
    def build() -> bytes:
        data = _plain().build()
        at = data.index(struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0)) + 8
        return data[:at] + struct.pack("<I", length) + data[at + 4 :]

    return build


def _bombs() -> list[Hostile]:
    codes = {"inflate-limit", "memory-limit", "malformed-structure", "claims-exceed-bytes"}

    def deflated() -> bytes:
        seg = _plain().but(syntax=S.DEFLATED)
        head = b"\0" * 128 + b"DICM" + seg._meta()
        body = seg.but(syntax=S.EXPLICIT).build()[len(head) :]
        return head + _repeated(body, element(0xFFFC, 0xFFFC, "OB", b"\0" * (1 << 20)), 512)

    def deflated_frames() -> bytes:
        seg = _plain().but(syntax=S.DEFLATED_FRAME)
        bomb = _repeated(b"", b"\0" * (1 << 20), 256)
        return seg.header() + codecs.encapsulate([bomb] * len(seg.frames))

    def rle_frames() -> bytes:
        seg = _plain().but(syntax=S.RLE)
        bomb = codecs.rle_frame([b"\x81\x00" * 50_000])
        return seg.header() + codecs.encapsulate([bomb] * len(seg.frames))

    return [
        _hostile("deflate-bomb", deflated, *codes),
        _hostile("deflated-frame-bomb", deflated_frames, "codec-failed", *codes),
        _hostile("rle-frame-bomb", rle_frames, "codec-failed", *codes),
    ]


def _repeated(head: bytes, block: bytes, times: int) -> bytes:
    """A deflated stream of a head and a block over and over; the block is deflated once."""
    press = zlib.compressobj(9, wbits=-15)
    start = press.compress(head) + press.flush(zlib.Z_FULL_FLUSH)
    again = press.compress(block) + press.flush(zlib.Z_FULL_FLUSH)
    return start + again * times + press.flush()


def _nesting() -> list[Hostile]:
    depth = 20_000
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + codecs.ITEM + b"\xff" * 4
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + codecs.DELIMITER
    frames = struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0)

    def inserted(where: bytes, what: bytes) -> Callable[[], bytes]:
        def build() -> bytes:
            data = _plain().build()
            at = data.index(where)
            return data[:at] + what + data[at:]

        return build

    codes = {"too-deep", "malformed-structure", "truncated"}
    empty_items = codecs.ITEM + b"\0\0\0\0"
    many = element(0x5200, 0x9230, "SQ", empty_items * 1_000_000)

    def million_items() -> bytes:
        def edit(ds: Dataset) -> None:
            del ds.PerFrameFunctionalGroupsSequence
            ds.NumberOfFrames = 1_000_000

        seg = _plain().but(edit=edit)
        return seg.header() + many + seg._pixel_element()

    nothing_said = (
        "missing-attribute",
        "claims-exceed-bytes",
        "truncated",
        "no-geometry",
        "unresolved-segment",
    )
    return [
        _hostile("nested-sequences", inserted(frames, opening * depth + closing * depth), *codes),
        _hostile("nested-sequences-unclosed", inserted(frames, opening * depth), *codes),
        _hostile("million-empty-items", million_items, "frame-count-mismatch", *nothing_said),
    ]


def _places() -> list[Hostile]:
    apart = {"memory-limit", "irregular-spacing", "claims-exceed-bytes", "invalid-attribute"}
    two = {1: np.ones((2, 16, 16), bool)}
    plain = _plain()

    def moved(**values: object) -> SegFactory:
        def edit(groups: Dataset) -> None:
            groups.PlanePositionSequence[0].ImagePositionPatient = values["position"]

        return plain.but(frames=tuple(replace(f, edit=edit) for f in plain.frames))

    def turned(orientation: list[int]) -> SegFactory:
        def edit(ds: Dataset) -> None:
            shared = ds.SharedFunctionalGroupsSequence[0]
            shared.PlaneOrientationSequence[0].ImageOrientationPatient = orientation

        return plain.but(edit=edit)

    far = at_z(two, (0.0, 1e9), step=1.0)
    number = "invalid-attribute", "no-geometry", "malformed-structure"
    nan = plain.but(frames=(replace(plain.frames[0], edit=_nan_position), *plain.frames[1:]))
    return [
        _hostile("slices-1e9-mm-apart", far, *apart),
        _hostile("slices-1e300-mm-apart", at_z(two, (0.0, 1e300), step=1.0), *apart, *number),
        _hostile("NaN-position", nan, *number),
        _hostile("all-positions-infinite", moved(position=["1e999", "0", "0"]), *number),
        _hostile("no-orientation", turned([0, 0, 0, 0, 1, 0]), *number),
        _hostile("parallel-orientation", turned([1, 0, 0, 1, 0, 0]), *number),
        _hostile("zero-pixel-spacing", plain.but(spacing=(0.0, 1.0)), *number),
        _hostile("negative-pixel-spacing", plain.but(spacing=(1.0, -1.0)), *number),
    ]


def _nan_position(groups: Dataset) -> None:
    value = b"nan\\nan\\nan "
    element = RawDataElement(Tag(0x00200032), "DS", len(value), value, 0, False, True)
    groups.PlanePositionSequence[0][element.tag] = element


def _codec_lies() -> list[Hostile]:
    plain = _plain()
    count = len(plain.frames)

    def rle(frame: bytes) -> Callable[[], bytes]:
        seg = plain.but(syntax=S.RLE)
        return lambda: seg.header() + codecs.encapsulate([frame] * count)

    def header(*words: int) -> bytes:
        return struct.pack("<16I", *words, *([0] * (16 - len(words)))) + b"\x81\x00" * 8

    failed = "codec-failed"
    tricky = plain.but(syntax=S.JPEG_2000)

    def no_frames() -> bytes:
        return plain.but(syntax=S.RLE).header() + codecs.encapsulate([])

    def frames_of(number: int) -> Callable[[], bytes]:
        seg = plain.but(syntax=S.RLE)
        return lambda: seg.header() + codecs.encapsulate([codecs.rle(plain.frames[0].pixels, 1)] * number)

    def garbage() -> bytes:
        return tricky.header() + codecs.encapsulate([b"\xff\x4f\xff\x51" + b"\xff" * 60] * count)

    return [
        *_other_sizes(),
        _hostile("more-frames-than-described", frames_of(count + 1), "frame-count-mismatch"),
        _hostile("fewer-frames-than-described", frames_of(count - 1), "frame-count-mismatch", "truncated"),
        _hostile("RLE-segments-outside", rle(header(1, 0xFFFFFFF0)), failed),
        _hostile("RLE-many-segments", rle(header(0xFFFFFFFF, 64)), failed),
        _hostile("RLE-no-segments", rle(header(0)), failed),
        _hostile("RLE-segments-backwards", rle(header(2, 80, 64)), failed),
        _hostile("RLE-shorter-than-header", rle(b"\1\0\0\0"), failed),
        _hostile("JPEG-2000-garbage", garbage, failed),
        _hostile("no-fragments", no_frames, failed, "frame-count-mismatch", "truncated"),
    ]


_WITH_SIZES = S.JPEG_2000, S.JPEG_LS, S.JPEG_LOSSLESS
"""Syntaxes whose code streams name their own size."""


def _other_sizes() -> list[Hostile]:
    """Code streams of other sizes than Rows and Columns, and such that claim 60,000 squared."""
    wide = SegFactory.of_masks({1: np.ones((2, 34, 36), bool)})

    def claims(side: int) -> Callable[[Dataset], None]:
        def edit(ds: Dataset) -> None:
            ds.Rows = ds.Columns = side

        return edit

    made = []
    for syntax in (*_WITH_SIZES, S.RLE, S.DEFLATED_FRAME, S.ENCAPSULATED_UNCOMPRESSED):
        for side in (16, 64):
            seg = wide.but(syntax=syntax, edit=claims(side))
            made.append(_hostile(f"{side}-squared-of-{syntax}", seg, "codec-failed", "inflate-limit"))
    size = struct.pack(">II", 60_000, 60_000)
    large = codecs.jpeg_2000(wide.frames[0].pixels, 1).replace(struct.pack(">II", 36, 34), size)
    j2k, frame = wide.but(syntax=S.JPEG_2000), codecs.jpeg_lossless(wide.frames[0].pixels, 8)
    jls = wide.but(syntax=S.JPEG_LS)
    larger = frame.replace(struct.pack(">HH", 34, 36), struct.pack(">HH", 60_000, 60_000))
    noisy = SegFactory.of_labels(np.random.default_rng(3).integers(1, 200, (2, 60, 60)).astype(np.uint8))
    endless = noisy.but(syntax=S.JPEG_LS)

    def without_end() -> bytes:
        """Scans that break off in zeros: CharLS counted those that were not there, to 2**31."""
        frames = [codecs.jpeg_lossless(frame.pixels, 8)[:600] + bytes(30) for frame in noisy.frames]
        return endless.header() + codecs.encapsulate(frames)

    return [
        *made,
        _hostile("JPEG-LS-without-end", without_end, "codec-failed"),
        _hostile(
            "JPEG-2000-of-60000", lambda: j2k.header() + codecs.encapsulate([large] * 2), "codec-failed"
        ),
        _hostile("JPEG-LS-of-60000", lambda: jls.header() + codecs.encapsulate([larger] * 2), "codec-failed"),
    ]


def _nothing() -> list[Hostile]:
    dicom = b"\0" * 128 + b"DICM"
    incomplete = "truncated", "not-dicom", "not-segmentation", "missing-attribute", "malformed-structure"
    no_class = "not-segmentation", "missing-attribute"

    def cut(size: int) -> Callable[[], bytes]:
        return lambda: _plain().build()[:size]

    without = {}
    for keyword in ("Rows", "Columns", "BitsAllocated", "SegmentationType"):

        def edit(ds: Dataset, keyword: str = keyword) -> None:
            delattr(ds, keyword)

        without[keyword] = _plain().but(edit=edit)

    def sop_class_gone() -> bytes:
        def edit(ds: Dataset) -> None:
            del ds.SOPClassUID

        return _plain().but(edit=edit, meta=False, preamble=False).build()

    return [
        _hostile("preamble-only", lambda: dicom, *incomplete),
        _hostile("zeros", lambda: b"\0" * 4096, *incomplete),
        _hostile("ones", lambda: b"\xff" * 4096, *incomplete),
        _hostile("one-byte", lambda: b"\x08", *incomplete),
        _hostile("cut-in-meta", cut(200), *incomplete),
        _hostile("cut-in-header", cut(1000), *incomplete),
        _hostile("no-sop-class", sop_class_gone, *no_class, "not-dicom"),
        *(_hostile(f"no-{keyword}", seg, "missing-attribute") for keyword, seg in without.items()),
    ]
