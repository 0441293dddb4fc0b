"""What was segmented, in folders as people have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from segtools.decode import Concept, Segment, read
from segtools.decode.geometry.source_grid import onto
from segtools.decode.geometry.source_images import SourceImages, SourceReferences
from segtools.decode.referenced_images import read_references
from segtools.encode import Subject, encode, image_series
from segtools.errors import MissingError, UnsupportedSegError
from segtools.phantom.anatomy import grid_around
from tests.factories.image_headers import image_headers
from tests.faults import FAULTS

AFFINE = np.diag([0.5, 0.75, 2.5, 1.0])
AFFINE[:3, 3] = -10, 20, 5
SHAPE = (6, 10, 12)
SERIES, FRAME = "2.25.5", "2.25.4"
NAMED = tuple(f"2.25.5.{k}" for k in range(6))


def stack(series=SERIES, suffix="", affine=AFFINE, shape=SHAPE, frame=FRAME, **changes):
    return image_headers(affine, shape, lambda k: f"{series}.{k}{suffix}", series, frame, **changes)


def catalog(*stacks):
    series: dict = {}
    for headers in stacks:
        series.setdefault(headers[0].series_uid, []).extend(headers)
    return SourceImages(series)


def codes(grid):
    return [finding.code for finding in grid.findings]


def places(*heights):
    """Positions of frames on slices of the stack."""
    return AFFINE[:3, 3] + np.array(heights)[:, None] * AFFINE[:3, 2]


ALL = SourceReferences((SERIES,), NAMED, (), FRAME, places(1, 2, 3))
ONLY_SERIES = SourceReferences((SERIES,), (), (), FRAME, places(0, 3), np.array([0, 0, -1.0]))
CORONAL = np.array([[0.5, 0, 0, -10.0], [0, 0, 1.0, 20], [0, -0.75, 0, 5], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("references", [ALL, SourceReferences((), NAMED), SourceReferences((), (), NAMED)])
def test_the_images_named_whatever_names_them(references):
    grid = catalog(stack("2.25.1"), stack()).grid_for(references)
    assert (grid.series_uid, grid.shape, grid.sop_uids, codes(grid)) == (SERIES, SHAPE, NAMED, [])
    np.testing.assert_allclose(grid.affine_lps, AFFINE)


@pytest.mark.parametrize(
    "stray",
    [
        stack(suffix=".9"),  # a second b-value, echo, time
        stack(suffix=".9", affine=CORONAL, shape=(1, 8, 12)),  # one coronal image
        stack(suffix=".9", shape=(2, 20, 16)),  # a localizer
        stack(suffix=".9", affine=AFFINE @ np.diag([2, 2, 1, 1.0])),
    ],
)
def test_other_images_of_the_series_are_left_out_with_a_finding(stray):
    for images in (catalog(stack(), stray), catalog(stray, stack())):
        grid = images.grid_for(ALL)
        assert grid.sop_uids == NAMED
        assert codes(grid) == ["source-images-ignored"]


def test_a_stray_image_is_left_out_where_only_the_series_is_named():
    stray = stack(suffix=".9", affine=CORONAL, shape=(9, 8, 12))  # more than there are axial ones
    grid = catalog(stray, stack()).grid_for(ONLY_SERIES)
    assert grid.sop_uids == NAMED


def test_of_two_acquisitions_the_named_ones_kind_is_taken():
    """Only the slices with voxels are named; the others are those of the same b-value."""
    low, high = stack(kind=(b"0",)), stack(suffix=".9", kind=(b"1000",))
    named = SourceReferences((SERIES,), NAMED[2:4], NAMED[2:4], FRAME, places(2, 3))
    grid = catalog(high, low).grid_for(named)
    assert grid.sop_uids == NAMED
    other = SourceReferences((SERIES,), tuple(f"{uid}.9" for uid in NAMED[2:4]))
    assert catalog(high, low).grid_for(other).sop_uids == tuple(f"{uid}.9" for uid in NAMED)


def test_nothing_tells_two_acquisitions_apart():
    named = SourceReferences((SERIES,), NAMED[2:4], NAMED[2:4], FRAME, places(2, 3))
    assert catalog(stack(), stack(suffix=".9")).grid_for(named).sop_uids == NAMED[2:4]
    with pytest.raises(UnsupportedSegError) as caught:
        catalog(stack(), stack(suffix=".9")).grid_for(SourceReferences((SERIES,)))
    assert caught.value.code == "temporal-frames"


def test_of_several_series_the_one_that_the_frames_name():
    other = tuple(f"2.25.6.{k}" for k in range(6))
    references = SourceReferences((SERIES, "2.25.6"), NAMED + other, other[:2], FRAME)
    grid = catalog(stack(), stack("2.25.6")).grid_for(references)
    assert (grid.series_uid, codes(grid)) == ("2.25.6", [])
    alike = SourceReferences(("2.25.6", SERIES), NAMED + other, (), FRAME)
    grid = catalog(stack(), stack("2.25.6")).grid_for(alike)
    assert (grid.series_uid, codes(grid)) == ("2.25.6", ["source-series-unknown"])


@pytest.mark.parametrize("lost", [[3], [1, 3], [0], [5], [0, 5]])
def test_missing_slices_keep_their_place(lost):
    images = catalog([header for k, header in enumerate(stack()) if k not in lost])
    references = SourceReferences((SERIES,), NAMED, (), FRAME, places(0, 1, 5))
    grid = images.grid_for(references)
    assert grid.shape == SHAPE
    np.testing.assert_allclose(grid.affine_lps, AFFINE)
    assert grid.sop_uids == tuple("" if k in lost else uid for k, uid in enumerate(NAMED))
    assert set(codes(grid)) == {"source-slices-missing"}


def test_a_slice_at_the_end_that_nothing_needs_is_not_made_up():
    grid = catalog(stack()[:-1]).grid_for(SourceReferences((SERIES,), NAMED, (), FRAME, places(0, 1)))
    assert grid.shape[0] == 5


def test_unequal_distances_are_no_gap():
    images = stack(shape=(4, 10, 12))
    for header, height in zip(images, (0.0, 1.0, 2.4, 3.5), strict=True):
        header.positions[0] = AFFINE[:3, 3] + height * AFFINE[:3, 2]
    with pytest.raises(UnsupportedSegError) as caught:
        catalog(images).grid_for(ALL)
    assert caught.value.code == "irregular-spacing"


def test_images_that_fit_where_none_is_named():
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.2
    references = SourceReferences((), ("2.25.77",), (), FRAME, places(1, 2))
    images = catalog(stack("2.25.1", affine=shifted), stack("2.25.2", frame="2.25.8"), stack("2.25.3"))
    grid = images.grid_for(references)
    assert (grid.series_uid, codes(grid)) == ("2.25.3", ["source-assumed"])
    with pytest.raises(MissingError) as caught:
        catalog(stack("2.25.1", affine=shifted), stack("2.25.2", frame="2.25.8")).grid_for(references)
    assert caught.value.code == "source-not-found"
    other = catalog(stack("2.25.2", frame="2.25.8")).grid_for(references, any_frame_of_reference=True)
    assert other.series_uid == "2.25.2"


# --- from files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A SEG and the six CT images it was drawn on."""
    folder = tmp_path_factory.mktemp("source")
    grid = grid_around((0, 0, 0), (6, 10, 12), (0.5, 0.75, 2.5))
    images = image_series(grid, Subject("p"))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:4, 2:6, 3:7] = 1
    liver = Concept("10200004", "SCT", "Liver")
    segment = Segment(1, "Liver", None, Concept("123037004", "SCT", "Anatomical Structure"), liver)
    encode(labels, grid, [segment], source=images, seed="a").save_as(folder / "seg.dcm")
    for k, image in enumerate(images):
        image.save_as(folder / f"ct{k}.dcm", enforce_file_format=True)
    return folder, labels


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "images"))


def changed(folder, name, to, **attributes):
    image = dcmread(folder / name)
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as(folder / to)


def test_whatever_lies_beside_the_images(folder, made):
    (folder / "LICENSE").write_text("CC BY 4.0")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0\0\0\0\0")
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes((folder / "ct0.dcm").read_bytes()[:300])
    shutil.copy(folder / "ct1.dcm", folder / "copy of ct1.dcm")
    (folder / "deeper").mkdir()
    (folder / "ct2.dcm").rename(folder / "deeper" / "IM2")
    changed(folder, "ct0.dcm", "no place.dcm", SOPInstanceUID="2.25.91", ImagePositionPatient=None)
    changed(folder, "ct0.dcm", "second.dcm", SOPInstanceUID="2.25.92", SeriesInstanceUID="2.25.93")
    changed(
        folder, "ct3.dcm", "stray.dcm", SOPInstanceUID="2.25.94", ImageOrientationPatient=[1, 0, 0, 0, 0, -1]
    )
    grid = SourceImages.below([folder]).grid_for(read_references(folder / "seg.dcm"))
    assert codes(grid) == ["source-images-ignored"]
    volume = onto(read(folder / "seg.dcm", source_grid=grid), grid)
    np.testing.assert_array_equal(volume.mask(1), made[1] == 1)
    assert {"source-images-ignored", "padded-to-source"} <= {finding.code for finding in volume.findings}


@pytest.mark.parametrize("where", ["top level", "frame", "derivation"])
def test_wherever_the_file_names_its_images(folder, where):
    seg = dcmread(folder / "seg.dcm")
    uids = [dcmread(folder / f"ct{k}.dcm").SOPInstanceUID for k in range(6)]
    del seg.ReferencedSeriesSequence
    for frame in seg.PerFrameFunctionalGroupsSequence:
        if where != "derivation" and "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
    references = Sequence([Dataset() for _ in uids])
    for item, uid in zip(references, uids, strict=True):
        item.ReferencedSOPInstanceUID = uid
    if where == "top level":
        seg.SourceImageSequence = references
    elif where == "frame":
        for number, frame in enumerate(seg.PerFrameFunctionalGroupsSequence):
            frame.SourceImageSequence = references[number + 1 : number + 2]
    seg.save_as(folder / "seg.dcm")
    found = read_references(folder / "seg.dcm")
    assert found.named <= set(uids)
    assert len(found.named) >= 3
    grid = SourceImages.below([folder]).grid_for(found)
    assert grid.sop_uids == tuple(uids)
    assert codes(grid) == []
    assert set(read(folder / "seg.dcm").header.source_instance_uids) == found.named


def test_no_folder_and_no_image(tmp_path):
    with pytest.raises(MissingError) as caught:
        SourceImages.below([tmp_path / "none"])
    assert caught.value.code == "not-found"
    with pytest.raises(MissingError) as caught:
        SourceImages.below([tmp_path]).grid_for(ALL)
    assert caught.value.code == "source-not-found"


@pytest.mark.skipif(FAULTS is None, reason="no folder of files that went wrong (IDCSEG_SHARED_DATA)")
@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("b_license", None),
        ("d_two_bvalues", "source-images-ignored"),
        ("e_localizer", "source-images-ignored"),
        ("j_missing_slice", "source-slices-missing"),
    ],
)
def test_the_folders_that_went_wrong(name, finding):
    assert FAULTS is not None
    seg = FAULTS / "08_seg.dcm"
    grid = SourceImages.below([FAULTS / "source_folders" / name]).grid_for(read_references(seg))
    assert codes(grid) == ([finding] if finding else [])
    assert grid.shape == (6, 10, 12)
    volume = onto(read(seg), grid)
    assert [int(volume.mask(number).sum()) for number in (1, 2)] == [30, 36]


@pytest.mark.skipif(FAULTS is None, reason="no folder of files that went wrong (IDCSEG_SHARED_DATA)")
@pytest.mark.parametrize("seg", ["16g_source_in_frame.dcm", "references/09a_source_image_sequence_only.dcm"])
def test_references_where_they_may_stand(seg):
    assert FAULTS is not None
    grid = SourceImages.below([FAULTS / "references" / "ct"]).grid_for(read_references(FAULTS / seg))
    assert (grid.series_uid, codes(grid)) == ("1.2.826.0.1.3680043.10.999.7.5", [])
