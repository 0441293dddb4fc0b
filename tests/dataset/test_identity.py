"""Keys are unique by construction: what differs in any identifier differs in every key made of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import segtools
from segtools.check import audit
from segtools.dataset.layout import sidecar_name, volume_name
from segtools.dataset.stage import Stage
from segtools.finding import Finding, finding_row
from segtools.write.instance import write_instance
from segtools.write.rows import file_rows, series_row
from tests.factories.dataset import commit, make_measures, make_series, make_volume

COLLIDING = ("1.2.826.0.1.1.18762", "1.2.826.0.1.1.29339")


def of_instance(series, sop_instance_uid, seed):
    volume = make_volume(series, seed=seed)
    return replace(volume, header=replace(volume.header, sop_instance_uid=sop_instance_uid))


def write(layout, instances):
    """A dataset of (series, volume) pairs; the volumes of one series together."""
    stage, rows, by_series = Stage(layout), {"segments": [], "files": [], "series": []}, {}
    for series, volume in instances:
        written = write_instance(
            stage,
            series,
            volume,
            make_measures(volume),
            source_bytes=1,
            source_md5="0" * 32,
            revision="0" * 16,
        )
        uids = {"seg_series_uid": series.seg_series_uid, "seg_sop_uid": volume.header.sop_instance_uid}
        rows["segments"] += written.segments
        rows["files"] += file_rows(written.files, **uids)
        by_series.setdefault(series, []).append(written)
    for series, written in by_series.items():
        rows["series"].append(
            series_row(
                series,
                segments=[row for one in written for row in one.segments],
                findings=[],
                files=[file for one in written for file in one.files],
                settings_hash="s",
                folder=layout.series_folder(series.collection_id, series.patient_id, series.seg_series_uid),
            )
        )
    stage.rows("p", rows)
    commit(layout, list(by_series))


def masks_are_their_own(layout, instances):
    with segtools.open(layout.root) as dataset:
        assert audit(dataset).to_pylist() == []
        ids = dataset.segments()["segment_id"].to_pylist()
        assert len(set(ids)) == len(ids) == 3 * len(instances)
        for series, volume in instances:
            for number in (1, 2):
                name = f"{series.seg_series_uid}/{volume.header.sop_instance_uid}/{number}"
                np.testing.assert_array_equal(dataset.mask(name), volume.mask(number))


def test_instances_whose_hashes_share_32_bits(layout):
    """In two series of one patient, and in one series."""
    assert {hashlib.sha256(uid.encode()).hexdigest()[:8] for uid in COLLIDING} == {"10477426"}
    one, other = make_series(1), make_series(2, patient_id="TCGA-0001")
    instances = [
        (one, of_instance(one, COLLIDING[0], 1)),
        (other, of_instance(other, COLLIDING[1], 2)),
        (one, of_instance(one, COLLIDING[1] + ".1", 3)),
    ]
    write(layout, instances)
    masks_are_their_own(layout, instances)


def test_one_instance_uid_in_two_series(layout):
    """Archives hold copies: the key names the series too."""
    series = [make_series(1), make_series(2), make_series(3, patient_id="TCGA-0001")]
    instances = [(one, of_instance(one, "1.2.3", seed)) for seed, one in enumerate(series)]
    write(layout, instances)
    masks_are_their_own(layout, instances)


@pytest.mark.parametrize("uid", ["1.2.3", "../x", "a" * 200, "", "CON", "é"])
def test_names_of_two_instances_never_meet(uid):
    for other in (uid + "1", uid + "_dseg", f"{uid}_rev-0", "x"):
        names = {volume_name(one, "dseg", revision="0") for one in (uid, other)}
        assert len(names) == 2
        assert len({sidecar_name(one, "dseg", "json") for one in (uid, other)}) == 2


def test_ids_of_findings_have_128_bits():
    found = {
        finding_row(Finding("spacing-assumed", f"{n}"), seg_series_uid="1", seg_sop_uid="2")["finding_id"]
        for n in range(1000)
    }
    assert {len(one) for one in found} == {32}
    assert len(found) == 1000
