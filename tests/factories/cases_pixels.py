"""Edge cases E1 to E28f: how the pixels are encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.factories import codecs
from tests.factories import seg as S
from tests.factories.case import (
    Answer,
    Case,
    bad,
    good,
    labelled,
    masks,
)
from tests.factories.seg import Frame, SegFactory, concept

WIDE = (3, 34, 37)
"""Large enough for OpenJPEG and CharLS."""


def pixel_cases() -> list[Case]:
    """All of them."""
    return [*_binary(), *_fractional(), *_label_maps(), *_label_map_subsets(), *_compressed(), *_native()]


def _binary() -> list[Case]:
    cases = []
    for rows, columns in ((3, 5), (5, 7), (17, 19), (2, 3), (1, 1)):
        of = masks((4, rows, columns)) if columns > 1 else {1: np.ones((4, 1, 1), bool)}
        title = f"1-bit frames of {rows} x {columns} that do not end on whole bytes"
        cases.append(good(f"E1:{rows}x{columns}", title, SegFactory.of_masks(of), of))
    of = masks()
    title = "the standard's packing, whose padded length equals that of the old one"
    cases.append(good("E1", title, SegFactory.of_masks(of), of))

    of = masks((8, 7, 9))
    padded = SegFactory.of_masks(of, packing="frame")
    cases.append(good("E2", "each frame padded to a whole byte (old DCMTK)", padded, of, "padded-frames"))

    of = masks((2, 3, 11), numbers=(1, 2, 3, 4, 5, 6))
    padded = SegFactory.of_masks(of, packing="segment", edit=_by_dcmjs)
    cases.append(good("E3", "each segment padded to a whole byte (old dcmjs)", padded, of, "padded-segments"))

    of = masks()
    as_bytes = SegFactory.of_masks(of, packing="bytes")
    cases.append(good("E4", "BINARY with one byte per pixel", as_bytes, of, "unpacked-binary"))
    as_bits = SegFactory.of_masks(of, packing="bits")
    cases.append(
        good("E5", "BINARY that declares 8 bits and holds one", as_bits, of, "packed-despite-header")
    )
    return cases


def _by_dcmjs(ds: Dataset) -> None:
    ds.Manufacturer = "dcmjs.org"


def _fractions(maximum: int, numbers: tuple[int, ...] = (1,)) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(6)
    values = {n: rng.integers(0, maximum + 1, (4, 7, 9)).astype(np.uint8) for n in numbers}
    for array in values.values():
        array[:, 0, 0], array[:, 0, 1] = maximum, 1
    return values


def _fraction_case(id: str, title: str, values: dict[int, np.ndarray], *codes: str, **more: Any) -> Case:
    options, stored = more.pop("options", {}), more.pop("stored", values)
    seg = SegFactory.of_masks(stored, kind="FRACTIONAL", **more)
    right = Answer({n: v != 0 for n, v in values.items()}, seg.affine, values)
    return Case(id, title, seg.build, right, findings=frozenset(codes), options=options)


def _fractional() -> list[Case]:
    full, percent = _fractions(255), _fractions(100)
    above = {1: percent[1].copy()}
    above[1][1, 2, 3] = 200
    clipped = {1: np.minimum(above[1], 100)}
    pseudo = {n: m.astype(np.uint8) * 255 for n, m in masks().items()}
    ones = {n: m.astype(np.uint8) for n, m in masks().items()}
    few = {1: np.random.default_rng(0).choice(np.array([0, 12, 33, 48], np.uint8), (4, 7, 9))}
    few[1][:, 0, :4] = (0, 12, 33, 48)
    fractional = {"kind": "FRACTIONAL"}
    shared = {1: masks()[1], 2: np.roll(masks()[1], 1, axis=2)}
    return [
        _fraction_case("E6", "FRACTIONAL PROBABILITY", full),
        _fraction_case("E7", "FRACTIONAL OCCUPANCY", full, fraction_type="OCCUPANCY"),
        _fraction_case("E8", "MaximumFractionalValue of 100", percent, maximum=100),
        bad(
            "E9",
            "a fraction above MaximumFractionalValue",
            SegFactory.of_masks(above, maximum=100, **fractional),
            "value-exceeds-maximum",
        ),
        _fraction_case(
            "E9:clip",
            "a fraction above MaximumFractionalValue, clipped on request",
            clipped,
            "fraction-above-maximum",
            stored=above,
            maximum=100,
            options={"clip_fractions": True},
        ),
        good(
            "E10",
            "FRACTIONAL with values 0 and 255 only: a mask in disguise",
            SegFactory.of_masks(pseudo, **fractional),
            masks(),
            "pseudo-binary-fractional",
        ),
        good(
            "E10:overlap",
            "masks in disguise that share voxels",
            SegFactory.of_masks({n: m.astype(np.uint8) * 255 for n, m in shared.items()}, **fractional),
            shared,
            "pseudo-binary-fractional",
            may={"segments-overlap"},
        ),
        good(
            "E11",
            "FRACTIONAL with values 0 and 1 and a maximum of 255",
            SegFactory.of_masks(ones, **fractional),
            masks(),
            "misdeclared-maximum",
        ),
        _fraction_case("E11:few", "FRACTIONAL with values 0, 12, 33, 48 and a maximum of 255", few),
        _fraction_case("E12", "two FRACTIONAL segments that share voxels", _fractions(255, (1, 2))),
    ]


def _labels_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    return {int(n): labels == n for n in np.unique(labels) if n}


def _label_maps() -> list[Case]:
    small, large = labelled(), labelled(numbers=(1, 256, 300, 40_000))
    coloured = SegFactory.of_labels(small, edit=_add_palette)
    typed = SegFactory.of_labels(small, described=(0, 1, 2), padding_value=0)
    padded = small.copy()
    padded[padded == 0] = 255
    padded[2] = 255
    sparse = SegFactory(
        tuple(Frame(padded[k], k) for k in (0, 1, 3)),
        kind="LABELMAP",
        described=(1, 2),
        padding_value=255,
    )
    total = SegFactory.of_labels(small, described=(0, 1, 2), edit=_liver_as_zero)
    holed = small.copy()
    holed[:, 3, 3] = 255
    both = SegFactory.of_labels(holed, described=(0, 1, 2), padding_value=255, edit=_liver_as_zero)
    extra = labelled(numbers=(1, 2, 7))
    twice = SegFactory.of_labels(small)
    other = np.roll(small[1], 1, axis=1)
    conflict = twice.but(frames=(*twice.frames, Frame(other, 1)))
    halves = [np.where(np.arange(9) < 4, small[1], 0), np.where(np.arange(9) >= 4, small[1], 0)]
    single = [np.where(small[1] == n, small[1], 0) for n in (1, 2)]
    apart = twice.but(frames=(twice.frames[0], *(Frame(s, 1) for s in single), *twice.frames[2:]))
    split = twice.but(frames=(twice.frames[0], *(Frame(h, 1) for h in halves), *twice.frames[2:]))
    return [
        good("E13", "LABELMAP of 8 bits", SegFactory.of_labels(small), _labels_of(small)),
        good("E14", "LABELMAP of 16 bits, values to 40,000", SegFactory.of_labels(large), _labels_of(large)),
        good("E15", "LABELMAP in PALETTE COLOR", coloured, _labels_of(small), check=_has_palette_colours),
        good("E16", "PixelPaddingValue 0, segment 0 is Background", typed, _labels_of(small), check=_no_zero),
        good(
            "E17",
            "PixelPaddingValue 255, and an interior slice left out",
            sparse,
            {n: padded == n for n in (1, 2)},
            "padding-value-mapped",
            "missing-slices",
        ),
        good(
            "E18",
            "no PixelPaddingValue: 0 is a real segment",
            total,
            {0: small == 0, **_labels_of(small)},
            "zero-is-segment",
        ),
        Case(
            "E18:padding",
            "0 is a real segment, PixelPaddingValue 255 is background",
            both.build,
            Answer({n: holed == n for n in (0, 1, 2)}, both.affine, background=255),
            findings=frozenset({"zero-is-segment"}),
        ),
        good(
            "E19",
            "a pixel value without a Segment item",
            SegFactory.of_labels(extra, described=(1, 2)),
            _labels_of(extra),
            "undeclared-label",
        ),
        bad("E21", "two LABELMAP frames at one position that disagree", conflict, "conflicting-frames"),
        good(
            "E21:disjoint",
            "two LABELMAP frames at one position, of one segment each",
            apart,
            _labels_of(small),
            "duplicate-frames",
        ),
        bad(
            "E21:halves",
            "two LABELMAP frames at one position, both of the same segments",
            split,
            "conflicting-frames",
        ),
    ]


def _add_palette(ds: Dataset) -> None:
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for channel, values in (("Red", (0, 255, 10)), ("Green", (0, 128, 20)), ("Blue", (0, 64, 30))):
        setattr(ds, f"{channel}PaletteColorLookupTableDescriptor", [3, 0, 16])
        words = np.array(values, "<u2") * 257
        setattr(ds, f"{channel}PaletteColorLookupTableData", words.tobytes())


def _has_palette_colours(volume: Any) -> None:
    assert [volume.segment(n).rgb for n in (1, 2)] == [(255, 128, 64), (10, 20, 30)]


def _no_zero(volume: Any) -> None:
    assert [s.number for s in volume.segments] == [1, 2]


def _liver_as_zero(ds: Dataset) -> None:
    ds.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence = concept("85756007", "SCT", "Tissue")
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = concept("10200004", "SCT", "Liver")


def _label_map_subsets() -> list[Case]:
    labels, large = labelled(numbers=(1, 2, 3)), labelled(numbers=(1, 256, 300))
    seg, wide = SegFactory.of_labels(labels), SegFactory.of_labels(large)
    of, wide_of = _labels_of(labels), _labels_of(large)
    return [
        good(
            "E14:subset",
            "one segment above 255 of a 16-bit LABELMAP",
            wide,
            {300: wide_of[300]},
            segments=(300,),
        ),
        good("E20", "all segments but one of a LABELMAP", seg, {1: of[1], 3: of[3]}, segments=(1, 3)),
    ]


def _compressed() -> list[Case]:
    of, labels = masks(WIDE), labelled(WIDE)
    large = labelled(WIDE, (1, 300))
    eight, sixteen = SegFactory.of_labels(labels), SegFactory.of_labels(large)
    high = np.stack([codecs.HTJ2K_PIXELS] * 2)
    binary = SegFactory.of_masks(of)
    encodings = [
        ("E22:8", "RLE of 8 bits", eight.but(syntax=S.RLE), labels),
        ("E22:16", "RLE of 16 bits", sixteen.but(syntax=S.RLE), large),
        ("E23", "RLE of 1 bit, one byte per pixel", binary.but(syntax=S.RLE), None),
        ("E24:1", "JPEG 2000 of 1 bit", binary.but(syntax=S.JPEG_2000), None),
        ("E24:8", "JPEG 2000 of 8 bits", eight.but(syntax=S.JPEG_2000), labels),
        ("E24:16", "JPEG 2000 of 16 bits", sixteen.but(syntax=S.JPEG_2000), large),
        ("E25:8", "JPEG-LS of 8 bits", eight.but(syntax=S.JPEG_LS), labels),
        ("E25:16", "JPEG-LS of 16 bits", sixteen.but(syntax=S.JPEG_LS), large),
        ("E26", "HTJ2K of 8 bits", SegFactory.of_labels(high, syntax=S.HTJ2K), high),
        ("E27", "Deflated Explicit VR", binary.but(syntax=S.DEFLATED), None),
        ("E28", "Deflated Image Frame of 1 bit", binary.but(syntax=S.DEFLATED_FRAME), None),
        ("E28:8", "Deflated Image Frame of 8 bits", eight.but(syntax=S.DEFLATED_FRAME), labels),
        ("E28b", "Encapsulated Uncompressed of 1 bit", binary.but(syntax=S.ENCAPSULATED_UNCOMPRESSED), None),
        ("E28f", "JPEG Lossless of 8 bits", eight.but(syntax=S.JPEG_LOSSLESS), labels),
        ("E28f:1", "JPEG Lossless of 1 bit", binary.but(syntax=S.JPEG_LOSSLESS), None),
        (
            "E28b:16",
            "Encapsulated Uncompressed of 16 bits",
            sixteen.but(syntax=S.ENCAPSULATED_UNCOMPRESSED),
            large,
        ),
    ]
    cases = [
        good(id, title, seg, of if values is None else _labels_of(values))
        for id, title, seg, values in encodings
    ]
    packed = [codecs.rle_packed(f.pixels) for f in binary.frames]
    build = _ended(binary.but(syntax=S.RLE), codecs.encapsulate(packed))
    cases.append(Case("E23:packed", "RLE of 1 bit, packed bits", build, Answer(of, binary.affine)))
    lossy = binary.but(syntax=S.JPEG_2000_LOSSY, lossy=True)
    cases.append(good("E28e", "masks that went through lossy compression", lossy, of, "lossy-compression"))
    return cases


def _ended(seg: SegFactory, ending: bytes) -> Any:
    return lambda: seg.header() + ending


def _native() -> list[Case]:
    of, labels = masks(), labelled(numbers=(1, 300))
    binary, words = SegFactory.of_masks(of), SegFactory.of_labels(labels)
    swapped, plain = {"syntax": S.BIG_ENDIAN}, {"syntax": S.BIG_ENDIAN, "big_endian_vr": "OB"}
    return [
        good("E28c", "Big Endian, bits in swapped words (OW)", binary.but(**swapped), of),
        good("E28c:OB", "Big Endian, bits in bytes (OB)", binary.but(**plain), of),
        good("E28c:16", "Big Endian of 16 bits", words.but(**swapped), _labels_of(labels)),
        good("E28d", "Implicit VR", binary.but(syntax=S.IMPLICIT), of),
    ]
