"""Lists of patients and series from files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segtools.errors import SpecError
from segtools.select import load_spec

UUIDS = ("0a6aa7f4-6c1f-4f2e-9c0c-000000000001", "0a6aa7f4-6c1f-4f2e-9c0c-000000000002")


def cohort(folder: Path, text: str):
    (folder / "c.yaml").write_text(text)
    return load_spec(folder / "c.yaml")


@pytest.mark.parametrize(
    ("name", "content", "key", "column", "expected"),
    [
        ("a.csv", "PatientID,age\nP1,3\nP2,4\nP1,5\n", "patients", None, ("P1", "P2")),
        ("a.csv", '\ufeff"Patient ID","PatientID"\n"x, y","P ""1"""\n', "patients", "Patient ID", ("x, y",)),
        ("a.csv", '\ufeff"Patient ID","PatientID"\n"x, y","P ""1"""\n', "patients", None, ('P "1"',)),
        ("a.csv", "who\r\nP1\r\n\r\n P2 \r\n", "patients", None, ("P1", "P2")),
        ("a.tsv", "n\tpatients\n1\tP1\n2\n3\tP3\n", "patients", None, ("P1", "P3")),
        ("a.txt", "# mine\n1.2.3\n\n1.2.4\n", "series_uids", None, ("1.2.3", "1.2.4")),
        ("a.txt", "1.2.3\n", "studies", None, ("1.2.3",)),
        (
            "m.s5cmd",
            f"# IDC manifest\ncp s3://idc-open-data/{UUIDS[0]}/* .\ncp gs://idc-open-data-cr/{UUIDS[1]}/* ./x\n",
            "crdc_series_uuids",
            None,
            UUIDS,
        ),
    ],
)
def test_values_come_from_files(tmp_path, name, content, key, column, expected):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    of = f", column: {column}" if column else ""
    assert getattr(cohort(tmp_path, f"{key}: {{file: {name}{of}}}"), key) == expected


def test_values_of_exclude_and_parquet(tmp_path):
    pq.write_table(pa.table({"SeriesInstanceUID": ["1.2", "1.3", "1.2", None]}), tmp_path / "a.parquet")
    spec = cohort(tmp_path, "exclude: {series_uids: {file: a.parquet}}")
    assert spec.exclude.series_uids == ("1.2", "1.3")


def test_many_values(tmp_path):
    (tmp_path / "a.csv").write_text("PatientID\n" + "".join(f"P{n % 90_000}\n" for n in range(100_000)))
    assert len(cohort(tmp_path, "patients: {file: a.csv}").patients) == 90_000


@pytest.mark.parametrize(
    ("content", "text", "says"),
    [
        ("PatientID,b\n1,2\n", "patients: {file: a.csv, column: PatientId}", "Did you mean PatientID?"),
        ("x,y\n1,2\n", "patients: {file: a.csv}", "has the columns x, y; say which one"),
        ("", "patients: {file: a.csv}", "say which one"),
        ("PatientID\n", "patients: {file: a.csv}", "holds no values"),
        ("x", "patients: {file: b.csv}", "cannot be read"),
        ("x", "patients: {file: a.csv, colum: x}", "unknown key 'colum'"),
        ("x", "patients: a.csv", "write {file: a.csv}"),
        ("series_uids\n../x\n", "description: x\nseries_uids: {file: a.csv}", "pattern"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path, content, text, says):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(SpecError) as caught:
        cohort(tmp_path, text)
    assert caught.value.code == "spec-invalid"
    assert says in str(caught.value)
    assert f"c.yaml:{text.count(chr(10)) + 1}" in str(caught.value)


def test_a_manifest_gives_series_versions_only(tmp_path):
    (tmp_path / "m.s5cmd").write_text(f"cp s3://idc-open-data/{UUIDS[0]}/* .\n")
    with pytest.raises(SpecError, match="belongs to crdc_series_uuids"):
        cohort(tmp_path, "patients: {file: m.s5cmd}")
    (tmp_path / "m.s5cmd").write_text("cp s3://idc-open-data/readme.txt .\n")
    with pytest.raises(SpecError, match="names no series"):
        cohort(tmp_path, "crdc_series_uuids: {file: m.s5cmd}")
