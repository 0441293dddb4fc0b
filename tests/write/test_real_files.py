"""Real SEG files: decoded, written, committed, and read back by nibabel and by the audit."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import segtools
from segtools.check import audit, check_catalog
from segtools.dataset.stage import Stage
from segtools.decode import read
from segtools.decode.measure import measure
from segtools.errors import SegError
from segtools.write.instance import WriteOptions, write_instance
from segtools.write.rows import file_rows, series_row
from tests.factories.dataset import commit, make_series

FOLDER = Path(os.environ.get("IDCSEG_REAL_DATA") or Path(__file__).parents[2].parent / "shared/data/seg")
SMALL = 300_000


@pytest.mark.slow
def test_every_readable_file_comes_back_voxel_by_voxel(layout):
    paths = [path for path in sorted(FOLDER.glob("*.dcm")) if path.stat().st_size < SMALL]
    if not paths:
        pytest.skip("no folder of real SEG files (IDCSEG_REAL_DATA)")
    seen: set[str] = set()
    volumes, chosen = {}, []
    rows = {"series": [], "segments": [], "findings": [], "files": []}
    stage = Stage(layout)
    for number, path in enumerate(paths):
        content = path.read_bytes()
        try:
            volume = read(path)
        except SegError:
            continue
        if volume.header.sop_instance_uid in seen:  # the folder holds copies
            continue
        seen.add(volume.header.sop_instance_uid)
        series = make_series(number, patient_id=volume.header.patient_id or "none")
        written = write_instance(
            stage,
            series,
            volume,
            measure(volume),
            source_bytes=len(content),
            source_md5=hashlib.md5(content).hexdigest(),
            options=WriteOptions("masks"),
        )
        folder = layout.series_folder(series.collection_id, series.patient_id, series.seg_series_uid)
        chosen.append(series)
        rows["series"].append(
            series_row(
                series,
                segments=written.segments,
                findings=written.findings,
                files=written.files,
                settings_hash="s",
                folder=folder,
            )
        )
        rows["segments"] += written.segments
        rows["findings"] += written.findings
        rows["files"] += file_rows(
            written.files,
            seg_series_uid=series.seg_series_uid,
            seg_sop_uid=volume.header.sop_instance_uid,
        )
        volumes[series.seg_series_uid] = volume
    assert len(volumes) > 5
    stage.rows("real", rows)
    commit(layout, chosen)
    with segtools.open(layout.root) as dataset:
        rows = dataset.segments().to_pylist()
        for row in rows:
            volume = volumes[row["seg_series_uid"]]
            expected = volume.mask(row["segment_number"])
            np.testing.assert_array_equal(dataset.mask(row), expected)
            if row["volume_path"]:
                image = nib.load(layout.absolute(row["volume_path"]))
                np.testing.assert_array_equal(
                    row["segment_number"] == np.asanyarray(image.dataobj).T, expected
                )
                np.testing.assert_allclose(image.affine, volume.grid.affine_ras, rtol=1e-5, atol=1e-3)
        assert audit(dataset).to_pylist() == []
        check_catalog(dataset)
