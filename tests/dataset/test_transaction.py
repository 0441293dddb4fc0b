"""Staged parts become one committed dataset."""

from __future__ import annotations

import hashlib
import json
import os

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

import segtools
from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.dataset.stage import known_series, next_run, part_id
from segtools.errors import CorruptSegError, DatasetError
from segtools.finding import Finding
from segtools.schema import DATASET_TABLES, FINDINGS, SEGMENTS, SERIES
from segtools.write.rows import finding_row, series_row
from tests.factories.dataset import (
    COHORT,
    commit,
    make_series,
    pages,
    read_rows,
    selection,
    stage_series,
    tree,
    write_part,
)


@pytest.fixture
def three():
    return [make_series(number) for number in (1, 2, 3)]


def stage_failed(layout, series, part, settings_hash="s1"):
    error = CorruptSegError("truncated", "PixelData ends early.")
    row = series_row(series, segments=[], findings=[], files=[], settings_hash=settings_hash, error=error)
    stage_series(layout, part, [row])


def known(layout):
    """What committed and staged series a run would find."""
    manifest = json.loads(layout.manifest.read_bytes()) if layout.manifest.exists() else None
    return known_series(layout, manifest)


def series_row_of(layout, number):
    """The whole row of a committed series."""
    return pq.ParquetFile(pages(layout, "series")[0]).read().to_pylist()[number]


def test_a_commit_is_complete_and_described_by_its_manifest(layout, three):
    write_part(layout, three)
    manifest = commit(layout, three, provenance={"settings": {"grid": "seg"}})
    assert manifest == json.loads(layout.manifest.read_text())
    for table in DATASET_TABLES:
        entry = manifest["tables"][table.name]
        (page,) = entry["files"]
        content = layout.absolute(page["path"]).read_bytes()
        assert page["bytes"] == len(content)
        assert page["sha256"] == hashlib.sha256(content).hexdigest()
        assert page["sha256"].startswith(page["path"].rpartition("/")[2].removesuffix(".parquet"))
        assert entry["rows"] == page["rows"] == pq.read_metadata(layout.absolute(page["path"])).num_rows
    assert manifest["tables"]["segments"]["rows"] == 9
    assert manifest["cohort_sha256"] == hashlib.sha256(COHORT.encode()).hexdigest()
    assert manifest["provenance"] == {"settings": {"grid": "seg"}}
    assert not layout.staging.exists()
    assert layout.document("cohort.yaml").read_text() == COHORT


def test_tables_have_the_declared_schema_and_order(layout, three):
    write_part(layout, three[::-1])
    commit(layout, three)
    for table in DATASET_TABLES:
        schema = pq.read_schema(pages(layout, table.name)[0])
        assert schema.remove_metadata().equals(table.arrow.remove_metadata())
        assert all(
            schema.field(c.name).metadata[b"description"] == c.description.encode() for c in table.columns
        )
    keys = read_rows(layout, "segments", *SEGMENTS.order)
    assert keys == sorted(keys)


def test_duckdb_reads_the_tables(layout, three):
    write_part(layout, three)
    commit(layout, three)
    found = duckdb.execute(
        "SELECT structure, count(*), sum(voxel_count) FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
        [str(layout.table("segments") / "*.parquet")],
    ).fetchall()
    assert found == [("kidney_left", 3, 12), ("kidney_right", 3, 0), ("liver", 3, 57)]


def test_same_input_same_bytes_in_one_part_or_three(tmp_path, three):
    trees = []
    for name, batches in {"a": [three], "b": [three], "c": [[three[2]], [three[0]], [three[1]]]}.items():
        layout = Layout(tmp_path / name / "abdomen")
        transaction.prepare(layout)
        for number, batch in enumerate(batches):
            write_part(layout, batch, f"batch-{number}")
        commit(layout, three)
        trees.append(tree(layout))
    assert trees[0] == trees[1] == trees[2]
    assert "dataset.json" in trees[0]


def test_growing_gives_the_same_bytes_as_starting_over(tmp_path, three):
    at_once, grown = Layout(tmp_path / "a" / "abdomen"), Layout(tmp_path / "b" / "abdomen")
    for layout in (at_once, grown):
        transaction.prepare(layout)
    write_part(at_once, three)
    commit(at_once, three)
    for number in (0, 1, 2):
        write_part(grown, three[number : number + 1], f"run-{number}")
        commit(grown, three[: number + 1], idc_version=21 + number)
    commit(grown, three)
    assert tree(at_once) == tree(grown)


def test_committing_again_changes_nothing(layout, three):
    write_part(layout, three)
    commit(layout, three)
    before = tree(layout)
    transaction.prepare(layout)
    commit(layout, three)
    assert tree(layout) == before


def test_the_newest_part_wins(layout, three):
    write_part(layout, three)
    stage_failed(layout, three[1], "z-failed")
    assert known(layout)[three[1].seg_series_uid].status == "failed"
    commit(layout, three)
    assert dict(read_rows(layout, "series", "seg_series_uid", "status"))[three[1].seg_series_uid] == "failed"
    assert len(read_rows(layout, "segments", "segment_id")) == 6
    write_part(layout, three[1:2], "a-retry")
    commit(layout, three)
    assert {status for (status,) in read_rows(layout, "series", "status")} == {"ok"}
    assert len(read_rows(layout, "segments", "segment_id")) == 9


def test_the_later_run_wins_whatever_the_clock_says(layout, three):
    stage_failed(layout, three[0], part_id(next_run(layout), "ffff"))
    stage_failed(layout, three[0], part_id(1, "0000", is_last_word=True), settings_hash="s0")
    assert known(layout)[three[0].seg_series_uid].settings_hash == "s0"
    assert next_run(layout) == 2
    write_part(layout, three, part_id(2, "0000"))
    for path in layout.staging.glob("*.parquet"):  # the later one looks older
        os.utime(path, (9e8, 9e8) if path.name.startswith("000002") else None)
    assert known(layout)[three[0].seg_series_uid].status == "ok"
    commit(layout, three)
    assert {status for (status,) in read_rows(layout, "series", "status")} == {"ok"}
    assert next_run(layout) == 1


def test_readers_of_the_last_commit_are_not_misled(layout, three):
    """Volumes written anew wait for the commit; what it does not name then never shows."""
    write_part(layout, three)
    commit(layout, three)
    before = tree(layout)
    write_part(layout, three, "second", seed=5)
    write_part(layout, three[:1], "third", layers=2)
    now = tree(layout)
    assert {name: now.get(name) for name in before} == before
    with segtools.open(layout.root) as dataset:
        row = dataset.segments("segment_number = 1").to_pylist()[0]
        assert int(dataset.mask(row).sum()) == row["voxel_count"]
    commit(layout, three)
    with segtools.open(layout.root) as dataset:
        for row in dataset.segments("volume_path IS NOT NULL").to_pylist():
            assert int(dataset.mask(row).sum()) == row["voxel_count"]
    fresh = Layout(layout.root.parent / "fresh" / "abdomen")
    transaction.prepare(fresh)
    write_part(fresh, three[1:], seed=5)
    write_part(fresh, three[:1], "third", layers=2)
    commit(fresh, three)
    assert tree(layout) == tree(fresh)


def test_a_change_taken_back_before_the_commit_leaves_no_trace(layout, three):
    write_part(layout, three)
    commit(layout, three)
    before = tree(layout)
    write_part(layout, three, "1", seed=5)
    write_part(layout, three, "2")
    commit(layout, three)
    assert tree(layout) == before


def test_nothing_new_writes_nothing(layout, three):
    write_part(layout, three)
    commit(layout, three)
    commit(layout, three, checks=FINDINGS.empty())
    stamps = {path: path.stat().st_mtime_ns for path in layout.root.rglob("*") if path.is_file()}
    manifest = commit(layout, three[::-1])
    assert manifest["is_checked"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert not commit(layout, three[:2])["is_checked"]


def test_done_knows_committed_and_staged(layout, three):
    write_part(layout, three[:2])
    commit(layout, three[:2])
    stage_failed(layout, three[2], "later", settings_hash="s2")
    found = known(layout)
    assert found[three[0].seg_series_uid] == ("uuid-1", "s1", "ok", None)
    assert found[three[2].seg_series_uid] == ("uuid-3", "s2", "failed", "truncated")


def test_a_dropped_series_is_retired(layout, three):
    write_part(layout, three, findings=(Finding("spacing-assumed", "no spacing"),))
    commit(layout, three)
    folder = layout.absolute(
        dict(read_rows(layout, "series", "seg_series_uid", "local_path"))[three[1].seg_series_uid]
    )
    assert folder.is_dir()
    kept = [three[0], three[2]]
    commit(layout, kept, idc_version=25)
    commit(layout, kept, idc_version=26)
    row = series_row_of(layout, 1)
    assert (row["status"], row["retired_idc_version"], row["local_path"]) == ("retired", 25, None)
    assert not folder.exists()
    assert three[1].seg_series_uid not in {uid for (uid,) in read_rows(layout, "segments", "seg_series_uid")}
    assert len(read_rows(layout, "findings", "finding_id")) == 2
    assert three[1].seg_series_uid not in known(layout)

    write_part(layout, three[1:2], "back")
    commit(layout, three, idc_version=27)
    row = series_row_of(layout, 1)
    assert (row["status"], row["retired_idc_version"]) == ("ok", None)
    assert folder.is_dir()


def test_an_own_archive_has_no_release(layout):
    own = [make_series(number, idc_version=None) for number in (1, 2)]
    write_part(layout, own)
    commit(layout, own, idc_version=None)
    commit(layout, own[:1], idc_version=None)
    assert read_rows(layout, "series", "status", "idc_version", "retired_idc_version") == [
        ("ok", None, None),
        ("retired", None, None),
    ]
    assert "release" not in layout.document("README.md").read_text().split("##")[0]


def test_a_new_release_is_stated_on_unchanged_series_only(layout, three):
    write_part(layout, three)
    commit(layout, three)
    newer = [make_series(n, idc_version=25, license="CC BY 3.0") for n in (1, 2)]
    newer.append(make_series(3, idc_version=25, license="CC BY 3.0", crdc_series_uuid="uuid-3b"))
    commit(layout, newer, idc_version=25)
    assert read_rows(layout, "series", "idc_version", "license", "crdc_series_uuid") == [
        (25, "CC BY 3.0", "uuid-1"),
        (25, "CC BY 3.0", "uuid-2"),
        (24, "CC BY 4.0", "uuid-3"),
    ]
    assert {(v, lic) for v, lic in read_rows(layout, "segments", "idc_version", "license")[:6]} == {
        (25, "CC BY 3.0")
    }


def test_labels_are_the_same_in_the_whole_dataset(layout, three):
    write_part(layout, three)
    commit(layout, three)
    assert set(read_rows(layout, "segments", "structure", "label_index")) == {
        ("kidney_left", 1),
        ("kidney_right", 2),
        ("liver", 3),
    }
    commit(layout, three, label_index={"liver": 7, "spleen": 1})
    assert set(read_rows(layout, "segments", "structure", "label_index")) == {
        ("kidney_left", None),
        ("kidney_right", None),
        ("liver", 7),
    }


def test_volumes_no_table_names_are_removed(layout, three):
    write_part(layout, three, layers=2)
    commit(layout, three)
    write_part(layout, three[:1], "again")
    folder = layout.absolute(read_rows(layout, "series", "local_path")[0][0])
    (folder / "old_dseg.nii.gz").touch()
    commit(layout, three)
    named = {path.rpartition("/")[2] for (path,) in read_rows(layout, "segments", "volume_path")}
    assert {path.name for path in folder.glob("*.nii.gz")} <= named
    assert len(list(folder.iterdir())) == 3


def test_findings_of_checks_come_and_go(layout, three):
    write_part(layout, three, findings=(Finding("spacing-assumed", "no spacing"),))
    commit(layout, three)
    check = Finding("volume-outlier", "large", scope="segment", segment_number=1)
    table = FINDINGS.from_rows([finding_row(check, seg_series_uid="1.2", seg_sop_uid="1.2.3")])
    for _ in range(2):
        manifest = commit(layout, three, checks=table)
        assert manifest["tables"]["findings"]["rows"] == 4
    with segtools.open(layout.root) as dataset:
        assert dataset.findings("rule = 'volume-outlier'").num_rows == 1
    commit(layout, three, idc_version=25)
    assert {rule for (rule,) in read_rows(layout, "findings", "rule")} == {"spacing-assumed"}


def test_documents(layout, three):
    three[2] = make_series(3, license=None, source_doi="https://doi.org/10.7937/k9{x}")
    write_part(layout, three)
    commit(layout, three)
    readme = layout.document("README.md").read_text()
    assert "# abdomen" in readme
    assert "9 segments of 3 series" in readme
    assert "release 24" in readme
    assert all(f"`{column.name}`" in readme for table in DATASET_TABLES for column in table.columns)
    bibtex = layout.document("CITATIONS.bib").read_text()
    assert "doi = {10.5281/zenodo.8345959}" in bibtex
    assert "doi = {10.7937/k9x}" in bibtex
    assert layout.document("LICENSES.tsv").read_text().splitlines() == [
        "license\tcollection_id\tseries\tsegments",
        "CC BY 4.0\ttcga_kirc\t2\t6",
        "n/a\ttcga_kirc\t1\t3",
    ]
    lines = layout.columns.read_text().splitlines()
    assert len(lines) == 1 + sum(len(table.columns) for table in DATASET_TABLES)


def test_tables_hold_no_clock_and_no_host(layout, three):
    import socket
    import time

    write_part(layout, three)
    commit(layout, three)
    year = time.strftime("%Y").encode()
    for path in (layout.manifest, layout.document("README.md"), layout.columns):
        assert year not in path.read_bytes()
        assert socket.gethostname().encode() not in path.read_bytes()


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(DatasetError) as caught:
        transaction.prepare(Layout(tmp_path))
    assert caught.value.code == "output-not-ours"
    assert "thesis.docx" in str(caught.value)


def test_a_series_twice_in_a_part_is_a_defect(layout, three):
    with pytest.raises(AssertionError, match="twice"):
        stage_series(layout, "p", [three[0].row(), three[0].row()])


def test_a_broken_part_is_named(layout, three):
    write_part(layout, three)
    layout.part("batch-0", "series").write_bytes(b"PAR1 no")
    with pytest.raises(DatasetError) as caught:
        known(layout)
    assert caught.value.code == "dataset-invalid"
    with pytest.raises(DatasetError) as caught:
        commit(layout, three)
    assert caught.value.code == "dataset-invalid"


def test_quotes_and_stars_in_the_folder_name(tmp_path, three):
    layout = Layout(tmp_path / "it's [a] *?")
    transaction.prepare(layout)
    write_part(layout, three)
    commit(layout, three)
    write_part(layout, three[:1], "again")
    commit(layout, three)
    with segtools.open(layout.root) as dataset:
        assert dataset.segments().num_rows == 9


def test_an_empty_cohort_is_a_dataset(layout):
    commit(layout, [])
    with segtools.open(layout.root) as dataset:
        assert dataset.segments().schema.names == list(SEGMENTS.names)
        assert dataset.series().num_rows == 0


def test_many_series_sort_by_the_declared_order(layout):
    rng = np.random.default_rng(1)
    many = [
        make_series(int(n), collection_id=str(rng.choice(["b", "a", "Z"])), patient_id=str(rng.integers(5)))
        for n in rng.permutation(60)
    ]
    stem = dict.fromkeys(SERIES.names)
    assert stem
    for start in range(0, 60, 7):
        part = [
            series_row(s, segments=[], findings=[], files=[], settings_hash="s")
            for s in many[start : start + 7]
        ]
        stage_series(layout, f"p{start}", part)
    commit(layout, many)
    keys = read_rows(layout, "series", *SERIES.order)
    assert keys == sorted(keys)
    assert len(keys) == 60
    assert selection(many).num_rows == 60
