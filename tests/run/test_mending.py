"""A run verifies the last commit: it makes lost and damaged files again, and refuses what it cannot read."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow.parquet as pq
import pytest

import segtools
from segtools.check import audit
from segtools.errors import DatasetError
from tests.factories.dataset import pages
from tests.run.whole import Place, complete, content, make_place

TABLES = ("series", "segments", "findings", "files")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Place:
    """An archive, and the dataset of it."""
    place = make_place(tmp_path_factory.mktemp("world"), 4)
    complete(place.run(place.root / "whole"))
    return place


@pytest.fixture
def dataset(world, tmp_path):
    shutil.copytree(world.root / "whole", tmp_path / "dataset")
    return tmp_path / "dataset"


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.write_bytes(found)


def lose(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def hand_edit(path):
    """A table with the same schema and other rows; valid for whoever reads it."""
    table = pq.ParquetFile(path).read()
    pq.write_table(table.slice(0, max(0, len(table) - 1)), path)


def the_page(dataset, table):
    from segtools.dataset.layout import Layout

    return pages(Layout(dataset), table)[0]


def is_mended(world, dataset, processed=None):
    run = world.run(dataset)
    complete(run)
    assert content(dataset) == content(world.root / "whole")
    with segtools.open(dataset) as opened:
        assert audit(opened).to_pylist() == []
    return processed is None or run.processed == processed


@pytest.mark.parametrize("damage", [lose, cut, flip, empty, hand_edit])
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_page_is_made_again(world, dataset, table, damage, caplog):
    """All tables lose the page together, so its series are done again and the dataset is as it was."""
    damage(the_page(dataset, table))
    assert is_mended(world, dataset)
    assert f"tables/{table}/" in caplog.text


def test_all_tables_lost_at_once(world, dataset):
    shutil.rmtree(dataset / "tables")
    assert is_mended(world, dataset, 4)


def test_a_lost_manifest_begins_again(world, dataset):
    (dataset / "dataset.json").unlink()
    assert is_mended(world, dataset, 4)


@pytest.mark.parametrize("damage", [lose, cut, flip, empty])
@pytest.mark.parametrize("kind", ["nii.gz", "json", "tsv"])
def test_a_damaged_file_is_made_again(world, dataset, kind, damage, caplog):
    """Only its own series is worked on."""
    path = sorted((dataset / "volumes").rglob(f"*.{kind}"))[0]
    damage(path)
    assert is_mended(world, dataset, 1)
    assert path.parent.name in caplog.text


def test_a_flipped_file_that_keeps_its_time_stamp(world, dataset):
    path = sorted((dataset / "volumes").rglob("*.nii.gz"))[0]
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_mended(world, dataset, 1)


def test_all_volumes_lost(world, dataset):
    shutil.rmtree(dataset / "volumes")
    assert is_mended(world, dataset, 3)  # the fourth series failed, it never had one


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "dataset-invalid"),
        ("", "dataset-invalid"),
        ("[1]", "dataset-invalid"),
        ('{"format_version": "2"}', "dataset-invalid"),
        ('{"format_version": 2}', "dataset-invalid"),
        ('{"format_version": 2, "tables": {"series": {"rows": 0, "files": []}}}', "dataset-invalid"),
        ('{"format_version": 99}', "dataset-incompatible"),
        ('{"format_version": 1}', "dataset-incompatible"),
        ("[" * 100_000, "dataset-invalid"),
    ],
)
def test_what_cannot_be_read_is_refused_and_left_as_it_is(world, dataset, text, code):
    (dataset / "dataset.json").write_text(text)
    before = content(dataset)
    with pytest.raises(DatasetError) as caught:
        complete(world.run(dataset))
    assert caught.value.code == code
    assert "choose another folder" in str(caught.value)
    assert content(dataset) == before


def test_a_path_that_leads_out_is_no_page(world, dataset, tmp_path):
    manifest = json.loads((dataset / "dataset.json").read_bytes())
    manifest["tables"]["segments"]["files"][0]["path"] = "../outside.parquet"
    (tmp_path / "outside.parquet").write_bytes(b"PAR1")
    (dataset / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="leads out"):
        complete(world.run(dataset))
    assert (tmp_path / "outside.parquet").exists()
