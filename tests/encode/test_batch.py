"""Many jobs: none is done twice, a bad one costs itself, and a cohort run reads them back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from segtools.encode.jobs.batch import LEDGER, TABLE, encode_batch, read_jobs
from segtools.errors import UsageError
from segtools.index import build_index
from tests.factories import masks as made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made.source_folder(tmp_path / "ct")
    made.write_nifti(tmp_path / "good.nii.gz", made.label_map())
    made.write_nifti(tmp_path / "bad.nii.gz", made.label_map() * np.uint8(9))
    made.write_dcmqi(tmp_path / "meta.json", [[made.dcmqi_segment(1), made.dcmqi_segment(2, "Spleen")]])
    return tmp_path


def table(place: Path, *rows: dict[str, str]) -> Path:
    path = place / "jobs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["output", "masks", "source", "meta", "type", "codec"])
        writer.writeheader()
        writer.writerows({"source": "ct", "meta": "meta.json", **row} for row in rows)
    return path


def test_each_ends_as_an_object_or_a_code(place: Path) -> None:
    jobs = table(
        place,
        {"output": "a.dcm", "masks": "good.nii.gz"},
        {"output": "b/c.dcm", "masks": "good.nii.gz", "type": "binary"},
        {"output": "d.dcm", "masks": "bad.nii.gz"},
        {"output": "e.dcm", "masks": "none.nii.gz"},
    )
    out = place / "out"
    told: list[bool] = []
    outcomes = encode_batch(read_jobs(jobs), out, told=lambda _, earlier: told.append(earlier))
    assert [o.status for o in outcomes] == ["ok", "ok", "failed", "failed"]
    assert [o.code for o in outcomes] == ["", "", "invalid-mask", "not-found"]
    assert told == [False] * 4
    lines = list(csv.DictReader((out / TABLE).read_text().splitlines()))
    assert [(line["output"], line["voxels"]) for line in lines[:2]] == [
        (name, str(np.count_nonzero(made.label_map()))) for name in ("a.dcm", "b/c.dcm")
    ]

    before = (out / "a.dcm").read_bytes()
    told.clear()
    assert encode_batch(read_jobs(jobs), out, told=lambda _, earlier: told.append(earlier)) == outcomes
    assert told == [True] * 4
    assert (out / "a.dcm").read_bytes() == before

    (out / "b" / "c.dcm").unlink()
    made.write_nifti(place / "none.nii.gz", made.label_map())
    told.clear()
    outcomes = encode_batch(read_jobs(jobs), out, told=lambda _, earlier: told.append(earlier))
    assert told == [True, False, True, False]
    assert [o.status for o in outcomes] == ["ok", "ok", "failed", "ok"]

    told.clear()
    encode_batch(read_jobs(jobs), out, retry=True, told=lambda _, earlier: told.append(earlier))
    assert told == [True, True, False, True]


def test_a_ledger_cut_short_costs_its_last_line(place: Path) -> None:
    jobs = table(
        place, {"output": "a.dcm", "masks": "good.nii.gz"}, {"output": "b.dcm", "masks": "good.nii.gz"}
    )
    encode_batch(read_jobs(jobs), place / "out")
    ledger = place / "out" / LEDGER
    ledger.write_text(ledger.read_text()[:-40])
    told: list[bool] = []
    encode_batch(read_jobs(jobs), place / "out", told=lambda _, earlier: told.append(earlier))
    assert told == [True, False]


def test_masks_to_objects_to_an_index(place: Path) -> None:
    jobs = table(place, {"output": "a.dcm", "masks": "good.nii.gz"})
    (outcome,) = encode_batch(read_jobs(jobs), place / "out")
    report = build_index(place / "out", place / "index")
    beside = json.loads((place / "out" / "a.json").read_text())
    assert (report.instances, report.segments) == (1, 2)
    assert outcome.segments == len(beside["Segments"])


def test_parquet_is_read_as_csv_is(place: Path) -> None:
    row = {"output": "a.dcm", "masks": "good.nii.gz", "source": "ct", "meta": "meta.json"}
    pyarrow.parquet.write_table(pa.Table.from_pylist([row]), place / "jobs.parquet")
    assert (
        read_jobs(place / "jobs.parquet")[0].job
        == read_jobs(table(place, {k: row[k] for k in ("output", "masks")}))[0].job
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"masks": "x"}, "'output' is empty"),
        ({"output": "a.dcm"}, "'masks' is empty"),
        ({"output": "../a.dcm", "masks": "x"}, "leaves the output folder"),
        ({"output": "/a.dcm", "masks": "x"}, "leaves the output folder"),
        ({"output": "a.dcm", "masks": "x", "type": "lable"}, "none of binary"),
        ({"output": "a.dcm", "masks": "x", "codec": "zip"}, "none of raw"),
    ],
)
def test_what_is_no_job(row: dict[str, str], says: str, place: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read_jobs(table(place, row))
    assert caught.value.attrs["row"] == 1


def test_unknown_columns_and_no_jobs(place: Path) -> None:
    (place / "a.csv").write_text("output,mask\na.dcm,x\n")
    with pytest.raises(UsageError, match="did you mean 'masks'"):
        read_jobs(place / "a.csv")
    (place / "a.csv").write_text("output,masks\n")
    with pytest.raises(UsageError, match="no job"):
        read_jobs(place / "a.csv")
    (place / "a.csv").write_text("output,masks\na.dcm,x\na.dcm,y\n")
    with pytest.raises(UsageError, match="twice"):
        read_jobs(place / "a.csv")
