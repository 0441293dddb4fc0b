"""A segment may be named by its id or by its row, however a library gives rows."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import segtools
from segtools.errors import MissingError, UsageError
from tests.dataset.build import (
    ALL,
    FRACTIONAL,
    MASKS,
    NONE,
    PLAIN,
    VOLUMES,
    build,
)

KINDS = [PLAIN, FRACTIONAL, MASKS, NONE]
CHOSEN = [
    ["segment_id"],
    ["segment_id", "volume_ml", "structure"],
    ["segment_id", "volume_path"],
    ["seg_sop_uid", "segment_number"],
    ["seg_sop_uid", "segment_number", "mask_path", "max_fractional_value"],
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    with segtools.open(build(tmp_path_factory.mktemp("rows") / "abdomen").root) as opened:
        yield opened


def as_dicts(table):
    return table.to_pylist()


def as_arrow(table):
    return [table.slice(number, 1) for number in range(table.num_rows)]


def as_structs(table):
    return list(table.to_struct_array())


def as_named_tuples(table):
    kind = namedtuple("Segment", table.column_names)
    return [kind(**row) for row in table.to_pylist()]


def as_pandas_rows(table):
    pytest.importorskip("pandas")
    return [row for _, row in table.to_pandas().iterrows()]


def as_pandas_frames(table):
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    return [frame.iloc[[number]] for number in range(len(frame))]


def as_pandas_tuples(table):
    pytest.importorskip("pandas")
    return list(table.to_pandas().itertuples())


def as_polars_rows(table):
    return list(pytest.importorskip("polars").from_arrow(table).iter_rows(named=True))


def as_polars_frames(table):
    frame = pytest.importorskip("polars").from_arrow(table)
    return [frame[number] for number in range(len(frame))]


LIBRARIES = [
    as_dicts, as_arrow, as_structs, as_named_tuples,
    as_pandas_rows, as_pandas_frames, as_pandas_tuples, as_polars_rows, as_polars_frames,
]  # fmt: skip


@pytest.mark.parametrize("rows_of", LIBRARIES)
@pytest.mark.parametrize("columns", [None, *CHOSEN], ids=lambda c: "+".join(c) if c else "all")
def test_a_row_names_its_segment(dataset, rows_of, columns):
    """All kinds of storage in one table, so that every path column has gaps and every integer too."""
    order = "ORDER BY seg_sop_uid, segment_number"
    whole = dataset.sql(f"SELECT * FROM segments {order}").to_pylist()
    chosen = dataset.sql(f"SELECT {', '.join(columns) if columns else '*'} FROM segments {order}")
    compared = 0
    for row, known in zip(rows_of(chosen), whole, strict=True):
        volume = VOLUMES.get(known["seg_series_uid"])
        if volume is None:
            with pytest.raises(MissingError, match="no volume"):
                dataset.mask(row)
            continue
        np.testing.assert_array_equal(dataset.mask(row), volume.mask(known["segment_number"]))
        np.testing.assert_array_equal(dataset.fraction(row) != 0, volume.mask(known["segment_number"]))
        compared += 1
    assert compared == 3 * (len(ALL) - 1)


@pytest.mark.parametrize("rows_of", LIBRARIES)
@pytest.mark.parametrize(
    "columns", ["*", "segment_id", "seg_sop_uid", "seg_series_uid", "collection_id, seg_sop_uid, segment_id"]
)
def test_a_row_names_its_instance(dataset, rows_of, columns):
    table = dataset.sql(
        f"SELECT {columns} FROM segments WHERE seg_series_uid = $uid", {"uid": PLAIN.seg_series_uid}
    )
    for row in rows_of(table):
        np.testing.assert_array_equal(dataset.volume(row).array, VOLUMES[PLAIN.seg_series_uid].layers[0])


def test_arrow_and_numpy_text_is_text(dataset):
    name = dataset.segments("volume_path IS NOT NULL", ["segment_id"])["segment_id"][0]
    for text in (name, np.str_(name.as_py())):
        assert dataset.mask(text).dtype == bool


@pytest.mark.parametrize(
    "value",
    [7, 7.5, None, True, float("nan"), b"abc", (), [], ["a/1"], ("a/1", 1), {}, {"structure": "liver"},
     {"segment_id": None}, {"segment_id": float("nan")}, {"segment_id": 7}, {"seg_sop_uid": "1.2"},
     {"segment_number": 1}, {"seg_sop_uid": "1.2", "segment_number": "one"},
     {"seg_sop_uid": "1.2", "segment_number": 1.5}, object(), np.array([1, 2]), slice(1)],
    ids=lambda value: repr(value).split(" at ")[0],
)  # fmt: skip
def test_what_names_no_segment_is_told_what_is_wanted(dataset, value):
    for method in (dataset.mask, dataset.fraction):
        with pytest.raises(UsageError) as caught:
            method(value)
        assert caught.value.code == "argument-invalid"
        assert "segment" in caught.value.message


@pytest.mark.parametrize("value", [7, None, {}, {"structure": "liver"}, {"seg_series_uid": float("nan")}, []])
def test_what_names_no_instance_is_told_what_is_wanted(dataset, value):
    with pytest.raises(UsageError) as caught:
        dataset.volume(value)
    assert caught.value.code == "argument-invalid"
    assert "SeriesInstanceUID" in caught.value.message


@pytest.mark.parametrize("column", ["fraction_path", "mask_path", "volume_path"])
@pytest.mark.parametrize("cell", [7, ["a"], b"a.nii.gz"])
def test_a_path_is_text(dataset, column, cell):
    row = dataset.segments("volume_path IS NOT NULL").to_pylist()[0]
    with pytest.raises(UsageError, match=column):
        dataset.mask(row | {"fraction_path": None, "mask_path": None, "volume_path": None} | {column: cell})


@pytest.mark.parametrize("labels", ["name", "structure", "", None, 7, ["segment"]])
def test_labels_that_are_none_are_refused(dataset, labels):
    with pytest.raises(UsageError) as caught:
        dataset.volume(PLAIN.seg_series_uid, labels=labels)
    assert caught.value.code == "argument-invalid"
    assert "'segment'" in caught.value.message
    assert "'cohort'" in caught.value.message


def test_several_rows_are_no_row(dataset):
    with pytest.raises(UsageError, match="15 rows"):
        dataset.mask(dataset.segments())


@pytest.mark.parametrize("path", [None, 7, ["a"], b"abdomen"])
def test_what_is_no_path_is_not_opened(path):
    with pytest.raises(UsageError) as caught:
        segtools.open(path)
    assert caught.value.code == "argument-invalid"
