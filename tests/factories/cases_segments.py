"""Edge cases E68 to E91: what the voxels mean."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories.case import Case, bad, good, labelled, masks
from tests.factories.seg import UID, Edit, SegFactory, concept


def segment_cases() -> list[Case]:
    """All of them."""
    return [
        *_overlaps(),
        *_numbers(),
        *_references(),
        *_dimensions(),
        *_sources(),
        *_codes(),
        *_descriptions(),
        *_texts(),
    ]


def edited(seg: SegFactory, keyword: str, value: Any) -> SegFactory:
    """With an attribute set, or deleted where the value is None."""

    def edit(ds: Dataset) -> None:
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)

    return seg.but(edit=edit)


def in_segment(seg: SegFactory, **attributes: Any) -> SegFactory:
    """With attributes set, or deleted where None, in the first Segment item."""

    def edit(ds: Dataset) -> None:
        for keyword, value in attributes.items():
            if value is None:
                delattr(ds.SegmentSequence[0], keyword)
            else:
                setattr(ds.SegmentSequence[0], keyword, value)

    return seg.but(edit=edit)


def _frame_edit(seg: SegFactory, edit: Edit) -> SegFactory:
    return seg.but(frames=tuple(replace(f, edit=edit) for f in seg.frames))


def _overlapping() -> dict[int, np.ndarray]:
    first, second = np.zeros((4, 7, 9), bool), np.zeros((4, 7, 9), bool)
    first[0:3, 1:5, 1:6], second[1:4, 3:7, 4:9] = True, True
    third = np.zeros_like(first)
    third[:, 0, 0] = True
    return {1: first, 2: second, 3: third}


def _overlaps() -> list[Case]:
    of, apart = _overlapping(), masks()
    seg, disjoint = SegFactory.of_masks(of), SegFactory.of_masks(apart)
    title = "SegmentsOverlap {} and it is so"

    def two_layers(volume: Any) -> None:
        assert len(volume.layers) == 2
        assert dict(volume.layer_of) == {1: 0, 2: 1, 3: 0}

    def one_layer(volume: Any) -> None:
        assert len(volume.layers) == 1

    overlap, contradiction = "segments-overlap", "overlap-contradicts-header"
    return [
        good("E68", "segments that share voxels", seg, of, overlap, check=two_layers),
        good("E69:yes", title.format("YES"), edited(seg, "SegmentsOverlap", "YES"), of, overlap),
        good("E69:no", title.format("NO"), edited(disjoint, "SegmentsOverlap", "NO"), apart, check=one_layer),
        good(
            "E69:undefined",
            title.format("UNDEFINED"),
            edited(disjoint, "SegmentsOverlap", "UNDEFINED"),
            apart,
        ),
        good(
            "E69:wrong",
            "SegmentsOverlap NO, and segments share voxels",
            edited(seg, "SegmentsOverlap", "NO"),
            of,
            contradiction,
            may={overlap},
            check=two_layers,
        ),
        good(
            "E69:none",
            "SegmentsOverlap YES, and none do",
            edited(disjoint, "SegmentsOverlap", "YES"),
            apart,
            check=one_layer,
        ),
    ]


def _numbers() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    with_empty = {**of, 3: np.zeros((4, 7, 9), bool)}
    gaps, from_two = masks(numbers=(378, 4002)), masks(numbers=(2, 3))
    many = {n: np.zeros((1, 20, 20), bool) for n in range(1, 301)}
    for n, mask in many.items():
        mask[0, n // 20, n % 20] = True
    labels, many_labels = labelled(), sum(n * m.astype(np.uint16) for n, m in many.items())

    def named(volume: Any) -> None:
        assert [(s.number, s.label) for s in volume.segments] == [(1, "Segment 1"), (2, "Segment 2")]

    def all_there(volume: Any) -> None:
        assert [s.number for s in volume.segments] == [1, 2, 3]

    def again(ds: Dataset) -> None:
        twin = SegFactory._segment(1)
        twin.SegmentLabel = "another 1"
        ds.SegmentSequence = Sequence([*ds.SegmentSequence, twin])

    empty = SegFactory.of_masks(with_empty)
    return [
        good(
            "E70",
            "a segment described that has no voxel",
            empty,
            with_empty,
            "empty-segment",
            check=all_there,
        ),
        good("E71", "SegmentNumbers 378 and 4002", SegFactory.of_masks(gaps), gaps),
        good("E72", "SegmentNumbers from 2", SegFactory.of_masks(from_two), from_two),
        good("E73", "300 BINARY segments", SegFactory.of_masks(many), many),
        good("E73:labels", "300 labels", SegFactory.of_labels(np.asarray(many_labels, np.uint16)), many),
        good("E74", "SegmentSequence not in order", seg.but(described=(2, 1)), of, check=named),
        good(
            "E75",
            "a Segment item of number 0, Background, and no PixelPaddingValue",
            SegFactory.of_labels(labels, described=(0, 1, 2)),
            {n: labels == n for n in (1, 2)},
            may={"zero-is-segment"},
        ),
        good(
            "E76", "SegmentNumber 1 twice", seg.but(edit=again), of, "duplicate-segment-number", check=named
        ),
        good(
            "E77",
            "frames of a segment that is not described",
            seg.but(described=(1,)),
            of,
            "undeclared-label",
        ),
        good(
            "E77:none",
            "no SegmentSequence at all, but frames that name segments",
            edited(seg, "SegmentSequence", None),
            of,
            "undeclared-label",
        ),
    ]


def _references() -> list[Case]:
    of = masks()
    one = {1: of[1]}
    lone, seg = SegFactory.of_masks(one), SegFactory.of_masks(of)
    nowhere, everywhere = {"segment": "absent"}, {"segment": "shared"}

    def without_number(groups: Dataset) -> None:
        del groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber

    def two_numbers(groups: Dataset) -> None:
        groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber = [1, 2]

    assumed, unresolved = "assumed-segment", "unresolved-segment"
    absent, several = _frame_edit(lone, without_number), _frame_edit(seg, two_numbers)
    return [
        good("E78", "ReferencedSegmentNumber shared by all frames", lone.but(places=everywhere), one),
        good("E79", "frames that name no segment, of one", lone.but(places=nowhere), one, assumed),
        good("E79:value", "ReferencedSegmentNumber absent, one segment", absent, one, assumed),
        bad("E79:two", "frames that name no segment, of two", seg.but(places=nowhere), unresolved),
        bad("E79:several", "frames that name two segments", several, unresolved),
    ]


def _dimensions() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    may = {"may": {"missing-functional-groups"}}

    def index(value: Any) -> SegFactory:
        def edit(groups: Dataset) -> None:
            groups.FrameContentSequence[0].DimensionIndexValues = value

        return _frame_edit(seg, edit)

    def no_content(groups: Dataset) -> None:
        del groups.FrameContentSequence

    def no_index(groups: Dataset) -> None:
        del groups.FrameContentSequence[0].DimensionIndexValues

    return [
        good("E80", "DimensionIndexValues 1, 1 for all frames", index([1, 1]), of),
        good("E80:short", "DimensionIndexValues too short", index([1]), of),
        good("E80:absent", "DimensionIndexValues absent", _frame_edit(seg, no_index), of, **may),
        good("E81", "no DimensionIndexSequence", edited(seg, "DimensionIndexSequence", None), of, **may),
        good("E81:content", "no FrameContentSequence", _frame_edit(seg, no_content), of, **may),
    ]


def _sources() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)

    def no_derivation(groups: Dataset) -> None:
        del groups.DerivationImageSequence

    def twice(ds: Dataset) -> None:
        series = ds.ReferencedSeriesSequence[0]
        series.ReferencedInstanceSequence = Sequence([*series.ReferencedInstanceSequence] * 2)

    def each_once(volume: Any) -> None:
        uids = volume.header.source_instance_uids
        assert sorted(uids) == [f"{UID}.7.{k}" for k in range(1, 5)]
        assert volume.header.source_series_uids == (f"{UID}.5",)

    def no_series(volume: Any) -> None:
        assert volume.header.source_series_uids == ()

    return [
        good("E82", "no DerivationImageSequence", _frame_edit(seg, no_derivation), of),
        good(
            "E82:series",
            "no ReferencedSeriesSequence",
            edited(seg, "ReferencedSeriesSequence", None),
            of,
            check=no_series,
        ),
        good("E83", "source images referenced twice", seg.but(edit=twice), of, check=each_once),
    ]


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


def _with_unknown(seg: SegFactory) -> SegFactory:
    item = struct.pack("<HHI", 0x0028, 0x0010, 2) + struct.pack("<H", 9)
    value = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0"

    def edit(groups: Dataset) -> None:
        groups.private_block(0x0011, "FACTORY", create=True)
        unknown = DataElement(0x00111003, "UN", value)
        unknown.is_undefined_length = True
        groups.add(unknown)

    return _frame_edit(seg, edit)
