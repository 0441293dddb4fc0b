"""Another type, another codec, another kind of file: the same voxels, meaning and references."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from segtools.decode import Segment, read
from segtools.encode import (
    Producer,
    Storage,
    encode,
    encode_object,
    image_series,
)
from segtools.encode.api import subject_source
from segtools.encode.frames.codecs import EXPLICIT, IMPLICIT, RLE, SYNTAX_OF
from segtools.encode.header.headers import DatasetHeader
from segtools.encode.header.source import source_of
from segtools.encode.images import Subject
from segtools.encode.inputs.read import read_mask
from segtools.encode.jobs.run import prepare, run
from segtools.encode.jobs.spec import EncodeJob
from segtools.encode.quality.iod import missing_attributes
from segtools.encode.transcode.convert import transcode
from segtools.encode.transcode.people import write_for_people
from segtools.errors import UsageError
from segtools.phantom.anatomy import ANATOMY, LEFT, grid_around
from segtools.terminology.concepts import Concept

KIDNEY = Concept("64033007", "SCT", "Kidney")
SHAPE = (6, 40, 36)
GRID = grid_around((3.0, -20.0, 8.0), SHAPE, (0.7, 0.8, 2.5))
CODECS = {name: uid for name, uid in SYNTAX_OF.items() if name != "implicit"}


def segments(count: int) -> list[Segment]:
    return [
        Segment(
            n, f"Nierenstück {n}", "of many", category=ANATOMY, type=KIDNEY, type_modifiers=(LEFT,),
            algorithm_type="AUTOMATIC", algorithm_name="Any Net", cielab=(n * 60, 30_000, 20_000),
            tracking_id=f"t{n}", tracking_uid=f"2.25.{n}",
        )
        for n in range(1, count + 1)
    ]  # fmt: skip


def masks(overlap: bool = False) -> dict[int, np.ndarray]:
    found = {n: np.zeros(SHAPE, bool) for n in (1, 2, 3)}
    found[1][1:3, 3:20, 5:9] = True
    found[2][2:5, 25:33, 1:30] = True
    found[3][4, 0, 0] = found[3][1, 39, 35] = True
    if overlap:
        found[3][2, 10:30, 4:8] = True
    return found


def written(folder: Path, kind: str, syntax: str, overlap: bool = False) -> Path:
    source = source_of(
        [(str(n), DatasetHeader(i)) for n, i in enumerate(image_series(GRID, Subject("Jürgen")))]
    )
    made = encode_object(
        masks(overlap), GRID, segments(3), source=source, storage=Storage(kind, syntax), producer=Producer("M", "m", "7", "Desc"), seed="s"
    )  # fmt: skip
    made.write(folder / "in.dcm")
    return folder / "in.dcm"


def assert_same(path: Path, overlap: bool = False) -> None:
    volume = read(path)
    assert [replace(s, rgb=None) for s in volume.segments] == segments(3)
    for number, wanted in masks(overlap).items():
        have = volume.mask(number)
        shift = round(float((np.linalg.inv(volume.grid.affine_lps) @ GRID.affine_lps)[2, 3]))
        used = np.flatnonzero(wanted.any(axis=(1, 2)))
        np.testing.assert_array_equal(have[used + shift], wanted[used])
        assert have.sum() == wanted.sum()


@pytest.mark.parametrize("old", CODECS)
@pytest.mark.parametrize("start", ["BINARY", "LABELMAP"])
def test_there_and_back(start: str, old: str, tmp_path: Path) -> None:
    if start == "BINARY" and old in ("rle", "jpeg-ls", "jpeg-2000"):
        pytest.skip("one bit is not stored so")
    path = written(tmp_path, start, CODECS[old])
    before = pydicom.dcmread(io.BytesIO(written(tmp_path, start, EXPLICIT).read_bytes()))
    path = written(tmp_path, start, CODECS[old])
    other = "LABELMAP" if start == "BINARY" else "BINARY"
    (there,) = transcode(path, tmp_path / "there.dcm", kind=other)
    (back,) = transcode(there.path, tmp_path / "back.dcm", kind=start)
    assert there.voxels == back.voxels == sum(int(mask.sum()) for mask in masks().values())
    for done, kind in ((there, other), (back, start)):
        assert_same(done.path)
        dataset = pydicom.dcmread(done.path)
        assert missing_attributes(dataset) == []
        assert (dataset.SegmentationType, dataset.PatientName, dataset.SeriesDescription) == (
            kind,
            "Jürgen",
            "Desc",
        )
        assert ("PixelPaddingValue" in dataset) == (kind == "LABELMAP")
        assert dataset.SOPInstanceUID != before.SOPInstanceUID
        assert dataset.ReferencedSeriesSequence == before.ReferencedSeriesSequence
        sources = [
            i.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for i in dataset.PerFrameFunctionalGroupsSequence
        ]
        images = [i.SOPInstanceUID for i in image_series(GRID, Subject("Jürgen"))]
        assert set(sources) == set(images[1:5])
    again = transcode(path, tmp_path / "again.dcm", kind=other)
    assert again[0].path.read_bytes() == there.path.read_bytes()


@pytest.mark.parametrize("new", CODECS)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_another_codec_changes_nothing_else(kind: str, new: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind, EXPLICIT)
    if kind == "BINARY" and new in ("rle", "jpeg-ls", "jpeg-2000"):
        with pytest.raises(UsageError) as caught:
            transcode(path, tmp_path / "out.dcm", transfer_syntax=CODECS[new])
        assert caught.value.code == "transcode-unlawful"
        return
    transcode(path, tmp_path / "out.dcm", transfer_syntax=CODECS[new])
    assert read(tmp_path / "out.dcm").header.transfer_syntax_uid == CODECS[new]
    (back,) = transcode(tmp_path / "out.dcm", tmp_path / "back.dcm", transfer_syntax=EXPLICIT)
    assert back.path.read_bytes() == path.read_bytes()


def test_other_encodings_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "BINARY", IMPLICIT)
    (done,) = transcode(path, tmp_path / "out.dcm", kind="LABELMAP")
    assert_same(done.path)


def test_overlap_is_split_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "BINARY", EXPLICIT, overlap=True)
    with pytest.raises(UsageError, match="--split") as caught:
        transcode(path, tmp_path / "out.dcm", kind="LABELMAP")
    assert caught.value.code == "transcode-unlawful"
    done = transcode(path, tmp_path / "out.dcm", kind="LABELMAP", split=True)
    volumes = [read(each.path) for each in done]
    assert [[s.number for s in volume.segments] for volume in volumes] == [[1, 2], [3]]
    assert len({v.header.series_instance_uid for v in volumes}) == 1
    assert len({v.header.sop_instance_uid for v in volumes}) == 2
    assert [int(v.mask(s.number).sum()) for v in volumes for s in v.segments] == [
        int(m.sum()) for m in masks(True).values()
    ]


def test_fractions_stay_fractions(tmp_path: Path) -> None:
    soft = {1: np.linspace(0, 1, int(np.prod(SHAPE))).reshape(SHAPE)}
    made = encode_object(
        soft, GRID, segments(1), source=subject_source(Subject("p"), GRID), storage=Storage("FRACTIONAL")
    )
    made.write(tmp_path / "in.dcm")
    with pytest.raises(UsageError, match="fractions"):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", kind="LABELMAP")
    (done,) = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", transfer_syntax=RLE)
    np.testing.assert_array_equal(read(done.path).fractions[1], read(tmp_path / "in.dcm").fractions[1])
    with pytest.raises(UsageError, match="no labels"):
        write_for_people(read(tmp_path / "in.dcm"), tmp_path / "a.nrrd", "nrrd")


def test_numbers_with_gaps_are_renumbered_for_binary(tmp_path: Path) -> None:
    labels = np.where(masks()[1], 700, np.where(masks()[2], 300, 0)).astype(np.uint16)
    described = [replace(segments(1)[0], number=n, label=str(n)) for n in (300, 700)]
    made = encode_object(
        labels,
        GRID,
        described,
        source=subject_source(Subject("p"), GRID),
        storage=Storage("LABELMAP", RLE, palette=True),
    )
    made.write(tmp_path / "in.dcm")
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", kind="BINARY")
    volume = read(tmp_path / "out.dcm")
    assert [(s.number, s.label) for s in volume.segments] == [(1, "300"), (2, "700")]
    assert all(s.cielab for s in volume.segments)
    assert volume.mask(2).sum() == masks()[1].sum()


@pytest.mark.parametrize("kind", ["seg.nrrd", "nrrd", "nii.gz"])
@pytest.mark.parametrize("overlap", [False, True])
def test_files_for_people_come_back(kind: str, overlap: bool, tmp_path: Path) -> None:
    path = written(tmp_path, "BINARY", EXPLICIT, overlap)
    volume = read(path)
    files = write_for_people(volume, tmp_path / f"out.{kind}", kind)
    *volumes, meta, table = files
    assert len(volumes) == (1 if kind == "seg.nrrd" or not overlap else 2)
    assert table.read_text().splitlines()[1].startswith("1,Nierenstück 1,")
    content = json.loads(meta.read_text())
    assert [len(layer) for layer in content["segmentAttributes"]] == ([2, 1] if overlap else [3])
    np.testing.assert_allclose(read_mask(volumes[0]).affine_lps, volume.grid.affine_lps, atol=1e-5)
    job = EncodeJob(
        tuple(volumes),
        None,
        None if kind == "seg.nrrd" else meta,
        patient_id="p",
        use_label_ids=True,
        storage=Storage("BINARY"),
    )
    (done,) = run(prepare(job), tmp_path / "again.dcm")
    again = read(done.path)
    for mine, theirs in zip(segments(3), again.segments, strict=True):
        assert (mine.label, mine.category, mine.type, mine.type_modifiers) == (
            theirs.label,
            theirs.category,
            theirs.type,
            theirs.type_modifiers,
        )
        assert (mine.algorithm_type, mine.algorithm_name) == (theirs.algorithm_type, theirs.algorithm_name)
    for number, wanted in masks(overlap).items():
        assert again.mask(number).sum() == wanted.sum()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_thousand_segments(kind: str) -> None:
    count = 1000
    labels = (np.arange(4 * 50 * 50) % (count + 1)).reshape(4, 50, 50).astype(np.uint16)
    grid = grid_around((0, 0, 0), labels.shape, (1, 1, 1))
    made = encode_object(
        labels,
        grid,
        segments(count),
        source=subject_source(Subject("p"), grid),
        storage=Storage(kind, RLE if kind == "LABELMAP" else EXPLICIT),
    )
    volume = read(made.to_bytes())
    assert len(volume.segments) == count
    for number in (1, 255, 256, 1000):
        np.testing.assert_array_equal(volume.mask(number), labels == number)


def test_ten_thousand_labels() -> None:
    labels = np.arange(10_001, dtype=np.uint16).repeat(3)[: 3 * 10_000].reshape(3, 100, 100)
    grid = grid_around((0, 0, 0), labels.shape, (1, 1, 1))
    described = [Segment(n, str(n), category=ANATOMY, type=KIDNEY) for n in range(1, 10_001)]
    made = encode_object(
        labels, grid, described, source=subject_source(Subject("p"), grid), storage=Storage("LABELMAP", RLE)
    )
    np.testing.assert_array_equal(read(made.to_bytes()).layers[0], labels)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("overlap", [False, True])
def test_dciodvfy_finds_no_error(overlap: bool, tmp_path: Path) -> None:
    path = written(tmp_path, "BINARY", EXPLICIT, overlap)
    transcode(
        written(tmp_path / "l", "LABELMAP", RLE) if not overlap else path, tmp_path / "t.dcm", kind="BINARY"
    )
    for each in (path, tmp_path / "t.dcm"):
        told = subprocess.run(["dciodvfy", "-new", each], capture_output=True, text=True, check=False).stderr
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


def test_what_encode_gave_transcodes(tmp_path: Path) -> None:
    made = encode(masks(), GRID, segments(3), subject=Subject("p"))
    made.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    (done,) = transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", kind="LABELMAP")
    assert_same(done.path)
