"""Positions taken from the referenced source images (E54)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset

from segtools.decode import read, read_parts
from segtools.decode.geometry.source_grid import SourceGrid, onto
from segtools.errors import SegError
from tests.factories.case import answer, masks
from tests.factories.cases_geometry import OBLIQUE
from tests.factories.judge import same_voxels
from tests.factories.seg import UID, SegFactory, source_uid

NOWHERE = {"position": "absent", "measures": "absent", "orientation": "absent"}


def recipe(of: dict[int, np.ndarray] | None = None, **knobs: object) -> SegFactory:
    return SegFactory.of_masks(masks() if of is None else of, places=NOWHERE, orientation=OBLIQUE, **knobs)


def series(seg: SegFactory, slices: int | None = None) -> SourceGrid:
    """The images that the recipe's frames refer to."""
    count = slices or max(frame.k for frame in seg.frames) + 1
    uids = tuple(source_uid(k) for k in range(count))
    return SourceGrid((count, *seg.shape), seg.affine, uids, f"{UID}.5", f"{UID}.4")


def editing(seg: SegFactory, edit) -> SegFactory:
    """Apply `edit` to the source image item of each frame."""

    def of_frame(groups: Dataset) -> None:
        edit(groups.DerivationImageSequence[0].SourceImageSequence)

    return seg.but(frames=tuple(replace(frame, edit=of_frame) for frame in seg.frames))


def error_of(data: bytes, grid: SourceGrid) -> str:
    with pytest.raises(SegError) as caught:
        read(data, source_grid=grid)
    return caught.value.code


def test_places_are_those_of_the_named_images():
    seg = recipe()
    volume = read(seg.build(), source_grid=series(seg))
    same_voxels(volume, answer(seg, masks()))
    assert "geometry-from-source" in [finding.code for finding in volume.findings]


def test_order_and_left_out_slices_of_the_series():
    of = {1: np.zeros((9, 7, 9), np.uint8), 2: np.zeros((9, 7, 9), np.uint8)}
    of[1][2, 2, 3] = of[1][5, 1, 1] = of[2][7, 4, 4] = 1
    seg = recipe(of)
    seg = seg.but(frames=seg.frames[::-1])
    volume = read(seg.build(), source_grid=series(seg, 9))
    assert volume.grid.shape == (6, 7, 9)
    moved = onto(volume, series(seg, 9))
    for number, mask in of.items():
        np.testing.assert_array_equal(moved.mask(number), mask)


def test_without_the_series_or_with_another_one():
    seg = recipe()
    with pytest.raises(SegError) as caught:
        read(seg.build())
    assert caught.value.code == "no-geometry"
    other = replace(series(seg), sop_uids=tuple(f"2.25.{k}" for k in range(series(seg).shape[0])))
    assert error_of(seg.build(), other) == "no-geometry"


def test_one_image_short():
    seg = recipe()
    grid = series(seg)
    short = replace(grid, shape=(grid.shape[0] - 1, *grid.shape[1:]), sop_uids=grid.sop_uids[:-1])
    assert error_of(seg.build(), short) == "no-geometry"


def test_two_images_of_the_series_are_no_place():
    def add(images) -> None:
        images.append(SegFactory._reference(0))
        images.append(SegFactory._reference(1))

    seg = editing(recipe(), add)
    assert error_of(seg.build(), series(seg)) == "no-geometry"


def test_images_of_other_series_do_not_matter():
    def add(images) -> None:
        other = SegFactory._reference(0)
        other.ReferencedSOPInstanceUID = "2.25.77"
        images.insert(0, other)

    seg = editing(recipe(), add)
    same_voxels(read(seg.build(), source_grid=series(seg)), answer(seg, masks()))


def test_other_size():
    seg = recipe()
    grid = series(seg)
    assert error_of(seg.build(), replace(grid, shape=(grid.shape[0], 8, 9))) == "grid-mismatch"


def enhanced(seg: SegFactory) -> tuple[SegFactory, SourceGrid]:
    """Frames that refer to frames of one image, whose frames come in descending order."""
    count = series(seg).shape[0]
    frames = []
    for frame in seg.frames:

        def refer(groups: Dataset, number: int = count - frame.k) -> None:
            image = groups.DerivationImageSequence[0].SourceImageSequence[0]
            image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber = "2.25.8", number

        frames.append(replace(frame, edit=refer))
    grid = replace(series(seg), sop_uids=("2.25.8",) * count, frame_numbers=tuple(range(count, 0, -1)))
    return seg.but(frames=tuple(frames)), grid


def test_frames_of_an_enhanced_image():
    seg, grid = enhanced(recipe())
    same_voxels(read(seg.build(), source_grid=grid), answer(seg, masks()))


def test_a_whole_enhanced_image_is_no_place():
    seg, grid = enhanced(recipe())

    def forget(images) -> None:
        images[0].ReferencedSOPInstanceUID = "2.25.8"

    assert error_of(editing(seg, forget).build(), grid) == "no-geometry"


def test_positions_of_the_file_go_first():
    seg = SegFactory.of_masks(masks())
    elsewhere = series(seg)
    affine = elsewhere.affine_lps.copy()
    affine[:3, 3] += 100
    volume = read(seg.build(), source_grid=replace(elsewhere, affine_lps=affine))
    same_voxels(volume, answer(seg, masks()))
    assert "geometry-from-source" not in [finding.code for finding in volume.findings]


def test_a_plain_image_stays_one():
    mask = masks((1, 7, 9))[1]
    seg = recipe({1: mask})
    volume = read(seg.build(), source_grid=replace(series(seg), sop_uids=("2.25.1",)))
    assert "no-spatial-information" in [finding.code for finding in volume.findings]


def test_parts_too():
    seg = recipe()
    (part,) = read_parts(seg.build(), source_grid=series(seg))
    same_voxels(part, answer(seg, masks()))
