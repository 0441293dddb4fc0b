"""Edge cases E68 to E83: which voxels are which segment's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories.case import (
    Case,
    bad,
    good,
    labelled,
    masks,
)
from tests.factories.seg import UID, Edit, SegFactory


def segment_cases() -> list[Case]:
    """All of them."""
    return [
        *_overlaps(),
        *_numbers(),
        *_references(),
        *_dimensions(),
        *_sources(),
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


def edit_frames(seg: SegFactory, edit: Edit) -> SegFactory:
    """With the functional groups of every frame edited."""
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
    absent, several = edit_frames(lone, without_number), edit_frames(seg, two_numbers)
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

        return edit_frames(seg, edit)

    def no_content(groups: Dataset) -> None:
        del groups.FrameContentSequence

    def no_index(groups: Dataset) -> None:
        del groups.FrameContentSequence[0].DimensionIndexValues

    return [
        good("E80", "DimensionIndexValues 1, 1 for all frames", index([1, 1]), of),
        good("E80:short", "DimensionIndexValues too short", index([1]), of),
        good("E80:absent", "DimensionIndexValues absent", edit_frames(seg, no_index), of, **may),
        good("E81", "no DimensionIndexSequence", edited(seg, "DimensionIndexSequence", None), of, **may),
        good("E81:content", "no FrameContentSequence", edit_frames(seg, no_content), of, **may),
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
        good("E82", "no DerivationImageSequence", edit_frames(seg, no_derivation), of),
        good(
            "E82:series",
            "no ReferencedSeriesSequence",
            edited(seg, "ReferencedSeriesSequence", None),
            of,
            check=no_series,
        ),
        good("E83", "source images referenced twice", seg.but(edit=twice), of, check=each_once),
    ]
