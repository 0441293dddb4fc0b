"""Functional groups as columns: lock-step parsing is the walk of every item, only faster."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from segtools.decode.dicom import functional_groups, sequence_items
from segtools.decode.dicom.file import open_structure
from segtools.decode.geometry.frame_table import SEVERAL_SEGMENTS, derivation_uids, read_frames
from segtools.errors import CorruptSegError
from tests.factories import seg as S
from tests.factories.case import masks
from tests.factories.seg import UID, SegFactory

ENCODINGS = [
    {"syntax": syntax, "undefined_length": undefined}
    for syntax in (S.EXPLICIT, S.IMPLICIT, S.BIG_ENDIAN)
    for undefined in (False, True)
]


def walked(data: bytes) -> sequence_items.Items:
    """Every item walked by itself: what the lock-step must equal."""
    structure = open_structure(data)
    element = structure.elements[0x52009230]
    end = None if element.length < 0 else element.end
    starts, ends, after = sequence_items._locate(
        structure.cursor, element.offset, end or structure.cursor.size, None
    )
    found = sequence_items._Found(len(starts))
    for row, start in enumerate(starts):
        trace = sequence_items._trace(
            structure.cursor, int(start), structure.cursor.size, functional_groups.PLACING
        )
        assert trace.end == ends[row]
        for key, (offset, length) in trace.captures.items():
            found.add(key, *(np.array([number]) for number in (row, offset, length)))
    assert ends[-1] <= after
    return sequence_items.Items(len(starts), found.values, found.more, after, structure.cursor)


def same(items: sequence_items.Items, other: sequence_items.Items) -> bool:
    return (
        items.count == other.count
        and items.after == other.after
        and items.values.keys() == other.values.keys()
        and all(
            np.array_equal(items.values[key].offset, value.offset)
            and np.array_equal(items.values[key].length, value.length)
            for key, value in other.values.items()
        )
        and all(
            np.array_equal(ours, theirs)
            for chain in (*other.values, *other.more)
            for ours, theirs in zip(items.every(chain), other.every(chain), strict=True)
        )
    )


def with_sources(count_of: object, seg: SegFactory) -> SegFactory:
    """Each frame derived from `count_of(frame index)` source images."""

    def edit(ds: Dataset) -> None:
        for index, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
            images = []
            for n in range(count_of(index)):  # type: ignore[operator]
                image = Dataset()
                image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = (
                    S.CT_IMAGE,
                    f"{UID}.7.{index}.{n}",
                )
                images.append(image)
            derivation = Dataset()
            derivation.SourceImageSequence = Sequence(images)
            groups.DerivationImageSequence = Sequence([derivation])

    return seg.but(edit=edit)


@pytest.mark.parametrize(
    "encoding", ENCODINGS, ids=lambda e: f"{e['syntax'][17:] or '-'}-{e['undefined_length']}"
)
def test_lockstep_equals_the_walk(encoding):
    data = SegFactory.of_masks(masks((9, 3, 4)), **encoding).build()
    items = open_structure(data).per_frame
    assert items is not None
    assert same(items, walked(data))
    if encoding["syntax"] != S.BIG_ENDIAN:
        assert items.walked == 1  # only the template's own item


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    ("count_of", "most_walked"),
    [(lambda n: 3, 1), (lambda n: 1 + n % 3, 3), (lambda n: n, 18)],
    ids=["alike", "three-kinds", "all-different"],
)
def test_items_of_several_kinds(undefined, count_of, most_walked):
    seg = SegFactory.of_masks(masks((9, 3, 4)), undefined_length=undefined)
    data = with_sources(count_of, seg).build()
    items = open_structure(data).per_frame
    assert items is not None
    assert same(items, walked(data))
    assert items.walked <= most_walked
    expected = [f"{UID}.7.{f}.{n}" for f in range(18) for n in range(count_of(f))]
    assert list(derivation_uids(open_structure(data))) == expected


def test_a_header_that_differs_in_one_item_is_noticed():
    data = bytearray(SegFactory.of_masks(masks((9, 3, 4))).build())
    items = open_structure(bytes(data)).per_frame
    assert items is not None
    offset = int(items.value(functional_groups.SEGMENT).offset[7])  # type: ignore[union-attr]
    data[offset - 8 : offset - 4] = b"\x62\0\x0c\0"  # (0062,000B) becomes (0062,000C)
    table = read_frames(open_structure(bytes(data)))
    assert table.segment[7] == -1
    assert (np.delete(table.segment, 7) > 0).all()


def test_a_length_that_overruns_its_item_is_refused():
    data = bytearray(SegFactory.of_masks(masks((9, 3, 4))).build())
    items = open_structure(bytes(data)).per_frame
    assert items is not None
    offset = int(items.value(functional_groups.SEGMENT).offset[7])  # type: ignore[union-attr]
    data[offset - 2 : offset] = b"\x40\0"
    with pytest.raises(CorruptSegError) as refused:
        open_structure(bytes(data))
    assert refused.value.code == "malformed-structure"


@pytest.mark.parametrize("place", ["shared", "frame"])
def test_columns(place):
    seg = SegFactory.of_masks(masks(), places={"measures": place, "orientation": place}, thickness=4.0)
    table = read_frames(open_structure(seg.build()))
    assert table.count == 8
    assert np.array_equal(table.position, [seg.position(f.k) for f in seg.frames])
    assert np.array_equal(table.segment, [f.segment for f in seg.frames])
    assert (table.orientation == S.AXIAL).all()
    assert (table.pixel_spacing == (0.75, 0.5)).all()
    assert (table.slice_spacing == 2.5).all()
    assert (table.slice_thickness == 4.0).all()
    assert table.quantum_mm == pytest.approx(0.1)


def test_a_frames_own_value_wins_over_the_shared_one():
    seg = SegFactory.of_masks(masks())

    def edit(groups: Dataset) -> None:
        measures = Dataset()
        measures.PixelSpacing, measures.SpacingBetweenSlices = ["3", "4"], "9"
        groups.PixelMeasuresSequence = Sequence([measures])

    frames = (replace(seg.frames[0], edit=edit), *seg.frames[1:])
    table = read_frames(open_structure(seg.but(frames=frames).build()))
    assert table.pixel_spacing[0].tolist() == [3, 4]
    assert (table.pixel_spacing[1:] == (0.75, 0.5)).all()
    assert table.slice_spacing.tolist() == [9] + [2.5] * 7


@pytest.mark.parametrize("value", [rb"nan\20\5", rb"inf\20\5", rb"  x\20\5", rb"   \20\5", rb"1e999\5\6"[:8]])
def test_numbers_that_are_none_are_nan(value):
    data = SegFactory.of_masks(masks()).build()
    broken = data.replace(rb"-10\20\5", value, 1)
    assert broken != data
    table = read_frames(open_structure(broken))
    assert np.isnan(table.position).any(axis=1).sum() == 1


def test_a_claimed_number_of_frames_takes_no_memory():
    def claim(ds: Dataset) -> None:
        ds.NumberOfFrames = 2**31 - 1
        del ds.PerFrameFunctionalGroupsSequence

    table = read_frames(open_structure(SegFactory.of_masks(masks(), edit=claim).build()), 2**31 - 1)
    assert table.count == 2**31 - 1
    assert table.position.strides[0] == 0  # one row, seen two thousand million times


def test_rows_of_some_frames_and_of_several_tables():
    table = read_frames(open_structure(SegFactory.of_masks(masks()).build()))
    first, rest = table.take(np.arange(3)), table.take(np.arange(3, 8))
    whole = type(table).concatenate([first, rest])
    assert whole.count == 8
    assert np.array_equal(whole.position, table.position)
    assert np.array_equal(whole.segment, table.segment)


def test_two_segment_items_are_noticed():
    seg = SegFactory.of_masks(masks((9, 3, 4)))

    def edit(ds: Dataset) -> None:
        groups = ds.PerFrameFunctionalGroupsSequence[4]
        groups.SegmentIdentificationSequence = Sequence([*groups.SegmentIdentificationSequence] * 2)

    table = read_frames(open_structure(seg.but(edit=edit).build()))
    assert np.flatnonzero(table.segment == SEVERAL_SEGMENTS).tolist() == [4]
