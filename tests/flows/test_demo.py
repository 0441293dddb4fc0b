"""The main job from end to end: the demo's dataset, opened with the tools its users have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest

import segtools
from segtools import schema
from segtools.phantom.archive import write_archive
from tests.flows.conftest import Demo, idcseg

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("demo")]


def test_demo_ends_as_expected(demo: Demo) -> None:
    assert demo.ran.code == 0, demo.ran.err
    assert "Traceback" not in demo.ran.err
    assert "unexpected" not in demo.ran.err
    assert "truncated" in demo.ran.out
    assert "report.html" in demo.ran.out


def test_every_series_is_accounted_for(demo: Demo, tmp_path: Path) -> None:
    expected = {
        item.series_uid: item.code
        for item in write_archive(tmp_path)
        if item.modality == "SEG" and item.segments
    }
    with segtools.open(demo.dataset) as dataset:
        rows = dataset.series().to_pylist()
    assert {row["seg_series_uid"]: row["error_code"] for row in rows} == expected
    assert sum(row["status"] == "failed" for row in rows) == 1


def test_tables_have_the_declared_schemas(demo: Demo) -> None:
    for table in schema.DATASET_TABLES:
        for path in (demo.dataset / "tables" / table.name).glob("*.parquet"):
            assert pq.read_schema(path).equals(table.arrow, check_metadata=False)
            assert pq.read_schema(path).field(table.columns[-1].name).metadata[b"description"]


def test_duckdb_and_nibabel_agree_with_the_catalog(demo: Demo) -> None:
    tables = demo.dataset / "tables" / "segments" / "*.parquet"
    rows = duckdb.sql(
        f"SELECT volume_path, segment_number, voxel_count, affine_ras_mm, volume_ml, bbox_min_i "
        f"FROM '{tables}' WHERE volume_path IS NOT NULL"
    ).fetchall()
    assert len(rows) > 40
    for path, number, count, affine, volume_ml, _ in rows:
        image = nibabel.load(demo.dataset / path)
        stored = np.asanyarray(image.dataobj)
        assert int((stored == number).sum()) == count
        assert np.allclose(image.affine, np.reshape(affine, (4, 4)), atol=1e-4)
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
        assert int(image.header["intent_code"]) == 1002
        assert volume_ml == pytest.approx(count * abs(np.linalg.det(image.affine[:3, :3])) / 1000, rel=1e-4)


def test_masks_through_the_load_api(demo: Demo) -> None:
    with segtools.open(demo.dataset) as dataset:
        livers = dataset.segments("structure = 'liver' AND status = 'ok'").to_pylist()
        assert livers
        for row in livers:
            assert int(dataset.mask(row).sum()) == row["voxel_count"]
            assert dataset.volume(row).layers[row["layer"]].shape == (
                row["size_k"],
                row["size_j"],
                row["size_i"],
            )


def test_sides_are_where_they_belong(demo: Demo) -> None:
    """Everything to the patient's left has a larger left coordinate: laterality, codes and affine agree."""
    query = "SELECT patient_id, structure, laterality, centroid_r_mm AS r FROM segments WHERE r IS NOT NULL"
    with segtools.open(demo.dataset) as dataset:
        rows = dataset.sql(query).to_pylist()
    pairs = 0
    for left in (row for row in rows if row["laterality"] == "left"):
        twin = left["structure"].replace("left", "right")
        for right in (r for r in rows if (r["patient_id"], r["structure"]) == (left["patient_id"], twin)):
            assert left["r"] < right["r"]
            pairs += 1
    assert pairs >= 4


def test_check_finds_nothing(demo: Demo) -> None:
    ran = idcseg("check", demo.dataset, "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])


def test_show_rows_as_json(demo: Demo) -> None:
    ran = idcseg("show", demo.dataset, "--where", "structure = 'spleen'", "--json")
    rows = json.loads(ran.out)
    assert ran.code == 0
    assert rows
    assert {row["structure"] for row in rows} == {"spleen"}


def test_show_with_a_wrong_condition(demo: Demo) -> None:
    ran = idcseg("show", demo.dataset, "--where", "strcture = 'liver'")
    assert ran.code == 2
    assert ran.err.startswith("error [filter-invalid]")


def test_run_again_does_nothing_and_changes_no_byte(demo: Demo, tmp_path: Path) -> None:
    copy = tmp_path / "dataset"
    shutil.copytree(demo.dataset, copy)
    before = {
        path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and "runs" not in path.parts
    }
    # No endpoint is up any more: touching the network would fail.
    ran = idcseg("run", "demo", "-o", copy, "--index", demo.index, "--direct", "--json")
    assert ran.code == 3, ran.err
    assert "0 to do" in ran.err
    assert json.loads(ran.out)["outcomes"]["failed"] == 1
    after = {
        path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and "runs" not in path.parts
    }
    assert after == before


def test_plan_and_select_from_the_index(demo: Demo, tmp_path: Path) -> None:
    made = json.loads(idcseg("plan", "demo", "--index", demo.index, "--json").out)
    assert made["series"] == 12
    assert made["licenses"]
    table = tmp_path / "selection.parquet"
    assert idcseg("select", "demo", "--index", demo.index, "-o", table).code == 0
    assert pq.read_table(table).num_rows == made["series"]
    assert sum(pq.read_table(table)["size_bytes"].to_pylist()) == made["bytes"]


def test_structures_of_the_index(demo: Demo) -> None:
    rows = json.loads(idcseg("structures", "kidney", "--index", demo.index, "--json").out)
    assert rows
    assert all("kidney" in json.dumps(row).lower() for row in rows)


def test_unknown_structure_offers_near_names(demo: Demo, tmp_path: Path) -> None:
    cohort = tmp_path / "c.yaml"
    cohort.write_text("structures: [liverr]\nsource: {idc: false}\n")
    ran = idcseg("plan", cohort, "--index", demo.index)
    assert ran.code == 2
    assert ran.err.startswith("error [unknown-structure]")
    assert "liver" in ran.err.lower().replace("liverr", "")


def test_a_cohort_that_matches_nothing(demo: Demo, tmp_path: Path) -> None:
    cohort = tmp_path / "c.yaml"
    cohort.write_text("structures: [liver]\nlaterality: [left]\nsource: {idc: false}\n")
    ran = idcseg("run", cohort, "-o", tmp_path / "out", "--index", demo.index, "--direct")
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("error [no-match]")


def test_fetch_keeps_checked_files(demo: Demo, tmp_path: Path) -> None:
    from flows.s3_endpoint import serve_folder

    with serve_folder(demo.archive) as endpoint:
        arguments = ("fetch", "demo", "-o", tmp_path / "dicom", "--index", demo.index, "--json")
        ran = idcseg(*arguments, "--set", f"fetch.endpoint={endpoint}")
    rows = json.loads(ran.out)
    assert ran.code == 0, ran.err
    assert len(rows) == 12
    files = list((tmp_path / "dicom").rglob("*.dcm"))
    assert len(files) == sum(row["files"] for row in rows)
    assert not [path for path in (tmp_path / "dicom").iterdir() if path.name.startswith(".")]
    # Again, with the endpoint gone: everything is there.
    again = idcseg(*arguments, "--set", f"fetch.endpoint={endpoint}")
    assert again.code == 0, again.err


@pytest.mark.slow
def test_no_such_bucket_and_no_endpoint(demo: Demo, tmp_path: Path) -> None:
    from flows.s3_endpoint import serve_folder

    (tmp_path / "empty").mkdir()
    with serve_folder(tmp_path / "empty") as endpoint:
        arguments = ("run", "demo", "-o", tmp_path / "out", "--index", demo.index, "--direct", "--json")
        ran = idcseg(*arguments, "--set", f"fetch.endpoint={endpoint}", "--set", "fetch.attempts=1")
    result = json.loads(ran.out)
    assert ran.code == 3
    assert {failure["code"] for failure in result["failures"]} <= {"bucket-missing", "object-missing"}
    assert result["outcomes"]["failed"] == 12
    gone = idcseg(*arguments, "--set", f"fetch.endpoint={endpoint}", "--set", "fetch.attempts=1")
    assert gone.code == 4
    assert gone.err.splitlines()[-1].startswith("error [network-unavailable]")


def test_dataset_moves_with_its_folder(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo.dataset, tmp_path / "elsewhere")
    with segtools.open(tmp_path / "elsewhere") as dataset:
        row = dataset.segments("volume_path IS NOT NULL").to_pylist()[0]
        assert dataset.mask(row).any()
    text = b"".join(path.read_bytes() for path in demo.dataset.glob("*.*") if path.is_file())
    assert str(demo.folder).encode() not in text
