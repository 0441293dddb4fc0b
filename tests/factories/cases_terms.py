"""Edge cases E84 to E91: what the file says of each segment."""

from __future__ import annotations

import struct
from typing import Any

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories.case import Case, good, masks
from tests.factories.cases_segments import edit_frames, in_segment
from tests.factories.seg import SegFactory, concept


def term_cases() -> list[Case]:
    """All of them."""
    return [*_codes(), *_descriptions(), *_texts()]


def _long_meaning() -> Sequence:
    sequence = concept("10200004", "SCT", "x")
    item = sequence[0]
    item["CodeMeaning"] = DataElement(0x00080104, "LO", "meaning " * 10, validation_mode=config.IGNORE)
    return sequence


def _odd_code(keyword: str, value: str) -> Sequence:
    sequence = concept("1", "SCT", "Liver")
    del sequence[0].CodeValue
    setattr(sequence[0], keyword, value)
    return sequence


def _typed(value: str, scheme: str) -> Any:
    def check(volume: Any) -> None:
        kind = volume.segment(1).type
        assert (kind.value, kind.scheme) == (value, scheme)

    return check


def _codes() -> list[Case]:
    one = {1: masks()[1]}
    seg = SegFactory.of_masks(one)
    incomplete = "incomplete-code"
    key = "SegmentedPropertyTypeCodeSequence"
    urn = "urn:oid:2.16.840.1.113883.6.24"
    no_value = concept("1", "SCT", "Liver")
    del no_value[0].CodeValue
    retired = in_segment(seg, **{key: concept("T-62000", "SRT", "Liver")})

    def untyped(volume: Any) -> None:
        assert volume.segment(1).type is None

    def long_meaning(volume: Any) -> None:
        assert volume.segment(1).type.meaning == ("meaning " * 10).strip()

    return [
        good(
            "E85:long",
            "LongCodeValue",
            in_segment(seg, **{key: _odd_code("LongCodeValue", "621566751000087104")}),
            one,
            check=_typed("621566751000087104", "SCT"),
        ),
        good(
            "E85:urn",
            "URNCodeValue",
            in_segment(seg, **{key: _odd_code("URNCodeValue", urn)}),
            one,
            check=lambda volume: _typed(urn, "SCT")(volume),
        ),
        good(
            "E85:absent", "no type sequence", in_segment(seg, **{key: None}), one, incomplete, check=untyped
        ),
        good(
            "E85:empty",
            "empty type sequence",
            in_segment(seg, **{key: Sequence([])}),
            one,
            incomplete,
            check=untyped,
        ),
        good("E85:value", "a code without value", in_segment(seg, **{key: no_value}), one, incomplete),
        good(
            "E85:meaning",
            "CodeMeaning of 80 characters",
            in_segment(seg, **{key: _long_meaning()}),
            one,
            check=long_meaning,
        ),
        good("E86", "a retired SRT code", retired, one, "retired-code", check=_typed("T-62000", "SRT")),
    ]


def _descriptions() -> list[Case]:
    one = {1: masks()[1]}
    seg = SegFactory.of_masks(one)
    left, upper = concept("7771000", "SCT", "Left"), concept("261183002", "SCT", "Upper")
    region = concept("10200004", "SCT", "Liver")
    region[0].AnatomicRegionModifierSequence = Sequence([*left, *upper])
    kind = concept("10200004", "SCT", "Liver")
    kind[0].SegmentedPropertyTypeModifierCodeSequence = Sequence([*left, *upper])
    rich = in_segment(seg, SegmentedPropertyTypeCodeSequence=kind, AnatomicRegionSequence=region)
    coloured = in_segment(seg, RecommendedDisplayCIELabValue=[34885, 53485, 50171])
    grey = in_segment(seg, RecommendedDisplayGrayscaleValue=40_000)

    def all_modifiers(volume: Any) -> None:
        segment = volume.segment(1)
        assert [c.value for c in segment.type_modifiers] == ["7771000", "261183002"]
        assert [c.value for c in segment.regions] == ["10200004"]
        assert [c.value for c in segment.region_modifiers] == ["7771000", "261183002"]

    def colour(expected: tuple[int, int, int] | None) -> Any:
        def check(volume: Any) -> None:
            assert volume.segment(1).cielab == expected

        return check

    def algorithm(kind: str | None) -> Any:
        def check(volume: Any) -> None:
            assert volume.segment(1).algorithm_type == kind

        return check

    missing = "missing-algorithm"
    no_type = in_segment(seg, SegmentAlgorithmType=None, SegmentAlgorithmName=None)
    bad_type = in_segment(seg, SegmentAlgorithmType="MAGIC")
    return [
        good("E84", "SegmentAlgorithmType absent", no_type, one, missing, check=algorithm(None)),
        good("E84:bad", "SegmentAlgorithmType MAGIC", bad_type, one, missing),
        good("E87", "two modifiers of type and of region", rich, one, check=all_modifiers),
        good("E88", "no recommended color", seg, one, check=colour(None)),
        good("E88:lab", "a CIELab color", coloured, one, check=colour((34885, 53485, 50171))),
        good("E88:gray", "a grayscale value only", grey, one, check=colour(None)),
    ]


def _texts() -> list[Case]:
    one = {1: masks()[1]}
    seg = SegFactory.of_masks(one)

    def label_in(charset: str | list[str], text: str) -> tuple[SegFactory, Any]:
        def edit(ds: Dataset) -> None:
            ds.SpecificCharacterSet = charset
            ds.SegmentSequence[0].SegmentLabel = text

        def check(volume: Any) -> None:
            assert volume.segment(1).label == text

        return seg.but(edit=edit), check

    texts = {
        "utf8": ("ISO_IR 192", "Läber 肝臓"),
        "latin1": ("ISO_IR 100", "Läber"),
        "jp": (["", "ISO 2022 IR 87"], "肝臓"),
        "kr": (["", "ISO 2022 IR 149"], "간"),
        "gb18030": ("GB18030", "肝脏"),
    }
    cases = []
    for name, (charset, text) in texts.items():
        file, check = label_in(charset, text)
        cases.append(good(f"E89:{name}", f"SegmentLabel in {charset}", file, one, check=check))

    def tracked(volume: Any) -> None:
        assert volume.segment(1).tracking_id == "lesion"
        assert volume.segment(1).tracking_uid is None

    def unnamed(volume: Any) -> None:
        assert not volume.segment(1).label

    def same_labels(ds: Dataset) -> None:
        for item in ds.SegmentSequence:
            item.SegmentLabel = "Liver"

    two = masks()
    tracking = in_segment(seg, TrackingID="lesion")
    return [
        *cases,
        good("E90", "TrackingID without TrackingUID", tracking, one, check=tracked),
        good("E90:empty", "an empty SegmentLabel", in_segment(seg, SegmentLabel=""), one, check=unnamed),
        good("E90:same", "two segments of one label", SegFactory.of_masks(two, edit=same_labels), two),
        good(
            "E91:icon", "an icon with Rows, NumberOfFrames and PixelData of its own", seg.but(edit=_icon), one
        ),
        good("E91", "private attributes and sequences within the items", seg.but(edit=_private), one),
        good(
            "E91:undefined",
            "private sequences of undefined length",
            seg.but(edit=_private, undefined_length=True),
            one,
        ),
        good("E91:UN", "an UN element of undefined length, in Implicit VR inside", _with_unknown(seg), one),
    ]


def _private(ds: Dataset) -> None:
    for groups in (ds, ds.SegmentSequence[0], *ds.PerFrameFunctionalGroupsSequence):
        block = groups.private_block(0x0011, "FACTORY", create=True)
        inner = Dataset()
        inner.add_new(0x00280010, "US", 9)  # Rows, where only a careless search would take it
        block.add_new(0x01, "SQ", Sequence([inner]))
        block.add_new(0x02, "LO", "text")


def _icon(ds: Dataset) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.NumberOfFrames, icon.BitsAllocated = 1, 8
    icon.add_new(0x7FE00010, "OB", bytes((1, 2, 3, 4)))
    ds.IconImageSequence = Sequence([icon])


def _with_unknown(seg: SegFactory) -> SegFactory:
    item = struct.pack("<HHI", 0x0028, 0x0010, 2) + struct.pack("<H", 9)
    value = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0"

    def edit(groups: Dataset) -> None:
        groups.private_block(0x0011, "FACTORY", create=True)
        unknown = DataElement(0x00111003, "UN", value)
        unknown.is_undefined_length = True
        groups.add(unknown)

    return edit_frames(seg, edit)
