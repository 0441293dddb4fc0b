"""The same inputs through dcmqi: objects that mean the same; and dcmqi reads what we write."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtools.decode import read
from segtools.encode import Storage, Subject, image_series
from segtools.encode.frames.codecs import DEFLATED, EXPLICIT, RLE
from segtools.encode.inputs.read import read_mask
from segtools.encode.jobs.run import prepare, run
from segtools.encode.jobs.spec import EncodeJob
from tests.factories import masks as made
from tests.factories.source_headers import GRID, SHAPE, save

WRITER = shutil.which("itkimage2segimage", path=str(Path(sys.executable).parent))
READER = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(WRITER is None or READER is None, reason="dcmqi is not installed"),
]


@pytest.fixture
def job(tmp_path: Path) -> EncodeJob:
    source = save(image_series(GRID, Subject("99000"), pixels=np.zeros(SHAPE, np.int16)), tmp_path / "ct")
    labels = made.label_map()
    one = made.write_nrrd(tmp_path / "one.nrrd", [np.where(labels == 1, 7, 0).astype(np.int16)])
    two = made.write_nrrd(tmp_path / "two.nrrd", [np.where(labels == 2, 3, 0).astype(np.int16)])
    meta = made.write_dcmqi(
        tmp_path / "meta.json",
        [
            [
                made.dcmqi_segment(
                    7, SegmentAlgorithmName="Net", TrackingIdentifier="a", TrackingUniqueIdentifier="2.25.9"
                )
            ],
            [made.dcmqi_segment(3, "Spleen", SegmentAlgorithmType="MANUAL", SegmentAlgorithmName=None) | {}],
        ],
    )
    text = meta.read_text().replace('"SegmentAlgorithmName": null,', "")
    meta.write_text(text)
    return EncodeJob((one, two), source, meta)


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_the_same_as_dcmqi(kind: str, ids: bool, job: EncodeJob, tmp_path: Path) -> None:
    if kind == "BINARY" and ids:
        pytest.skip("BINARY asks for 1 to n")
    arguments = [
        WRITER, "--inputImageList", ",".join(map(str, job.masks)), "--inputDICOMDirectory", str(job.source),
        "--inputMetadata", str(job.meta), "--outputDICOM", str(tmp_path / "theirs.dcm"),
        "--segmentationType", kind.lower(),
    ]  # fmt: skip
    subprocess.run(
        [*arguments, *(["--useLabelIDAsSegmentNumber"] if ids else [])], check=True, capture_output=True
    )
    (done,) = run(
        prepare(replace(job, storage=Storage(kind, EXPLICIT), use_label_ids=ids)), tmp_path / "ours.dcm"
    )
    theirs, ours = read(tmp_path / "theirs.dcm"), read(done.path)
    assert [replace(s, cielab=None) for s in ours.segments] == [
        replace(s, cielab=None) for s in theirs.segments
    ]
    for mine, other in zip(ours.segments, theirs.segments, strict=True):
        assert np.abs(np.subtract(mine.cielab, other.cielab)).max() <= 2
        np.testing.assert_array_equal(ours.mask(mine.number), theirs.mask(mine.number))
    np.testing.assert_allclose(ours.grid.affine_lps, theirs.grid.affine_lps, atol=1e-4)
    assert set(theirs.header.source_instance_uids) <= set(ours.header.source_instance_uids)
    for name in ("study_instance_uid", "patient_id", "frame_of_reference_uid", "series_description"):
        assert getattr(ours.header, name) == getattr(theirs.header, name)


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", EXPLICIT),
        ("BINARY", DEFLATED),
        ("LABELMAP", EXPLICIT),
        ("LABELMAP", RLE),
        ("LABELMAP", DEFLATED),
    ],
)
def test_dcmqi_reads_what_we_write(kind: str, syntax: str, job: EncodeJob, tmp_path: Path) -> None:
    (done,) = run(prepare(replace(job, storage=Storage(kind, syntax))), tmp_path / "ours.dcm")
    subprocess.run(
        [
            READER,
            "--inputDICOM",
            str(done.path),
            "--outputDirectory",
            str(tmp_path),
            "--prefix",
            "x",
            "-t",
            "nrrd",
            "--mergeSegments",
        ],
        check=True,
        capture_output=True,
    )
    (file,) = tmp_path.glob("x*.nrrd")
    np.testing.assert_array_equal(read_mask(file).layers[0], made.label_map())
