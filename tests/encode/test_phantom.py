"""The phantom archive is what it says: every file, decoded, has the outcome that is promised."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from segtools.codes import CODES, Severity
from segtools.decode import read
from segtools.errors import SegError
from segtools.phantom import anatomy
from segtools.phantom.archive import NONCOMMERCIAL_BUCKET, Archived, write_archive

if TYPE_CHECKING:
    from pathlib import Path

Archive = tuple["Path", list[Archived]]
OBJECT = re.compile(r"phantom-open-data(-cr)?/[0-9a-f-]{36}/[0-9a-f-]{36}\.dcm")


def segmentations(archive: Archive) -> list[tuple[Path, Archived]]:
    folder, series = archive
    return [(folder / made.paths[0], made) for made in series if made.modality == "SEG"]


def test_it_is_a_small_bucket_of_a_dozen(archive: Archive) -> None:
    folder, series = archive
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30e6
    listed = {path for made in series for path in made.paths}
    assert {str(path.relative_to(folder)) for path in files} == listed | {"collections.csv"}
    assert all(OBJECT.fullmatch(path) for path in listed)
    assert 12 <= len(segmentations(archive)) <= 15
    assert len({made.series_uid for made in series}) == len(series)


def test_every_segmentation_ends_as_promised(archive: Archive) -> None:
    for path, made in segmentations(archive):
        if made.code is not None:
            with pytest.raises(SegError) as caught:
                read(path)
            assert (made.note, caught.value.code) == (made.note, made.code)
            continue
        volume = read(path)
        codes = {finding.code for finding in volume.findings}
        assert set(made.findings) <= codes, made.note
        worst = max((CODES[code].severity or Severity.INFO for code in codes), default=Severity.INFO)
        assert (made.note, worst >= Severity.WARNING) == (made.note, made.status == "warned")
        assert (made.note, len(volume.segments)) == (made.note, made.segments)


def test_sides_are_where_they_belong(archive: Archive) -> None:
    seen = 0
    for path, made in segmentations(archive):
        if made.status not in ("ok", "warned"):
            continue
        volume = read(path)
        for segment in volume.segments:
            side = {*segment.type_modifiers, *segment.region_modifiers} & {anatomy.LEFT, anatomy.RIGHT}
            if side and volume.mask(segment.number).any():
                k, j, i = np.argwhere(volume.mask(segment.number)).mean(axis=0)
                right_mm = float((volume.grid.affine_ras @ (i, j, k, 1))[0])
                assert (right_mm > 0) == (side == {anatomy.RIGHT}), (made.note, segment.label)
                seen += 1
    assert seen >= 10


def test_sources_are_in_the_archive(archive: Archive) -> None:
    _, series = archive
    images = {made.series_uid for made in series if made.modality != "SEG"}
    for path, made in segmentations(archive):
        if made.status in ("ok", "warned"):
            assert set(read(path).header.source_series_uids) <= images


def test_producers_differ_in_their_bytes(archive: Archive) -> None:
    undefined = {
        pydicom.dcmread(path, stop_before_pixels=True)["SegmentSequence"].is_undefined_length
        for path, made in segmentations(archive)
        if made.status == "ok"
    }
    assert undefined == {True, False}


def test_the_same_call_writes_the_same_bytes(archive: Archive, tmp_path: Path) -> None:
    folder, series = archive
    assert write_archive(tmp_path) == series
    for path in folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_terms_of_use_are_told(archive: Archive) -> None:
    folder, series = archive
    with (folder / "collections.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for made in series:
        row = rows[made.paths[0].rpartition("/")[0]]
        assert row["collection_id"] == made.collection_id
        assert row["path"].startswith(NONCOMMERCIAL_BUCKET + "/") == ("NC" in row["license_short_name"])
        assert row["source_DOI"].startswith("10.5555/")  # the prefix for examples
