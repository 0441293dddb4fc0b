"""Loading a dataset: tables by SQL, masks and volumes as arrays, nothing heavy at import."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import segtools
from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.errors import DatasetError, MissingError, UsageError
from segtools.schema import DATASET_TABLES, SEGMENTS
from tests.dataset.build import (
    FRACTIONAL,
    LAYERED,
    MASKS,
    NONE,
    PLAIN,
    VOLUMES,
    build,
)
from tests.factories.dataset import commit, pages


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build(tmp_path_factory.mktemp("dataset") / "abdomen").root


@pytest.fixture
def dataset(root):
    with segtools.open(root) as opened:
        yield opened


def test_where_and_columns(dataset):
    table = dataset.segments("structure = 'liver' AND volume_ml > 0", ["segment_id", "volume_ml"])
    assert table.column_names == ["segment_id", "volume_ml"]
    assert table.num_rows == 5
    assert dataset.segments().num_rows == 15
    assert dataset.series("status = 'ok'").num_rows == 5
    assert dataset.findings().num_rows == 0


def test_rows_come_with_declared_types_units_and_order(dataset):
    table = dataset.segments()
    assert table.schema.names == list(SEGMENTS.names)
    assert table.schema.field("volume_ml").metadata[b"unit"] == b"ml"
    assert table.schema.field("affine_ras_mm").type == pa.list_(pa.float64(), 16)
    keys = list(zip(*(table[name].to_pylist() for name in SEGMENTS.order), strict=True))
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "where",
    [
        "structure = liver",
        "structur = 'liver'",
        "((",
        "1 = 1) OR (",
        "volume_ml > 'much'",
        "; DROP VIEW segments",
    ],
)
def test_a_bad_condition_is_a_usage_error(dataset, where):
    with pytest.raises(UsageError) as caught:
        dataset.segments(where)
    assert caught.value.code == "filter-invalid"
    assert "\n" not in caught.value.message
    assert dataset.segments().num_rows == 15


def test_a_comment_in_a_condition_ends_with_it(dataset):
    assert dataset.segments("structure = 'liver' -- all of them").num_rows == 5


def test_an_unknown_column_is_a_usage_error(dataset):
    with pytest.raises(UsageError) as caught:
        dataset.segments(columns=["volume_l"])
    assert caught.value.code == "filter-invalid"
    assert "volume_ml" in caught.value.hint


def test_one_column_may_stand_alone(dataset):
    assert dataset.segments(columns="volume_ml").column_names == ["volume_ml"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        ";",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "DROP VIEW segments",
        "CREATE OR REPLACE VIEW segments AS SELECT 1",
        "SET threads = 1",
        "COPY segments TO 'copy.csv'",
        "EXPLAIN ANALYZE DROP VIEW segments",
        "DROP VIEW segments; PIVOT series ON status USING count(*)",
        "SELECT * FROM 'nothing.parquet'",
        "SELECT 1 WHERE 1 = ?",
        7,
        None,
        b"SELECT 1",
    ],
)
def test_what_is_not_one_select_is_refused_and_changes_nothing(dataset, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        dataset.sql(query)
    assert caught.value.code == "filter-invalid"
    assert "\n" not in caught.value.message
    assert dataset.segments().num_rows == 15
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "FROM segments",
        "WITH a AS (SELECT 1) FROM a",
        "PIVOT segments ON status USING count(*)",
        "VALUES (1);",
    ],
)
def test_every_way_to_select(dataset, query):
    assert dataset.sql(query).num_rows > 0


@pytest.mark.parametrize(("where", "columns"), [(7, None), (None, [7]), (None, [["structure"]])])
def test_conditions_and_columns_are_text(dataset, where, columns):
    with pytest.raises(UsageError) as caught:
        dataset.segments(where, columns)
    assert caught.value.code == "filter-invalid"


def test_large_results_are_read_in_batches(dataset):
    with dataset.cursor() as cursor:
        cursor.execute("SELECT segment_id FROM segments")
        assert [len(cursor.fetchmany(10)) for _ in range(3)] == [10, 5, 0]


def test_a_table_that_is_none_is_the_datasets_fault(tmp_path):
    layout = build(tmp_path / "d")
    for path in pages(layout, "segments"):
        path.write_bytes(bytes(path.stat().st_size))
    with segtools.open(layout.root) as opened, pytest.raises(DatasetError) as caught:
        opened.segments()
    assert caught.value.code == "dataset-invalid"


def test_sql_joins_the_tables(dataset):
    table = dataset.sql(
        "SELECT count(*) AS n FROM segments JOIN series USING (seg_series_uid) WHERE volume_count = $n",
        {"n": 2},
    )
    assert table["n"].to_pylist() == [3]


@pytest.mark.parametrize(
    "series", [PLAIN, LAYERED, FRACTIONAL, MASKS], ids=["plain", "layers", "fraction", "masks"]
)
def test_masks_are_those_decoded(dataset, series):
    volume = VOLUMES[series.seg_series_uid]
    for row in dataset.segments(f"seg_series_uid = '{series.seg_series_uid}'").to_pylist():
        expected = volume.mask(row["segment_number"])
        for mask in (dataset.mask(row), dataset.mask(row["segment_id"])):
            assert mask.dtype == bool
            np.testing.assert_array_equal(mask, expected)
        assert int(expected.sum()) == row["voxel_count"]


def test_fractions_are_exact_quotients(dataset):
    row = dataset.segments(f"seg_series_uid = '{FRACTIONAL.seg_series_uid}'").to_pylist()[0]
    fraction = dataset.fraction(row)
    stored = VOLUMES[FRACTIONAL.seg_series_uid].fractions[1]
    assert fraction.dtype == np.float32
    assert fraction.max() == 1.0
    np.testing.assert_array_equal(fraction, stored.astype(np.float32) / np.float32(255))


def test_a_mask_is_a_fraction_of_zero_and_one(dataset):
    row = dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist()[0]
    assert set(np.unique(dataset.fraction(row))) == {0.0, 1.0}


def test_volume_by_row_instance_and_series(dataset):
    expected = VOLUMES[PLAIN.seg_series_uid]
    row = dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist()[1]
    for key in (row, row["seg_sop_uid"], PLAIN.seg_series_uid, dataset.series().to_pylist()[0]):
        volume = dataset.volume(key)
        np.testing.assert_array_equal(volume.array, expected.layers[0])
        np.testing.assert_allclose(volume.affine_ras_mm, expected.grid.affine_ras, rtol=1e-15)
        assert volume.segments["segment_number"].to_pylist() == [1, 2, 3]


def test_cohort_labels_are_looked_up(dataset):
    volume = dataset.volume(PLAIN.seg_series_uid, labels="cohort")
    lookup = dict(
        zip(volume.segments["structure"].to_pylist(), volume.segments["label_index"].to_pylist(), strict=True)
    )
    assert lookup == {"liver": 3, "kidney_left": 1, "kidney_right": 2}
    original = VOLUMES[PLAIN.seg_series_uid].layers[0]
    np.testing.assert_array_equal(volume.array, np.array([0, 3, 1])[original])


def test_layers_have_no_single_array(dataset):
    volume = dataset.volume(LAYERED.seg_series_uid)
    assert len(volume.layers) == 2
    np.testing.assert_array_equal(volume.layers[1], VOLUMES[LAYERED.seg_series_uid].layers[1])
    with pytest.raises(UsageError, match="2 layers"):
        _ = volume.array


@pytest.mark.parametrize("series", [FRACTIONAL, NONE], ids=["fraction", "none"])
def test_no_label_map_is_said_so(dataset, series):
    with pytest.raises(MissingError) as caught:
        dataset.volume(series.seg_series_uid)
    assert caught.value.code == "not-found"


def test_no_mask_is_said_so(dataset):
    stem = f"{NONE.seg_series_uid}/{NONE.seg_series_uid}.9"
    with pytest.raises(MissingError, match="no volume"):
        dataset.mask(f"{stem}/1")
    with pytest.raises(MissingError, match="no segment"):
        dataset.mask("00000000/1")
    with pytest.raises(MissingError, match="no volume"):
        dataset.volume("1.2.3")


def listing(entry):
    """Of a dataset.json with one table of one file."""
    return {"tables": {"segments": {"rows": 0, "files": [entry]}}}


def test_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(MissingError) as caught:
            segtools.open(path)
        assert caught.value.code == "not-found"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("{", "dataset-invalid"),
        ("[]", "dataset-invalid"),
        ({"format_version": 99}, "dataset-incompatible"),
        ({"format_version": None}, "dataset-invalid"),
        ({"tables": None}, "dataset-invalid"),
        (
            {"tables": {"segments": {"rows": 0, "files": [{"path": "../x", "bytes": 0, "rows": 0}]}}},
            "dataset-invalid",
        ),
        (
            {"tables": {"segments": {"rows": 0, "files": [{"path": "/etc/passwd", "bytes": 0, "rows": 0}]}}},
            "dataset-invalid",
        ),
        ({"tables": {"segments": {"rows": 0, "files": [{"path": "a"}]}}}, "dataset-invalid"),
    ],
)
def test_a_broken_manifest(tmp_path, change, code):
    layout = Layout(tmp_path / "d")
    transaction.prepare(layout)
    commit(layout, [])
    manifest = json.loads(layout.manifest.read_text())
    layout.manifest.write_text(change if isinstance(change, str) else json.dumps(manifest | change))
    with pytest.raises(DatasetError) as caught:
        segtools.open(layout.root)
    assert caught.value.code == code


def test_a_page_of_another_size_is_noticed(tmp_path):
    layout = Layout(tmp_path / "d")
    transaction.prepare(layout)
    commit(layout, [])
    with pages(layout, "segments")[0].open("ab") as file:
        file.write(b"x")
    with pytest.raises(DatasetError, match=r"dataset\.json says"):
        segtools.open(layout.root)


def test_missing_and_broken_volumes_are_dataset_errors(tmp_path):
    layout = build(tmp_path / "d")
    with segtools.open(layout.root) as dataset:
        row = dataset.segments("volume_path IS NOT NULL").to_pylist()[0]
        path = layout.absolute(row["volume_path"])
        path.write_bytes(b"\x1f\x8b no gzip")
        with pytest.raises(DatasetError) as caught:
            dataset.mask(row)
        assert caught.value.code == "dataset-invalid"
        path.unlink()
        with pytest.raises(DatasetError, match="is missing"):
            dataset.mask(row)
        with pytest.raises(DatasetError, match="leads out"):
            dataset.mask(row | {"volume_path": "../../etc/passwd"})


def test_a_moved_dataset_still_opens(tmp_path):
    layout = build(tmp_path / "here")
    layout.root.rename(tmp_path / "there")
    with segtools.open(tmp_path / "there") as dataset:
        row = dataset.segments("volume_path IS NOT NULL").to_pylist()[0]
        assert dataset.mask(row).any()


def test_repr_says_what_is_there(dataset):
    assert "5 series, 15 segments, 0 findings, " in repr(dataset)


def test_importing_segtools_is_light():
    heavy = "pydicom highdicom prefect google pandas pyarrow duckdb numpy isal cc3d pydantic yaml PIL sqlglot"
    code = (
        "import sys, segtools\n"
        f"found = [name for name in {heavy.split()!r} if name in sys.modules]\n"
        "assert not found, found\n"
        "assert segtools.open is segtools.dataset.reader.open_dataset\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_reading_a_table_needs_no_dicom(root):
    code = (
        "import sys, segtools\n"
        f"with segtools.open({str(root)!r}) as dataset:\n"
        "    row = dataset.segments('voxel_count > 0 AND volume_path IS NOT NULL').to_pylist()[0]\n"
        "    assert dataset.mask(row).any()\n"
        "found = [n for n in ('pydicom', 'highdicom', 'prefect', 'pandas', 'pydantic') if n in sys.modules]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_manifest_lists_all_tables(dataset):
    assert list(dataset.manifest["tables"]) == [table.name for table in DATASET_TABLES]
    assert all(path.is_file() for table in DATASET_TABLES for path in dataset.table_paths(table.name))
