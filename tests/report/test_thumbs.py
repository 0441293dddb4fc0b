import nibabel as nib
import numpy as np
import pytest

from segtools.report import thumbnails as thumbnails_module
from segtools.report.thumbnails import thumbnails
from tests.report.rows import segment_row, series_row, write_dataset

AFFINE = np.array([-1.0, 0, 0, 30, 0, -1.0, 0, 20, 0, 0, 2.0, 0, 0, 0, 0, 1])


def add_volume(root, segment, array):
    path = root / segment["volume_path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE.reshape(4, 4)), path)


def label_map(*numbers):
    array = np.zeros((20, 48, 64), np.uint8)
    for place, number in enumerate(numbers):
        array[4:14, 5 + 8 * place : 11 + 8 * place, 10:40] = number
    return array


@pytest.fixture
def drawn(tmp_path):
    """Makes a dataset with a volume of one liver and one spleen for each series."""

    def make(series, **changes):
        segments = []
        for row in series:
            liver = segment_row(row, 1, voxel_count=1800, affine_ras_mm=AFFINE.tolist(), **changes)
            spleen = liver | {
                "segment_id": f"{liver['segment_id']}b",
                "segment_number": 2,
                "structure": "spleen",
                "color_hex": "#9D6CA2",
                "voxel_count": 900,
            }
            segments += [liver, spleen]
            add_volume(tmp_path / "d", liver, label_map(1, 2))
        return write_dataset(tmp_path / "d", series, segments)

    return make


def test_pictures_with_their_legend(drawn):
    (thumb,) = thumbnails(drawn([series_row("1.5")]))
    assert thumb.problem is None
    assert set(thumb.pictures) == {"coronal", "axial"}
    assert all(png.startswith(b"\x89PNG") for png in thumb.pictures.values())
    assert thumb.segment_count == 2
    assert thumb.legend == (("liver", "#DD8265"), ("spleen", "#9D6CA2"))


def test_the_sample_is_bounded_spread_and_always_the_same(drawn):
    rows = [series_row(f"1.{n}", collection_id="large", patient_id=f"p{n}") for n in range(9)]
    rows += [series_row("2.1", collection_id="small"), series_row("3.1", collection_id="tiny")]
    dataset = drawn(rows)
    sample = thumbnails(dataset, count=4)
    assert sorted(thumb.collection_id for thumb in sample) == ["large", "large", "small", "tiny"]
    assert thumbnails(dataset, count=4) == sample
    assert [t.seg_series_uid for t in thumbnails(dataset, count=3)] == [t.seg_series_uid for t in sample[:3]]


def test_failed_and_retired_series_and_those_without_volume_are_passed_over(drawn):
    rows = [
        series_row("1.1", status="failed", error_code="truncated"),
        series_row("1.2", status="retired"),
        series_row("1.3", volume_count=0),
        series_row("1.4", status="warned"),
    ]
    assert [thumb.seg_series_uid for thumb in thumbnails(drawn(rows))] == ["1.4"]


@pytest.mark.parametrize(
    "changes", [{"voxel_count": 0}, {"volume_path": None}, {"size_i": 1 << 15, "size_j": 1 << 14}]
)
def test_nothing_to_see_or_too_large(tmp_path, changes):
    row = series_row("1.1")
    assert thumbnails(write_dataset(tmp_path, [row], [segment_row(row, **changes)])) == ()


def test_a_missing_volume_says_so(drawn):
    dataset = drawn([series_row("1.1"), series_row("1.2")])
    gone = dataset.segments("seg_series_uid = '1.1'")["volume_path"][0].as_py()
    (dataset.root / gone).unlink()
    by_uid = {thumb.seg_series_uid: thumb for thumb in thumbnails(dataset)}
    assert by_uid["1.1"].pictures == {}
    assert "is missing" in by_uid["1.1"].problem
    assert by_uid["1.2"].problem is None


def test_a_volume_that_lies_says_so(drawn):
    dataset = drawn([series_row("1.1")])
    path = dataset.root / dataset.segments()["volume_path"][0].as_py()
    path.write_bytes(path.read_bytes()[:200])
    (thumb,) = thumbnails(dataset)
    assert thumb.pictures == {}
    assert thumb.problem


def test_an_empty_volume_is_no_picture(drawn, tmp_path):
    dataset = drawn([series_row("1.1")])
    add_volume(tmp_path / "d", dataset.segments().to_pylist()[0], label_map())
    assert "no voxel" in thumbnails(dataset)[0].problem


def test_a_color_that_is_none_is_grey(drawn):
    (thumb,) = thumbnails(drawn([series_row("1.1")], color_hex='"/><script>'))
    assert thumb.pictures


def test_the_first_instance_stands_for_a_series(drawn, tmp_path):
    row = series_row("1.1")
    first, second = (
        segment_row(row, 1, seg_sop_uid=f"1.1.{n}", segment_id=f"{n}/1", structure=f"s{n}") for n in (1, 2)
    )
    add_volume(tmp_path / "d", first, label_map(1))
    (thumb,) = thumbnails(write_dataset(tmp_path / "d", [row], [second, first]))
    assert thumb.legend == (("s1", "#DD8265"),)
    assert thumb.segment_count == 1


def test_many_segments_are_counted_and_not_all_drawn(tmp_path, monkeypatch):
    row = series_row("1.1")
    count = thumbnails_module.MAXIMUM_SEGMENTS + 20
    segments = [segment_row(row, n, voxel_count=n) for n in range(1, count + 1)]
    add_volume(tmp_path, segments[0], label_map(count))
    (thumb,) = thumbnails(write_dataset(tmp_path, [row], segments))
    assert thumb.segment_count == count
    assert thumb.pictures
