"""Edge cases E103 and E104: how many frames there are, and none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories import seg as S
from tests.factories.case import (
    Answer,
    Case,
    bad,
    good,
    labelled,
    masks,
)
from tests.factories.seg import SegFactory


def frame_cases() -> list[Case]:
    """All of them."""
    return [*_witnesses(), *_nothing_segmented()]


def _states(number: object) -> Callable[[Dataset], None]:
    """NumberOfFrames says `number`; None leaves it out."""

    def edit(ds: Dataset) -> None:
        if number is None:
            del ds.NumberOfFrames
        elif isinstance(number, str):
            ds.add_new(0x00280008, "LO", number)  # pydicom refuses text in an IS
        else:
            ds.NumberOfFrames = number

    return edit


def _describes(count: int) -> Callable[[Dataset], None]:
    """Functional groups of the first `count` frames only."""

    def edit(ds: Dataset) -> None:
        ds.PerFrameFunctionalGroupsSequence = Sequence(list(ds.PerFrameFunctionalGroupsSequence)[:count])

    return edit


def _witnesses() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    labels = labelled()
    labels_of = {n: labels == n for n in (1, 2)}
    label_map = SegFactory.of_labels(labels)
    repaired, mismatch = "frame-count-repaired", "frame-count-mismatch"
    text = seg.but(edit=_states("eight"))
    four = {1: of[1], 2: np.zeros_like(of[2])}
    shorter = seg.but(edit=_states(4), pixel_bytes=SegFactory.of_masks({1: of[1]}).native_pixels())
    bytes_per_frame = SegFactory.of_masks({n: np.ones((4, 8, 8), bool) for n in (1, 2)})
    return [
        good(
            "E103",
            "NumberOfFrames absent, 8 are described and there",
            seg.but(edit=_states(None)),
            of,
            repaired,
        ),
        good("E103:0", "NumberOfFrames 0, 8 are described and there", seg.but(edit=_states(0)), of, repaired),
        good("E103:1", "NumberOfFrames 1, 8 are described and there", seg.but(edit=_states(1)), of, repaired),
        good("E103:7", "NumberOfFrames 7, 8 are described and there", seg.but(edit=_states(7)), of, repaired),
        good("E103:negative", "NumberOfFrames -8", seg.but(edit=_states(-8)), of, repaired),
        good("E103:text", "NumberOfFrames is a word", text, of, repaired),
        good(
            "E103:labels",
            "a label map without NumberOfFrames",
            label_map.but(edit=_states(None)),
            labels_of,
            repaired,
        ),
        good(
            "E103:RLE",
            "RLE frames, NumberOfFrames 1",
            label_map.but(edit=_states(1), syntax=S.RLE),
            labels_of,
            repaired,
        ),
        good(
            "E103:more",
            "NumberOfFrames 11, 8 are described and there, compressed",
            label_map.but(edit=_states(11), syntax=S.RLE),
            labels_of,
            repaired,
        ),
        good(
            "E103:surplus",
            "8 frames described, 4 stated and there",
            shorter,
            four,
            repaired,
            may={"empty-segment"},
        ),
        bad(
            "E103:placeless", "8 frames stated and there, 6 described", seg.but(edit=_describes(6)), mismatch
        ),
        bad(
            "E103:three",
            "6 frames stated, 8 described, 7 there",
            bytes_per_frame.but(edit=_states(6), pixel_bytes=bytes_per_frame.native_pixels()[: 7 * 8]),
            mismatch,
        ),
        bad(
            "E103:whole",
            "8 frames stated and described, 7 there, in a file that is whole",
            bytes_per_frame.but(pixel_bytes=bytes_per_frame.native_pixels()[: 7 * 8]),
            mismatch,
        ),
    ]


def _nothing_segmented() -> list[Case]:
    of = {n: np.zeros((1, 7, 9), bool) for n in (1, 2)}
    right = Answer(of, None)
    found = frozenset({"empty-segmentation", "no-spatial-information"})

    def case(id: str, title: str, seg: SegFactory, *, pixels: bool = True, **more: object) -> Case:
        return Case(id, title, seg.build if pixels else seg.header, right, findings=found, **more)  # type: ignore[arg-type]

    def none(number: object = 0, items: bool = False) -> Callable[[Dataset], None]:
        def edit(ds: Dataset) -> None:
            _states(number)(ds)
            ds.PerFrameFunctionalGroupsSequence = Sequence([])
            if not items:
                del ds.PerFrameFunctionalGroupsSequence

        return edit

    seg = SegFactory.of_masks({n: np.zeros((1, 7, 9), bool) for n in (1, 2)}, empty=True, pixel_bytes=b"")
    fractional = seg.but(kind="FRACTIONAL", edit=none())
    labels = seg.but(kind="LABELMAP", bits=8, edit=none())
    return [
        case("E104", "nothing segmented: no frames, empty PixelData", seg.but(edit=none())),
        case(
            "E104:no-pixels", "nothing segmented: no frames, no PixelData", seg.but(edit=none()), pixels=False
        ),
        case(
            "E104:absent",
            "NumberOfFrames absent, no frames, no PixelData",
            seg.but(edit=none(None)),
            pixels=False,
        ),
        case("E104:items", "a functional groups sequence without items", seg.but(edit=none(0, items=True))),
        case("E104:one", "NumberOfFrames 1, no frame described, empty PixelData", seg.but(edit=none(1))),
        case(
            "E104:zeros",
            "NumberOfFrames 0, no frame described, one frame of zeros",
            seg.but(edit=none(0, items=True), pixel_bytes=bytes(8)),
        ),
        case("E104:labels", "a label map of nothing", labels),
        case("E104:fractions", "fractions of nothing", fractional),
        case("E104:big", "nothing segmented, in Big Endian", seg.but(edit=none(), syntax=S.BIG_ENDIAN)),
        bad(
            "E104:cut",
            "8 frames stated, none described, no PixelData: cut off, not empty",
            lambda: SegFactory.of_masks(masks(), edit=none(8)).header(),
            "missing-attribute",
        ),
    ]
