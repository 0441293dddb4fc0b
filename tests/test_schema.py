"""The tables' declarations are consistent with one another and with their own rules."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from segtools.codes import Severity
from segtools.schema import (
    DATASET_TABLES,
    FINDINGS,
    IDC_INSTANCES,
    IDC_SEGMENTATIONS,
    IDC_SERIES,
    OBJECTS,
    SEGMENTS,
    SELECTION,
    SERIES,
)
from segtools.series import RemoteObject, SelectedSeries

OURS = (SELECTION, OBJECTS, *DATASET_TABLES)
ALL = (*OURS, IDC_SEGMENTATIONS, IDC_SERIES, IDC_INSTANCES)
OUR_COLUMNS = [pytest.param(t, c, id=f"{t.name}.{c.name}") for t in OURS for c in t.columns]


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_tables(table):
    assert len(set(table.names)) == len(table.names)
    assert {*table.key, *table.order} <= set(table.names)
    assert table.description.endswith(".")
    assert table.arrow.names == list(table.names)
    assert table.empty().num_rows == 0
    assert table.arrow.metadata == {b"table": table.name.encode()}


@pytest.mark.parametrize("table", OURS, ids=lambda table: table.name)
def test_keys_are_never_null(table):
    assert table.key
    assert not any(table[name].nullable for name in table.key)


@pytest.mark.parametrize("table", DATASET_TABLES, ids=lambda table: table.name)
def test_row_order_is_total(table):
    """The order has the key, or what determines it; else bytes would depend on the run."""
    determines = {"segments": {"seg_sop_uid", "segment_number"}}.get(table.name, set(table.key))
    assert determines <= set(table.order)


@pytest.mark.parametrize(("table", "column"), OUR_COLUMNS)
def test_columns(table, column):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    assert column.description.endswith(".")
    suffix = column.name.rsplit("_", 1)[-1]
    if suffix in ("mm", "ml", "bytes", "s") and column.name != "affine":
        assert column.unit == {"s": "s"}.get(suffix, suffix)
    assert not column.values or pa.types.is_string(column.type)
    assert column.minimum is None or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    assert column.field.nullable == column.nullable
    assert column.field.metadata[b"description"] == column.description.encode()


def test_one_name_has_one_type_in_all_our_tables():
    seen = {}
    for table in OURS:
        for column in table.columns:
            assert seen.setdefault(column.name, column.type) == column.type, column.name


def test_numbers_of_a_segment_are_nullable():
    """A failure is never a number."""
    measured = SEGMENTS.names[SEGMENTS.names.index("size_i") : SEGMENTS.names.index("status")]
    assert len(measured) > 20
    assert all(SEGMENTS[name].nullable for name in measured)


def test_records_are_rows():
    series = SelectedSeries("c", "p", "1", "2", "u", "s3://b/u/", 1, 1)
    assert set(series.row()) == set(SELECTION.names)
    assert SELECTION.from_rows([series.row()]).num_rows == 1
    assert set(RemoteObject.__slots__) | {"seg_series_uid"} == set(OBJECTS.names)


def test_severities_are_the_declared_ones():
    assert FINDINGS["severity"].values == tuple(severity.name.lower() for severity in Severity)


def test_from_rows_refuses_unknown_columns():
    with pytest.raises(AssertionError, match="colour"):
        SERIES.from_rows([{"colour": "red"}])
    with pytest.raises(KeyError):
        SERIES["colour"]


def test_units_and_descriptions_survive_parquet(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(SEGMENTS.empty(), tmp_path / "t.parquet")
    field = pq.read_schema(tmp_path / "t.parquet").field("volume_ml")
    assert field.metadata[b"unit"] == b"ml"
    assert field.metadata[b"description"] == SEGMENTS["volume_ml"].description.encode()
