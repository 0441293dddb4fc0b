"""Masks to DICOM SEG to an index to a cohort run: the same masks in the dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import segtools
from segtools.encode.jobs.batch import encode_batch, read_jobs
from tests.factories import masks as made
from tests.run.whole import Place, complete


@pytest.mark.parametrize("kind", ["labelmap", "binary"])
def test_a_cohort_run_reads_back_what_was_encoded(kind: str, tmp_path: Path) -> None:
    made.source_folder(tmp_path / "ct")
    made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    made.write_dcmqi(tmp_path / "meta.json", [[made.dcmqi_segment(1), made.dcmqi_segment(2, "Spleen")]])
    (tmp_path / "jobs.csv").write_text(
        f"output,masks,source,meta,type\na.dcm,mask.nii.gz,ct,meta.json,{kind}\n"
    )
    (outcome,) = encode_batch(read_jobs(tmp_path / "jobs.csv"), tmp_path / "encoded")
    place = Place(tmp_path)
    place.file(1).parent.mkdir(parents=True)
    shutil.copy(tmp_path / "encoded" / "a.dcm", place.file(1))
    place.reindex()
    complete(place.run(tmp_path / "dataset"))
    with segtools.open(tmp_path / "dataset") as dataset:
        rows = dataset.segments().to_pylist()
        assert [row["segment_number"] for row in rows] == [1, 2]
        for row in rows:
            mask = np.asarray(dataset.mask(row))
            assert (
                mask.sum()
                == row["voxel_count"]
                == np.count_nonzero(made.label_map() == row["segment_number"])
            )
    assert outcome.voxels == sum(row["voxel_count"] for row in rows)
