"""One decoded instance becomes volumes, sidecars and rows."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from segtools.dataset.layout import FlatLayout
from segtools.dataset.stage import Stage, StoredFile
from segtools.errors import CorruptSegError, EnvironmentProblem, WriteError
from segtools.finding import Finding
from segtools.nifti.reader import read
from segtools.schema import FINDINGS, SEGMENTS, SERIES
from segtools.write.instance import WriteOptions, write_instance
from segtools.write.rows import failed_rows, finding_row, series_row
from tests.factories.dataset import make_measures, make_series, make_volume


def write(layout, series, volume, **options):
    return write_instance(
        Stage(layout),
        series,
        volume,
        make_measures(volume),
        source_bytes=12,
        source_md5="0" * 32,
        options=WriteOptions(**options),
    )


@pytest.fixture
def series():
    return make_series()


def names(written):
    return sorted(file.path.rpartition("/")[2] for file in written.files)


def test_one_layer(layout, series):
    volume = make_volume(series)
    written = write(layout, series, volume)
    stem = volume.header.sop_instance_uid
    assert names(written) == [f"{stem}_dseg.json", f"{stem}_dseg.nii.gz", f"{stem}_dseg.tsv"]
    assert all(layout.absolute(file.path).stat().st_size == file.size_bytes for file in written.files)
    image = nib.load(layout.absolute(written.segments[0]["volume_path"]))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, volume.layers[0])
    np.testing.assert_allclose(image.affine, volume.grid.affine_ras, rtol=1e-6, atol=1e-4)
    assert image.header["intent_code"] == 1002


def test_rows_are_the_declared_ones(layout, series):
    doubt = Finding("spacing-assumed", "no spacing", segment_number=2)
    written = write(layout, series, make_volume(series, findings=(doubt,)))
    assert all(tuple(row) == SEGMENTS.names for row in written.segments)
    assert SEGMENTS.from_rows(written.segments).num_rows == 3
    assert FINDINGS.from_rows(written.findings).num_rows == 1
    liver, kidney, empty = written.segments
    assert liver["segment_id"] == f"{series.seg_series_uid}/{liver['seg_sop_uid']}/1"
    assert (liver["structure"], kidney["structure"], empty["structure"]) == (
        "liver",
        "kidney_left",
        "kidney_right",
    )
    assert (liver["size_i"], liver["size_j"], liver["size_k"]) == (6, 5, 4)
    assert (liver["spacing_i_mm"], liver["spacing_k_mm"]) == pytest.approx((0.8, 3.0))
    assert liver["voxel_count"] == 19
    assert (liver["status"], kidney["status"]) == ("ok", "warned")
    assert (liver["finding_count"], kidney["finding_count"]) == (0, 1)
    assert written.findings[0]["rule"] == "spacing-assumed"
    assert written.findings[0]["severity"] == "warning"


def test_an_empty_segment_has_zero_voxels_and_no_box(layout, series):
    written = write(layout, series, make_volume(series), volumes="masks")
    empty = written.segments[2]
    assert empty["voxel_count"] == 0
    assert [
        empty[name] for name in ("bbox_min_i", "centroid_r_mm", "mask_path", "largest_component_fraction")
    ] == [None] * 4


def test_overlap_is_layers_and_no_plain_dseg(layout, series):
    volume = make_volume(series, layers=2)
    written = write(layout, series, volume)
    stem = volume.header.sop_instance_uid
    assert f"{stem}_dseg.nii.gz" not in names(written)
    assert f"{stem}_desc-layer1_dseg.nii.gz" in names(written)
    kidney = written.segments[1]
    assert kidney["layer"] == 1
    np.testing.assert_array_equal(read(layout.absolute(kidney["volume_path"])).array == 2, volume.mask(2))


def test_masks_come_beside_the_label_map(layout, series):
    volume = make_volume(series)
    written = write(layout, series, volume, volumes="masks")
    for row in written.segments[:2]:
        mask = read(layout.absolute(row["mask_path"])).array
        np.testing.assert_array_equal(mask, volume.mask(row["segment_number"]))
        assert row["volume_path"] is not None


def test_fractions_keep_their_integers(layout, series):
    volume = make_volume(series, fractional=True)
    written = write(layout, series, volume)
    row = written.segments[0]
    assert row["fraction_path"].endswith("_label-01_probseg.nii.gz")
    assert (row["volume_path"], row["layer"], row["max_fractional_value"]) == (None, None, 255)
    np.testing.assert_array_equal(read(layout.absolute(row["fraction_path"])).array, volume.fractions[1])


def test_none_writes_rows_only(layout, series):
    written = write(layout, series, make_volume(series), volumes="none")
    assert written.files == []
    assert not layout.volumes.exists()
    assert written.segments[0]["voxel_count"] == 19
    assert written.segments[0]["volume_path"] is None


def test_files_of_an_earlier_writing_go_where_there_is_no_commit(tmp_path, series):
    layout = FlatLayout(tmp_path / "flat")
    write(layout, series, make_volume(series, layers=2), volumes="masks")
    written = write(layout, series, make_volume(series))
    folder = layout.absolute(written.files[0][0]).parent
    assert sorted(path.name for path in folder.iterdir()) == names(written)


def test_sidecars(layout, series):
    volume = make_volume(series, findings=(Finding("segments-overlap", "they do"),))
    written = write(layout, series, volume)
    by_end = {path.rpartition(".")[2]: layout.absolute(path) for path, *_ in written.files}
    described = json.loads(by_end["json"].read_text())
    assert described["SOPInstanceUID"] == volume.header.sop_instance_uid
    assert described["GeneratedBy"][0]["Name"] == "segtools"
    assert described["Manual"] is False
    assert described["Findings"] == [{"Code": "segments-overlap", "Message": "they do"}]
    assert "MaximumFractionalValue" not in described
    rows = list(csv.DictReader(by_end["tsv"].read_text().splitlines(), delimiter="\t"))
    assert list(rows[0])[:5] == ["index", "name", "abbreviation", "color", "mapping"]
    assert rows[1]["name"] == "kidney_left"
    assert rows[1]["abbreviation"] == "KL"
    assert rows[1]["type_code"] == "64033007"
    assert rows[0]["laterality"] == "n/a"


def test_writing_twice_gives_the_same_bytes(layout, series):
    first = write(layout, series, make_volume(series))
    contents = [layout.absolute(path).read_bytes() for path, *_ in first.files]
    second = write(layout, series, make_volume(series))
    assert first == second
    assert contents == [layout.absolute(path).read_bytes() for path, *_ in second.files]


def test_no_stranger_leaves_the_dataset(layout):
    series = make_series(patient_id="../../etc", collection_id="/root", seg_series_uid="..")
    written = write(layout, series, make_volume(series))
    assert all(layout.absolute(path).resolve().is_relative_to(layout.volumes) for path, *_ in written.files)
    assert written.segments[0]["patient_id"] == "../../etc"


def test_a_failure_is_never_a_number(series):
    volume = make_volume(series)
    error = CorruptSegError("truncated", "PixelData ends early.")
    rows = failed_rows(series, error, header=volume.header, segments=volume.segments)
    assert SEGMENTS.from_rows(rows).num_rows == 3
    numbers = [column.name for column in SEGMENTS.columns if column.unit or column.name.endswith("_count")]
    assert {row[name] for row in rows for name in numbers if name != "finding_count"} == {None}
    assert {(row["status"], row["error_code"]) for row in rows} == {("failed", "truncated")}
    assert failed_rows(series, error) == []


def test_series_row(series):
    volume = make_volume(series, findings=(Finding("spacing-assumed", "no spacing"),))
    finding = finding_row(volume.findings[0], seg_series_uid="1", seg_sop_uid="2")
    row = series_row(
        series,
        segments=[{}] * 3,
        findings=[finding],
        files=[StoredFile("a/b.nii.gz", 10, "0" * 64), StoredFile("a/b.json", 5, "1" * 64)],
        settings_hash="s",
        folder="a",
    )
    assert SERIES.from_rows([row]).num_rows == 1
    assert (row["status"], row["volume_count"], row["volume_bytes"], row["local_path"]) == (
        "warned",
        1,
        10,
        "a",
    )
    failed = series_row(
        series,
        segments=[],
        findings=[],
        files=[],
        settings_hash="s",
        error=CorruptSegError("truncated", "PixelData ends early."),
    )
    assert (failed["status"], failed["error_code"], failed["segment_count"]) == ("failed", "truncated", None)
    assert SERIES.from_rows([failed]).num_rows == 1


def test_finding_ids_tell_findings_apart():
    finding = Finding("spacing-assumed", "no spacing")
    first = finding_row(finding, seg_series_uid="1", seg_sop_uid="2")
    assert first == finding_row(finding, seg_series_uid="1", seg_sop_uid="2")
    assert first["finding_id"] != finding_row(finding, seg_series_uid="1", seg_sop_uid="3")["finding_id"]


def test_a_full_disk_says_so_and_leaves_nothing(layout, series, monkeypatch):
    import errno
    import os

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(EnvironmentProblem) as caught:
        write(layout, series, make_volume(series))
    assert caught.value.code == "disk-full"
    assert [path for path in layout.volumes.rglob("*") if path.is_file()] == []


def test_a_file_in_the_way_is_a_write_error(layout, series):
    layout.volumes.write_text("in the way")
    with pytest.raises(WriteError) as caught:
        write(layout, series, make_volume(series))
    assert caught.value.code == "write-failed"
