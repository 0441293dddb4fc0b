"""`build_index` on folders: what is indexed, what is left out with which code, and nothing is lost."""

from __future__ import annotations

import copy
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from segtools import schema
from segtools.codes import CODES
from segtools.encode import Subject, image_series
from segtools.errors import MissingError, UsageError
from segtools.files import TEMPORARY_PREFIX
from segtools.index import build, build_index
from segtools.phantom.anatomy import grid_around

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.index import IndexReport
    from segtools.phantom.archive import Archived


GRID = grid_around((0, 0, 0), (3, 8, 8), (2, 2, 3))


class Index:
    """A built index with its tables as lists of rows."""

    def __init__(self, report: IndexReport) -> None:
        self.report = report
        self.segments = pq.read_table(report.out / "segmentations.parquet").to_pylist()
        self.series = pq.read_table(report.out / "series_index.parquet").to_pylist()
        self.instances = pq.read_table(report.out / "instances.parquet").to_pylist()

    @property
    def skipped(self) -> dict[str, str]:
        return {skipped.path: skipped.code for skipped in self.report.skipped}


def indexed(folder: Path, out: Path, **options: object) -> Index:
    return Index(build_index(folder, out, **options))  # type: ignore[arg-type]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


def test_the_phantom_archive(archive: tuple[Path, list[Archived]], out: Path) -> None:
    folder, made = archive
    index = indexed(folder, out, url_base="s3://")
    wanted = [series for series in made if series.modality == "SEG" and series.status != "skipped"]
    assert index.skipped == {series.paths[0]: series.code for series in made if series.status == "skipped"}
    assert index.report.files == sum(len(series.paths) for series in made)
    assert index.report.series == len(wanted) == index.report.instances
    assert index.report.segments == len(index.segments) == sum(series.segments for series in wanted)
    rows = {row["SeriesInstanceUID"]: row for row in index.series}
    assert len(rows) == len(made) - len(index.skipped)
    for series in made:
        if series.status == "skipped":
            continue
        row = rows[series.series_uid]
        assert (row["collection_id"], row["Modality"]) == (series.collection_id, series.modality)
        assert row["instance_count"] == len(series.paths)
        assert row["series_size_bytes"] == sum((folder / path).stat().st_size for path in series.paths)
        assert row["series_aws_url"] == f"s3://{series.paths[0].rpartition('/')[0]}/"
        assert row["license_short_name"].startswith("CC BY")
    by_instance = {row["SeriesInstanceUID"]: row for row in index.instances}
    for series in wanted:
        content = (folder / series.paths[0]).read_bytes()
        row = by_instance[series.series_uid]
        assert row["aws_url"] == f"s3://{series.paths[0]}"
        assert row["instance_size"] == len(content)
        assert row["instance_hash"] == hashlib.md5(content).hexdigest()
    # every segmentation joins its images
    assert {row["segmented_SeriesInstanceUID"] for row in index.segments} <= rows.keys()


def test_tables_have_the_schema_of_idc(archive: tuple[Path, list[Archived]], out: Path) -> None:
    build_index(archive[0], out)
    for table in (schema.IDC_SEGMENTATIONS, schema.IDC_SERIES, schema.IDC_INSTANCES):
        have = pq.read_schema(out / f"{table.name}.parquet")
        assert have.remove_metadata() == pa.schema([f.remove_metadata() for f in table.arrow])


def test_segments_are_rows_as_idc_writes_them(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    content = seg_bytes()
    dataset = pydicom.dcmread(write(tmp_path / "a.dcm", content))
    right, left = indexed(tmp_path, out).segments
    code = {"CodeValue": "64033007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Kidney"}
    assert right == {
        "PatientID": "p1",
        "StudyInstanceUID": dataset.StudyInstanceUID,
        "SeriesInstanceUID": dataset.SeriesInstanceUID,
        "SOPInstanceUID": dataset.SOPInstanceUID,
        "FrameOfReferenceUID": dataset.FrameOfReferenceUID,
        "SegmentationType": "BINARY",
        "AnatomicRegion": None,
        "AnatomicRegionModifier": None,
        "SegmentedPropertyCategory": {
            "CodeValue": "123037004",
            "CodingSchemeDesignator": "SCT",
            "CodeMeaning": "Anatomical Structure",
        },
        "SegmentedPropertyType": code
        | {
            "AnatomicRegionModifierSequence": [],
            "SegmentedPropertyTypeModifierCodeSequence": [
                {"CodeValue": "24028007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Right"}
            ],
        },
        "SegmentAlgorithmType": "MANUAL",
        "SegmentAlgorithmName": None,
        "SegmentNumber": 1,
        "TrackingUID": "2.25.9",
        "TrackingID": "t",
        "segmented_SeriesInstanceUID": image_series(GRID, Subject("p1"))[0].SeriesInstanceUID,
        "viewer_url": None,
    }
    assert left["AnatomicRegion"] == code
    assert left["AnatomicRegionModifier"]["CodeMeaning"] == "Left"
    assert left["SegmentedPropertyType"]["SegmentedPropertyTypeModifierCodeSequence"] == []


def test_cut_files(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    content = seg_bytes()
    write(tmp_path / "pixels.dcm", content[:-20])  # indexed as usual: only decode needs pixels
    for name, end in (("a.dcm", 0), ("b.dcm", 100), ("c.dcm", 403), ("d.dcm", 1200)):
        write(tmp_path / name, seg_bytes(seed=name)[:end])
    index = indexed(tmp_path, out)
    assert [row["instance_size"] for row in index.instances] == [len(content) - 20]
    assert list(index.skipped.values()) == ["empty-file", "not-dicom", "truncated", "truncated"]


def test_what_is_no_segmentation(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    write(tmp_path / "notes.txt", b"not DICOM at all, but long enough to be looked at" * 9)
    write(tmp_path / "impostor.dcm", seg_bytes(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    write(tmp_path / "nameless.dcm", seg_bytes(SeriesInstanceUID=None))
    write(tmp_path / ".hidden", b"whatever")
    for n, image in enumerate(image_series(GRID, Subject("p1"))):
        image.save_as(tmp_path / f"ct{n}.dcm", enforce_file_format=True)
    index = indexed(tmp_path, out)
    assert index.skipped == {
        "notes.txt": "not-dicom",
        "impostor.dcm": "not-segmentation",
        "nameless.dcm": "missing-attribute",
    }
    assert [(row["Modality"], row["instance_count"]) for row in index.series] == [("CT", 3)]
    assert index.instances == []
    assert index.segments == []
    assert all(code in CODES for code in index.skipped.values())


def test_duplicates_count_once(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    content = seg_bytes()
    write(tmp_path / "a" / "one.dcm", content)
    write(tmp_path / "b" / "copy.dcm", content)
    write(tmp_path / "c" / "other.dcm", seg_bytes(SeriesDescription="Segmentatiom"))
    for checksum in (True, False):
        index = indexed(tmp_path, out, checksum=checksum)
        assert [row["aws_url"] for row in index.instances] == [(tmp_path / "a" / "one.dcm").as_uri()]
        assert index.skipped == {"b/copy.dcm": "duplicate-instance", "c/other.dcm": "duplicate-instance"}
        messages = [skipped.message for skipped in index.report.skipped]
        assert "the same bytes" in messages[0]
        assert "other bytes" in messages[1]


def test_one_series_in_two_collections_belongs_to_the_first(
    tmp_path: Path, out: Path, seg_bytes: Callable
) -> None:
    series = "2.25.77"
    write(tmp_path / "a" / "one.dcm", seg_bytes(seed="1", SeriesInstanceUID=series))
    write(tmp_path / "b" / "two.dcm", seg_bytes(seed="2", SeriesInstanceUID=series))
    write(tmp_path / "a" / "three.dcm", seg_bytes(seed="3", subject="p2", SeriesInstanceUID=series))
    write(tmp_path / "collections.csv", b"path,collection_id\na,first\nb,second\n")
    index = indexed(tmp_path, out)
    assert [(row["collection_id"], row["instance_count"]) for row in index.series] == [("first", 1)]
    assert index.skipped == {"a/three.dcm": "series-conflict", "b/two.dcm": "series-conflict"}
    assert len(index.segments) == 2


def test_folders_stand_for_series_only_when_nothing_else_is_there(
    tmp_path: Path, out: Path, seg_bytes: Callable
) -> None:
    write(tmp_path / "alone" / "1.dcm", seg_bytes(seed="1"))
    write(tmp_path / "mixed" / "2.dcm", seg_bytes(seed="2"))
    write(tmp_path / "mixed" / "3.dcm", seg_bytes(seed="3"))
    write(tmp_path / "stray" / "4.dcm", seg_bytes(seed="4"))
    write(tmp_path / "stray" / "deep" / "readme", b"not DICOM")
    two = "2.25.5"
    write(tmp_path / "split" / "x" / "5.dcm", seg_bytes(seed="5", SeriesInstanceUID=two))
    write(tmp_path / "split" / "y" / "6.dcm", seg_bytes(seed="6", SeriesInstanceUID=two))
    index = indexed(tmp_path, out)
    folders = [row["series_aws_url"] for row in index.series]
    assert folders == [f"{(tmp_path / 'alone').as_uri()}/", "", "", "", ""]
    assert len(index.instances) == 6  # the objects are named all the same


def test_collections_table(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    for n, name in enumerate(("a/b/c/1.dcm", "a/2.dcm", "ab/3.dcm", "4.dcm")):
        write(tmp_path / name, seg_bytes(seed=str(n)))
    write(
        tmp_path / "collections.csv",
        "\ufeffpath,collection_id,license_short_name,source_DOI\n/a/,outer,CC0,\na/b,inner,,10.5555/x\n".encode(),
    )
    index = indexed(tmp_path, out, collection="rest")
    have = {
        Path(instance["aws_url"]).name: (
            row["collection_id"], row["license_short_name"], row["source_DOI"], row["analysis_result_id"]
        )
        for instance in index.instances
        for row in index.series
        if row["SeriesInstanceUID"] == instance["SeriesInstanceUID"]
    }  # fmt: skip
    assert have == {
        "1.dcm": ("inner", None, "10.5555/x", None),
        "2.dcm": ("outer", "CC0", None, None),
        "3.dcm": ("rest", None, None, None),
        "4.dcm": ("rest", None, None, None),
    }
    assert indexed(tmp_path / "ab", out).series[0]["collection_id"] == "ab"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,colection\na,b\n", "line 1: unknown column 'colection'"),
        ("path\na\n", "line 1: the columns path and collection_id are needed"),
        ("path,collection_id\na\n", "line 2: 2 values are needed"),
        ("path,collection_id\na,b,c\n", "line 2: 2 values are needed"),
        ("path,collection_id\na,\n", "line 2: collection_id is empty"),
        ("path,collection_id\na,b\na/,c\n", "line 3: path 'a' stands twice"),
        ('path,collection_id\n"a,b\n', "unexpected end of data"),
        ("path,collection_id\na,\udce9\n", "is not UTF-8"),
    ],
)
def test_a_wrong_collections_table_is_refused(tmp_path: Path, out: Path, text: str, says: str) -> None:
    write(tmp_path / "collections.csv", os.fsencode(text))
    with pytest.raises(UsageError, match=says) as caught:
        build_index(tmp_path, out)
    assert caught.value.code == "collections-invalid"


def test_names_of_all_kinds(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    names = ["Größe 1.dcm", "a b/%20 c.dcm", "日本/腎臓.dcm", "q?*.dcm", "no extension"]
    for name in names:
        write(tmp_path / name, seg_bytes(seed=name))
    broken = os.fsencode(tmp_path) + b"/latin\xe9.dcm"
    Path(os.fsdecode(broken)).write_bytes(seg_bytes(seed="latin"))
    index = indexed(tmp_path, out)
    uris = {(tmp_path / name).as_uri() for name in names}
    assert {row["aws_url"] for row in index.instances} == uris | {tmp_path.as_uri() + "/latin%E9.dcm"}
    base = indexed(tmp_path, out, url_base="s3://bucket/prefix/")
    assert {row["aws_url"] for row in base.instances} == {f"s3://bucket/prefix/{name}" for name in names}
    assert list(base.skipped.values()) == ["unsafe-url"]  # no URL can say that name


def test_links(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    root = tmp_path / "root"
    write(root / "real" / "1.dcm", seg_bytes(seed="1"))
    write(tmp_path / "elsewhere" / "2.dcm", seg_bytes(seed="2"))
    (root / "real" / "up").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root / "self")
    (root / "gone.dcm").symlink_to(tmp_path / "nothing.dcm")
    (root / "beside").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    index = indexed(root, out)
    assert index.report.instances == 2
    assert index.skipped == {"gone.dcm": "unreadable-object", "self": "unreadable-object"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    write(tmp_path / "locked.dcm", seg_bytes()).chmod(0)
    (tmp_path / "folder").mkdir(mode=0)
    index = indexed(tmp_path, out)
    (tmp_path / "folder").chmod(0o700)
    assert index.skipped == {"folder": "unreadable-object", "locked.dcm": "unreadable-object"}


@pytest.mark.parametrize("checksum", [True, False])
def test_content_ids_follow_the_content(
    tmp_path: Path, out: Path, seg_bytes: Callable, checksum: bool
) -> None:
    def ids() -> dict[str, str]:
        rows = indexed(tmp_path, out, checksum=checksum).series
        return {row["SeriesInstanceUID"]: row["crdc_series_uuid"] for row in rows}

    first = write(tmp_path / "1.dcm", seg_bytes(seed="1"))
    write(tmp_path / "2.dcm", seg_bytes(seed="2"))
    before = ids()
    first.write_bytes(first.read_bytes() + b"\0" * 2)
    after = ids()
    changed = {uid for uid in before if before[uid] != after[uid]}
    assert changed == {pydicom.dcmread(first, stop_before_pixels=True).SeriesInstanceUID}
    first.rename(tmp_path / "moved.dcm")
    assert ids() == after


def test_checksums_are_for_what_is_small(tmp_path: Path, out: Path, seg_bytes: Callable, monkeypatch) -> None:
    content = seg_bytes()
    write(tmp_path / "1.dcm", content)
    md5 = hashlib.md5(content).hexdigest()
    assert [row["instance_hash"] for row in indexed(tmp_path, out).instances] == [md5]
    assert [row["instance_hash"] for row in indexed(tmp_path, out, checksum=False).instances] == [None]
    monkeypatch.setattr(build, "CHECKSUM_BYTES", len(content) - 1)
    assert [row["instance_hash"] for row in indexed(tmp_path, out).instances] == [None]
    assert [row["instance_hash"] for row in indexed(tmp_path, out, checksum=True).instances] == [md5]


def test_the_same_archive_gives_the_same_bytes(archive: tuple[Path, list[Archived]], tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_index(archive[0], tmp_path / name)
    for name in ("segmentations", "series_index", "instances"):
        one, two = (tmp_path / n / f"{name}.parquet" for n in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_processes_give_what_one_gives(
    archive: tuple[Path, list[Archived]], tmp_path: Path, monkeypatch
) -> None:
    build_index(archive[0], tmp_path / "one", workers=1)
    monkeypatch.setattr(build, "PROCESSES_FROM", 1)
    steps = []
    build_index(archive[0], tmp_path / "two", workers=2, on_progress=lambda *step: steps.append(step))
    assert steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
    for name in ("segmentations", "series_index", "instances"):
        one, two = (tmp_path / n / f"{name}.parquet" for n in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_the_index_may_lie_in_the_archive(tmp_path: Path, seg_bytes: Callable) -> None:
    write(tmp_path / "1.dcm", seg_bytes())
    for _ in range(2):
        index = indexed(tmp_path, tmp_path / "index")
        assert (index.report.files, index.report.skipped) == (1, ())


def test_an_empty_folder_gives_empty_tables(tmp_path: Path, out: Path) -> None:
    index = indexed(tmp_path, out)
    assert (index.segments, index.series, index.instances, index.report.files) == ([], [], [], 0)


def test_no_folder(tmp_path: Path, out: Path) -> None:
    with pytest.raises(MissingError) as caught:
        build_index(tmp_path / "nowhere", out)
    assert caught.value.code == "not-found"


def test_a_failure_leaves_the_old_index(tmp_path: Path, out: Path, seg_bytes: Callable) -> None:
    write(tmp_path / "1.dcm", seg_bytes())
    build_index(tmp_path, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path, out, on_progress=stop)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not list(out.glob(f"{TEMPORARY_PREFIX}*"))


def test_real_files(real_data: Path, out: Path) -> None:
    index = indexed(real_data, out)
    files = sorted(real_data.glob("*.dcm"))
    numbers: dict[str, set[int]] = {}
    for row in index.segments:
        numbers.setdefault(row["SOPInstanceUID"], set()).add(row["SegmentNumber"])
    for path in files:
        code = index.skipped.get(path.name)
        assert code in (None, "duplicate-instance", "not-segmentation"), path.name
        if code is None:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            declared = {int(item.SegmentNumber) for item in dataset.get("SegmentSequence", ())}
            assert numbers.get(dataset.SOPInstanceUID, set()) <= declared, path.name
            assert len(declared) - len(numbers.get(dataset.SOPInstanceUID, set())) <= 1  # the background
    assert index.report.instances + sum(name.endswith(".dcm") for name in index.skipped) == len(files)


# --- what was segmented, and broken twins ----------------------------------------------------------


def _edited(content: bytes, edit: Callable[[Dataset], None]) -> bytes:
    dataset = dcmread(io.BytesIO(content))
    edit(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _with_images(folder: Path, seg: bytes) -> tuple[str, list[str]]:
    """The images of `seg_bytes` in a folder: their series, and their SOPInstanceUIDs."""
    images = image_series(GRID, Subject("p1"))
    for k, image in enumerate(images):
        image.save_as(folder / f"zz{k}.dcm", enforce_file_format=True)  # behind the segmentations
    return str(images[0].SeriesInstanceUID), [str(image.SOPInstanceUID) for image in images]


def _named(where: str, uids: list[str]) -> Callable[[Dataset], None]:
    def edit(seg: Dataset) -> None:
        del seg.ReferencedSeriesSequence
        for frame in seg.PerFrameFunctionalGroupsSequence:
            if where != "derivation" and "DerivationImageSequence" in frame:
                del frame.DerivationImageSequence
        items = []
        for uid in uids:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
            items.append(item)
        if where == "top level":
            seg.SourceImageSequence = items
        elif where == "frame":
            for frame in seg.PerFrameFunctionalGroupsSequence:
                frame.SourceImageSequence = items[:1]

    return edit


def _segmented(out: Path) -> set[str | None]:
    table = pq.read_table(out / "segmentations.parquet")
    return set(table.column("segmented_SeriesInstanceUID").to_pylist())


@pytest.mark.parametrize("where", ["top level", "frame", "derivation"])
def test_the_segmented_series_is_found_by_the_images_named(
    seg_bytes: Callable[..., bytes], tmp_path: Path, where: str
) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    series, uids = _with_images(archive, seg_bytes())
    (archive / "seg.dcm").write_bytes(_edited(seg_bytes(), _named(where, uids)))
    report = build_index(archive, out)
    assert (_segmented(out), report.doubts) == ({series}, ())
    for image in archive.glob("zz*"):
        image.unlink()
    report = build_index(archive, out)
    assert _segmented(out) == {None}
    assert [doubt.code for doubt in report.doubts] == ["source-series-unknown"]


def test_of_several_series_the_frames_decide(seg_bytes: Callable[..., bytes], tmp_path: Path) -> None:
    def add_another(seg: Dataset) -> None:
        other = copy.deepcopy(seg.ReferencedSeriesSequence[0])
        other.SeriesInstanceUID = "2.25.1"
        for number, item in enumerate(other.ReferencedInstanceSequence):
            item.ReferencedSOPInstanceUID = f"2.25.1.{number}"
        seg.ReferencedSeriesSequence.insert(0, other)

    def forget_frames(seg: Dataset) -> None:
        add_another(seg)
        for frame in seg.PerFrameFunctionalGroupsSequence:
            del frame.DerivationImageSequence

    series = str(image_series(GRID, Subject("p1"))[0].SeriesInstanceUID)
    (tmp_path / "archive").mkdir()
    file = tmp_path / "archive" / "seg.dcm"
    file.write_bytes(_edited(seg_bytes(), add_another))
    report = build_index(tmp_path / "archive", tmp_path / "out")
    assert (_segmented(tmp_path / "out"), report.doubts) == ({series}, ())
    file.write_bytes(_edited(seg_bytes(), forget_frames))
    report = build_index(tmp_path / "archive", tmp_path / "out")
    assert _segmented(tmp_path / "out") == {"2.25.1"}
    assert [doubt.code for doubt in report.doubts] == ["source-series-unknown"]


@pytest.mark.parametrize("first_is_broken", [True, False])
@pytest.mark.parametrize(
    "broken",
    [
        lambda content: content[:-20],  # its pixels end early
        lambda content: _edited(content, lambda seg: delattr(seg, "PixelData")),
        lambda content: content[: int(len(content) * 0.7)],  # within the per-frame groups
    ],
)
def test_a_broken_twin_does_not_shadow_the_good_copy(
    seg_bytes: Callable[..., bytes], tmp_path: Path, broken: Callable[[bytes], bytes], first_is_broken: bool
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    names = ("a.dcm", "b.dcm") if first_is_broken else ("b.dcm", "a.dcm")
    (archive / names[0]).write_bytes(broken(seg_bytes()))
    (archive / names[1]).write_bytes(seg_bytes())
    report = build_index(archive, tmp_path / "out")
    (skipped,) = report.skipped
    # Cut within what the index reads, it is no second copy, but no copy at all.
    assert (skipped.path, skipped.code in ("duplicate-instance", "truncated")) == (names[0], True)
    (row,) = pq.read_table(tmp_path / "out" / "instances.parquet").to_pylist()
    assert row["aws_url"].endswith(names[1])
    assert row["instance_size"] == len(seg_bytes())
    assert row["instance_hash"] == hashlib.md5(seg_bytes()).hexdigest()
    (series,) = pq.read_table(tmp_path / "out" / "series_index.parquet").to_pylist()
    assert (series["instance_count"], series["series_size_bytes"]) == (1, len(seg_bytes()))
