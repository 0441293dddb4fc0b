"""Parts of a cohort that never share a patient, and samples of every value of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.errors import SpecError
from segtools.select import (
    BigQueryEngine,
    LocalEngine,
    Sources,
    parse_spec,
    select,
)
from segtools.select.split import part_of, with_split
from tests.select.world import DICOM_ALL_SCHEMA, instance, segmentations

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_patient_has_one_part(collection: str, patient: str) -> None:
    assert part_of(collection, patient, SHARES) == part_of(collection, patient, SHARES)
    assert part_of(collection, patient, {"all": 1.0}) == "all"


def test_shares_hold_and_growth_moves_nobody() -> None:
    patients = [f"P{number}" for number in range(5_000)]
    parts = {patient: part_of("a", patient, SHARES) for patient in patients}
    counts = {name: list(parts.values()).count(name) / len(parts) for name in SHARES}
    assert all(abs(counts[name] - share) < 0.02 for name, share in SHARES.items())
    # Moving the border between two parts leaves the others where they are.
    moved = {patient: part_of("a", patient, {"train": 0.7, "val": 0.2, "test": 0.1}) for patient in patients}
    assert {p for p in patients if parts[p] == "test"} == {p for p in patients if moved[p] == "test"}
    assert part_of("a", "P1", SHARES) == "val"  # as ever: the hash is part of the format


def test_the_column_keeps_patients_together(local: LocalEngine) -> None:
    spec = parse_spec("idc_version: 25\nsplit: {train: 0.5, test: 0.5}")
    rows = select(spec, Sources(idc=False), local).series.to_pylist()
    by_person: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        by_person.setdefault((row["collection_id"], row["patient_id"]), set()).add(row["split"])
    assert all(len(parts) == 1 for parts in by_person.values())
    plain = select(parse_spec("idc_version: 25"), Sources(idc=False), local).series
    assert plain["split"].null_count == plain.num_rows
    assert with_split(plain.drop_columns(["split"]), {"one": 1.0})["split"].to_pylist() == ["one"] * len(
        plain
    )


@pytest.mark.parametrize(
    "text", ["{train: 0.8}", "{train: 0.8, test: 0.3}", "{train: 1, test: 0}", "{train: -1}"]
)
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(SpecError, match="split"):
        parse_spec(f"split: {text}")


def test_a_sample_of_every_value(server, bigquery: BigQueryEngine) -> None:
    licenses: Mapping[int, str | None] = {0: "CC BY 4.0", 1: "CC BY-NC 3.0", 2: None}
    rows = [
        instance(f"1.{number}", PatientID=f"P{number}", license_short_name=licenses[number % 3])
        for number in range(30)
    ]
    table = pa.Table.from_pylist(rows, schema=DICOM_ALL_SCHEMA)
    local = LocalEngine(threads=1, tables={"dicom_all": table, "segmentations": segmentations()})
    server.tables["bigquery-public-data.idc_v25.dicom_all"] = table
    spec = parse_spec("idc_version: 25\nsample: {patients: 4, per: license}")
    found = select(spec, Sources(idc=False), local).series
    counts = {row["values"]: row["counts"] for row in found["license"].value_counts().to_pylist()}
    assert counts == {"CC BY 4.0": 4, "CC BY-NC 3.0": 4, None: 4}
    assert found.equals(select(spec, Sources(), bigquery).series)
