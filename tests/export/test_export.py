"""Exports: every format opened with what reads it, or against its written rules."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

import segtools
from segtools.dataset.layout import Layout
from segtools.errors import ExportError, UsageError
from segtools.export import FORMATS, ExportOptions, cases, export
from segtools.export.labels import Combinations, LabelTable
from segtools.export.run import TARGETS
from segtools.schema import DATASET_TABLES
from tests.factories.dataset import commit, make_series, write_part

OVERLAP = ExportOptions(overlap="regions")


@pytest.fixture
def dataset(tmp_path):
    layout = Layout(tmp_path / "abdomen")
    both = [make_series(1), make_series(2)]
    write_part(layout, both)
    commit(layout, both)
    with segtools.open(layout.root) as opened:
        yield opened


@pytest.fixture
def images(tmp_path, dataset):
    """An image for each case, on its label map's grid."""
    folder = tmp_path / "images"
    folder.mkdir()
    for case in cases(dataset):
        label = nib.load(dataset.root / case.layers[0])
        values = np.arange(np.prod(label.shape), dtype=np.int16).reshape(label.shape)
        image = nib.Nifti1Image(values, label.affine)
        nib.save(image, folder / f"{case.series['source_series_uid']}.nii.gz")
    return folder


def truth(dataset, case):
    """Structure of every voxel of a case, by the load API."""
    return {
        row["structure"]: dataset.mask(row)
        for row in dataset.segments().to_pylist()
        if row["seg_sop_uid"] == case.segments[0]["seg_sop_uid"]
    }


def loaded(path):
    return np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)


def test_case_names_are_unique_plain_and_stable(dataset):
    names = [case.name for case in cases(dataset)]
    assert len(set(names)) == 2
    assert names == [case.name for case in cases(dataset)]
    assert all(name.replace("-", "").isalnum() and name.isascii() for name in names)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_voxel_has_its_structures_number(dataset, images, tmp_path, target):
    report = export(dataset, target, tmp_path / "out", ExportOptions(images=images))
    assert report.cases == 2
    assert not report.skipped
    assert sorted(report.labels.values()) == [1, 2, 3]
    made = TARGETS[target]()
    for case in cases(dataset):
        array = loaded(tmp_path / "out" / made.label_map(case))
        masks = truth(dataset, case)
        assert masks
        for structure, mask in masks.items():
            np.testing.assert_array_equal(array == report.labels[structure], mask)
        ours, image = (nib.load(tmp_path / "out" / path) for path in (made.label_map(case), made.image(case)))
        assert ours.shape == image.shape
        np.testing.assert_allclose(ours.affine, image.affine, atol=1e-5)


def test_the_same_export_twice_gives_the_same_bytes(dataset, images, tmp_path):
    for name in ("a", "b"):
        export(dataset, "nnunet", tmp_path / name, ExportOptions(images=images))
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 5
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_nnunet_follows_its_written_rules(dataset, images, tmp_path):
    export(dataset, "nnunet", tmp_path / "Dataset001_abdomen", ExportOptions(images=images))
    root = tmp_path / "Dataset001_abdomen"
    content = json.loads((root / "dataset.json").read_bytes())
    assert content["channel_names"] == {"0": "CT"}
    assert content["numTraining"] == 2
    assert content["labels"]["background"] == 0
    assert sorted(content["labels"].values()) == list(range(len(content["labels"])))
    labels = {path.name for path in (root / "labelsTr").iterdir()}
    assert {path.name for path in (root / "imagesTr").iterdir()} == {
        name.replace(".nii.gz", "_0000.nii.gz") for name in labels
    }
    for name in labels:
        assert set(np.unique(loaded(root / "labelsTr" / name))) <= set(content["labels"].values())


def test_a_format_that_needs_images_says_which_cases_have_none(dataset, images, tmp_path):
    next(images.iterdir()).unlink()
    report = export(dataset, "nnunet", tmp_path / "out", ExportOptions(images=images))
    assert report.cases == 1
    assert [error.code for _, error in report.skipped] == ["export-needs-images"]
    with pytest.raises(ExportError) as refused:
        export(dataset, "nnunet", tmp_path / "none")
    assert refused.value.code == "export-empty"
    assert not (tmp_path / "none").exists()


def test_a_pair_on_two_grids_is_left_out(dataset, images, tmp_path):
    path = next(images.iterdir())
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine + np.eye(4)[3] * 0.01), path)
    report = export(dataset, "monai", tmp_path / "out", ExportOptions(images=images))
    assert report.cases == 1
    assert [error.code for _, error in report.skipped] == ["export-grid-differs"]


def overlapping(tmp_path):
    layout = Layout(tmp_path / "overlap")
    one = [make_series(1)]
    write_part(layout, one, layers=2)
    commit(layout, one)
    dataset = segtools.open(layout.root)
    second = layout.root / next(cases(dataset)).layers[1]
    image = nib.load(second)
    array = np.asarray(image.dataobj).copy()
    array[1:3, 1:3, 1] = 2  # voxels of the liver in the other layer
    nib.save(nib.Nifti1Image(array, image.affine), second)
    return dataset


def test_shared_voxels_are_refused_or_become_regions(tmp_path):
    with overlapping(tmp_path) as dataset:
        with pytest.raises(ExportError) as refused:
            export(dataset, "monai", tmp_path / "refused")
        assert refused.value.code == "export-empty"
        assert "share" in refused.value.message
        report = export(dataset, "monai", tmp_path / "out", OVERLAP)
        case = next(cases(dataset))
        listed = json.loads((tmp_path / "out/datalist.json").read_bytes())
        array = loaded(tmp_path / "out" / listed["training"][0]["label"])
        for structure, mask in truth(dataset, case).items():
            np.testing.assert_array_equal(np.isin(array, listed["regions"][structure]), mask)
        assert max(listed["regions"]["liver"]) > len(report.labels)


def test_a_format_without_regions_refuses_shared_voxels_whatever_is_asked(tmp_path):
    with overlapping(tmp_path) as dataset, pytest.raises(ExportError):
        export(dataset, "bids", tmp_path / "out", OVERLAP)


def test_combinations_of_three_keep_all_members():
    table = LabelTable({"a": 1, "b": 2, "c": 3}, dict.fromkeys("abc", "#000000"))
    combinations = Combinations.of(table)
    pair = combinations.number(frozenset({1, 2}))
    triple = combinations.number(frozenset({1, 2, 3}))
    assert combinations.number(frozenset({2, 1})) == pair
    assert combinations.regions(table) == {"a": [1, pair, triple], "b": [2, pair, triple], "c": [3, triple]}


def test_where_makes_other_segments_background(dataset, tmp_path):
    report = export(dataset, "monai", tmp_path / "out", ExportOptions(where="structure = 'liver'"))
    assert report.labels == {"liver": 1}
    for case in cases(dataset):
        array = loaded(tmp_path / "out/labels" / f"{case.name}.nii.gz")
        np.testing.assert_array_equal(array == 1, truth(dataset, case)["liver"])
        assert array.max() == 1


def test_links_are_links_and_only_where_nothing_changes(dataset, images, tmp_path):
    export(dataset, "monai", tmp_path / "out", ExportOptions(images=images, link="hard"))
    case = next(cases(dataset))
    source = images / f"{case.series['source_series_uid']}.nii.gz"
    assert (tmp_path / "out/images" / f"{case.name}.nii.gz").stat().st_ino == source.stat().st_ino
    assert (tmp_path / "out/labels" / f"{case.name}.nii.gz").stat().st_nlink == 1


@pytest.mark.parametrize("make", [lambda p: p.write_text("x"), lambda p: (p.mkdir(), (p / "f").touch())])
def test_nothing_is_overwritten(dataset, tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(ExportError) as refused:
        export(dataset, "monai", tmp_path / "out")
    assert refused.value.code == "export-exists"


def test_unknown_format(dataset, tmp_path):
    with pytest.raises(UsageError) as refused:
        export(dataset, "nrrd", tmp_path / "out")
    assert refused.value.code == "export-format"
    assert all(name in refused.value.message for name in FORMATS)


def test_bids_has_a_look_up_table_for_every_label_map(dataset, images, tmp_path):
    export(dataset, "bids", tmp_path / "out", ExportOptions(images=images))
    maps = sorted((tmp_path / "out").rglob("*_dseg.nii.gz"))
    assert len(maps) == 2
    for path in maps:
        lines = path.with_name(path.name.replace(".nii.gz", ".tsv")).read_text().splitlines()
        assert lines[0].split("\t")[:2] == ["index", "name"]
        numbers = {int(line.split("\t")[0]) for line in lines[1:]}
        assert set(np.unique(loaded(path))) - {0} <= numbers
    ignored = (tmp_path / "out/.bidsignore").read_text().split()
    assert all((tmp_path / "out" / path).is_file() for path in ignored)
    assert json.loads((tmp_path / "out/dataset_description.json").read_bytes())["DatasetType"] == "derivative"


def test_slicer_and_itksnap_tables_name_every_label(dataset, tmp_path):
    report = export(dataset, "slicer", tmp_path / "out")
    rows = [line.split() for line in (tmp_path / "out/labels.ctbl").read_text().splitlines()]
    assert {row[1]: int(row[0]) for row in rows[1:]} == report.labels
    snap = (tmp_path / "out/itksnap-labels.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in snap] == [0, 1, 2, 3]


def test_croissant_describes_the_tables_that_lie_beside_it(dataset, tmp_path):
    export(dataset, "croissant", tmp_path / "out")
    content = json.loads((tmp_path / "out/croissant.json").read_bytes())
    for item in content["distribution"]:
        assert (tmp_path / "out" / item["contentUrl"]).is_file()
    assert {record["name"] for record in content["recordSet"]} == {table.name for table in DATASET_TABLES}


def test_nothing_is_left_behind_when_it_fails(dataset, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TARGETS["monai"], "finish", fails)
    with pytest.raises(OSError, match="No space"):
        export(dataset, "monai", tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".tmp", "out"))]


def test_the_command_offers_every_format():
    from typing import get_args, get_type_hints

    from flows.commands.export import export as command

    assert set(get_args(get_type_hints(command)["to"])) == set(FORMATS)
