"""Runs with `output.images`: the segmented images beside the masks."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

import segtools
from segtools.check import audit, check_catalog
from segtools.errors import MissingError, SpecError
from segtools.export import ExportOptions, export
from segtools.index import build_index
from segtools.phantom.archive import write_archive
from segtools.select import parse_spec, plan, select
from segtools.select.engines.sources import Sources
from tests.run.whole import Place, complete, content

CASES = "collections: [phantom_kidney, phantom_tumors]\nsource: {idc: false}\n"
PAIRS = CASES + "output: {grid: source, images: nifti}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The phantom archive and its index; not to be changed."""
    place = Place(tmp_path_factory.mktemp("archive"))
    write_archive(place.archive)
    build_index(place.archive, place.index, workers=1)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(made.archive, tmp_path / "archive")
    copy = Place(tmp_path)
    build_index(copy.archive, copy.index, workers=1)
    return copy


def run(place, dataset, cohort=PAIRS, **changes):
    from segtools.decode.geometry.source_images import SourceImages

    return place.run(dataset, cohort=cohort, source_images=SourceImages({}), **changes)


def stored(place, series_uid):
    """Stored values of an image series by position, read by pydicom."""
    slices = []
    for path in place.archive.rglob("*.dcm"):
        image = pydicom.dcmread(path)
        if image.SeriesInstanceUID == series_uid:
            slices.append((float(image.ImagePositionPatient[2]), image.pixel_array))
    return np.stack([array for _, array in sorted(slices, key=lambda pair: pair[0])])


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_every_mask_has_its_image_on_the_same_grid(made, tmp_path, kind):
    complete(run(made, tmp_path / "pairs", kind=kind))
    with segtools.open(tmp_path / "pairs") as dataset:
        rows = dataset.segments("voxel_count > 0").to_pylist()
        assert {row["collection_id"] for row in rows} == {"phantom_kidney", "phantom_tumors"}
        for row in rows:
            image, mask = dataset.pair(row)
            assert image.array.shape == mask.shape
            if row["volume_path"]:
                paths = [tmp_path / "pairs" / path for path in (row["volume_path"], image.row["image_path"])]
                label, ct = (nib.load(path) for path in paths)
                assert label.affine.tobytes() == ct.affine.tobytes()
        pictures = {row["image_series_uid"]: row for row in dataset.images().to_pylist()}
        assert len({row["image_path"] for row in pictures.values()}) == len(pictures)
        for uid, row in pictures.items():
            array = np.asarray(nib.load(tmp_path / "pairs" / row["image_path"]).dataobj).transpose(2, 1, 0)
            np.testing.assert_array_equal(array, stored(made, uid))
            assert row["unit"] == "[hnsf'U]"
            side = tmp_path / "pairs" / row["image_path"].replace(".nii.gz", ".json")
            assert json.loads(side.read_bytes())["SeriesInstanceUID"] == uid
        assert audit(dataset).num_rows == 0


def test_a_run_again_does_nothing_and_a_lost_image_is_made_again(made, tmp_path):
    dataset = tmp_path / "pairs"
    complete(run(made, dataset))
    before = content(dataset)
    again = run(made, dataset)
    complete(again)
    assert again.processed == 0
    assert content(dataset) == before
    next(dataset.rglob("*_image.nii.gz")).unlink()
    complete(run(made, dataset))
    assert content(dataset) == before


def test_masks_on_their_own_grid_are_told_to_differ(made, tmp_path):
    cohort = CASES + "output: {images: nifti}\n"
    complete(run(made, tmp_path / "pairs", cohort))
    with segtools.open(tmp_path / "pairs") as dataset:
        differ = {row["seg_series_uid"] for row in dataset.findings("rule = 'pair-grid-differs'").to_pylist()}
        assert differ
        row = dataset.segments(f"seg_series_uid = '{min(differ)}'").to_pylist()[0]
        with pytest.raises(MissingError, match="no pair"):
            dataset.pair(row)
        assert check_catalog(dataset).num_rows >= len(differ)


def broken(place, how):
    """Break the images of one patient, and give the SEG series drawn on them."""
    paths = [
        path
        for path in sorted(place.archive.rglob("*.dcm"))
        if (header := pydicom.dcmread(path)).Modality == "CT" and header.PatientID == "PHANTOM-0003"
    ]
    how(paths)
    build_index(place.archive, place.index, workers=1)


def without_pixels(paths):
    image = pydicom.dcmread(paths[0])
    del image.PixelData
    image.save_as(paths[0])


def a_slice_less(paths):
    paths[len(paths) // 2].unlink()


def in_colour(paths):
    image = pydicom.dcmread(paths[3])
    image.PhotometricInterpretation, image.SamplesPerPixel = "RGB", 3
    image.save_as(paths[3])


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (without_pixels, "missing-attribute"),
        (a_slice_less, "image-incomplete"),
        (in_colour, "image-unsupported"),
    ],
)
def test_images_that_cannot_be_had_cost_no_mask(place, tmp_path, how, code):
    broken(place, how)
    complete(run(place, tmp_path / "pairs"))
    with segtools.open(tmp_path / "pairs") as dataset:
        failed = dataset.images("status = 'failed'").to_pylist()
        assert {row["error_code"] for row in failed} == {code}
        assert {row["patient_id"] for row in failed} == {"PHANTOM-0003"}
        for row in failed:
            uid = row["seg_series_uid"]
            (series,) = dataset.series(f"seg_series_uid = '{uid}'").to_pylist()
            assert series["image_path"] is None
            assert series["status"] == "warned"
            found = dataset.findings(f"seg_series_uid = '{uid}' AND rule = 'image-unavailable'")
            assert found.num_rows == 1
            assert dataset.mask(dataset.segments(f"seg_series_uid = '{uid}'").to_pylist()[0]).any()
            with pytest.raises(MissingError):
                dataset.image(uid)
        assert audit(dataset).num_rows == 0


def test_a_plan_counts_the_images(made):
    spec = parse_spec(PAIRS, "pairs")
    with_images = plan(select(spec, Sources.of(spec, indexes=(made.index,))), spec)
    without = parse_spec(CASES, "masks")
    alone = plan(select(without, Sources.of(without, indexes=(made.index,))), without)
    assert alone.image_series == alone.image_bytes == 0
    assert with_images.image_series > 0
    assert with_images.bytes == alone.bytes + with_images.image_bytes


def test_pairs_are_exported_to_nnunet(made, tmp_path):
    complete(run(made, tmp_path / "pairs"))
    with segtools.open(tmp_path / "pairs") as dataset:
        report = export(
            dataset, "nnunet", tmp_path / "Dataset001", ExportOptions(overlap="regions", link="hard")
        )
    assert report.cases > 0
    assert not report.skipped
    for label in (tmp_path / "Dataset001/labelsTr").iterdir():
        image = tmp_path / "Dataset001/imagesTr" / label.name.replace(".nii.gz", "_0000.nii.gz")
        assert nib.load(image).shape == nib.load(label).shape


def test_images_need_volumes():
    with pytest.raises(SpecError, match="images"):
        parse_spec(CASES + "output: {images: nifti, volumes: none}\n", "pairs")
