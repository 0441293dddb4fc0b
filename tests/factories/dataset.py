"""Decoded instances, and datasets written from them."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segtools.dataset import transaction
from segtools.dataset.layout import Layout, revision
from segtools.dataset.pages import REPLACED_PAGES, find_all
from segtools.dataset.place import FolderPlace
from segtools.dataset.stage import Stage, stage_rows
from segtools.dataset.verify import verify
from segtools.decode.measure import SegmentMeasure
from segtools.decode.volume import (
    Assumed,
    Grid,
    SegHeader,
    Segment,
    SegVolume,
)
from segtools.finding import Finding
from segtools.schema import SELECTION
from segtools.series import SelectedSeries
from segtools.terminology.concepts import Concept
from segtools.write.instance import WriteOptions, write_instance
from segtools.write.rows import file_rows, series_row

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
LIVER = Concept("10200004", "SCT", "Liver")
KIDNEY = Concept("64033007", "SCT", "Kidney")
LEFT = Concept("7771000", "SCT", "Left")
RIGHT = Concept("24028007", "SCT", "Right")
COHORT = "name: abdomen\nselect:\n  structures: [liver, kidney]\n"


def make_series(number: int = 1, **changes: Any) -> SelectedSeries:
    uid = f"1.2.826.{number}"
    values: dict[str, Any] = {
        "collection_id": "tcga_kirc",
        "patient_id": f"TCGA-{number:04d}",
        "study_uid": f"{uid}.1",
        "seg_series_uid": f"{uid}.2",
        "crdc_series_uuid": f"uuid-{number}",
        "series_url": f"s3://idc-open-data/uuid-{number}/",
        "size_bytes": 1000,
        "instance_count": 1,
        "idc_version": 24,
        "source_series_uid": f"{uid}.3",
        "source_modality": "CT",
        "license": "CC BY 4.0",
        "source_doi": "10.5281/zenodo.8345959",
    }
    return SelectedSeries(**values | changes)


def make_volume(
    series: SelectedSeries,
    *,
    layers: int = 1,
    fractional: bool = False,
    seed: int = 0,
    findings: tuple[Finding, ...] = (),
    assumed: frozenset[Assumed] = frozenset(),
) -> SegVolume:
    """Three segments on a small oblique grid: liver, left kidney, and one that is empty."""
    rng = np.random.default_rng(seed)
    shape = (4, 5, 6)
    label = np.zeros(shape, np.uint8)
    label[1:3, 1:4, 1:4] = 1
    label[3, :2, 4:] = 2
    label[0, rng.integers(5), rng.integers(6)] = 1
    turn = np.deg2rad(10)
    affine = np.eye(4)
    affine[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    affine[:3, :3] *= (0.8, 0.8, 3.0)
    affine[:3, 3] = (-120.5, -80.25, 33.0)
    segments = (
        Segment(1, "Liver", None, ANATOMY, LIVER, algorithm_type="AUTOMATIC", algorithm_name="net"),
        Segment(2, "left kidney", "the left one", ANATOMY, KIDNEY, type_modifiers=(LEFT,)),
        Segment(3, "empty", None, ANATOMY, KIDNEY, type_modifiers=(RIGHT,), cielab=(33000, 40000, 30000)),
    )
    maps = (label,) if layers == 1 else (np.where(label == 1, label, 0), np.where(label == 2, label, 0))
    header = SegHeader(
        sop_instance_uid=f"{series.seg_series_uid}.9",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_instance_uid=series.seg_series_uid,
        study_instance_uid=series.study_uid,
        patient_id=series.patient_id,
        frame_of_reference_uid="1.2.3.4",
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        frame_count=4,
        file_bytes=1000,
        max_fractional_value=255 if fractional else None,
        series_description="Segmentation",
        source_series_uids=(f"{series.seg_series_uid}.src",),
    )
    fractions = {number: np.where(label == number, 255, 0).astype(np.uint8) for number in (1, 2, 3)}
    fractions[1][1, 1, 1] = 51
    return SegVolume(
        layers=() if fractional else maps,
        layer_of={} if fractional else {1: 0, 2: 1 if layers == 2 else 0, 3: 0},
        segments=segments,
        grid=Grid(shape, affine, assumed),
        header=header,
        findings=findings,
        fractions=fractions if fractional else {},
    )


def make_measures(volume: SegVolume) -> list[SegmentMeasure]:
    """Measures by the plainest means, so that nothing here leans on `segtools.decode.measure`."""
    measures = []
    for segment in volume.segments:
        mask = volume.mask(segment.number)
        where = np.argwhere(mask)
        weight = count = len(where)
        if segment.number in volume.fractions:
            weight = volume.fractions[segment.number].sum() / volume.header.max_fractional_value
        box = centroid = share = None
        parts = 0
        volume_ml = weight * volume.grid.voxel_volume_ml
        if count and not volume.grid.has_spacing:
            volume_ml = None
        if count:
            (k0, j0, i0), (k1, j1, i1) = where.min(0), where.max(0)
            box = tuple(int(v) for v in (i0, i1, j0, j1, k0, k1))
            k, j, i = where.mean(0)
            if volume.grid.has_place:
                centroid = tuple(float(v) for v in (volume.grid.affine_ras @ (i, j, k, 1))[:3])
            sizes = np.bincount(cc3d.connected_components(mask, connectivity=26).ravel())[1:]
            parts, share = len(sizes), float(sizes.max() / count)
        measures.append(
            SegmentMeasure(
                number=segment.number,
                voxel_count=count,
                volume_ml=volume_ml,
                bbox_ijk=box,
                centroid_ras_mm=centroid,
                slice_count=len(set(where[:, 0].tolist())),
                component_count=parts,
                largest_component_fraction=share,
                touches_border=bool(count),
                overlap_voxel_count=0,
            )
        )
    return measures


def write_part(
    layout: Layout,
    all_series: list[SelectedSeries],
    part: str = "batch-0",
    *,
    options: WriteOptions | None = None,
    **volume_choices: Any,
) -> None:
    """Write and stage `all_series` as one part."""
    series_rows, segment_rows, finding_rows, files = [], [], [], []
    stage = Stage(layout)
    for series in all_series:
        volume = make_volume(series, **volume_choices)
        written = write_instance(
            stage,
            series,
            volume,
            make_measures(volume),
            source_bytes=1000,
            source_md5=hashlib.md5(series.seg_series_uid.encode()).hexdigest(),
            options=options,
            revision=revision(f"{series.crdc_series_uuid} {volume_choices}", f"s1 {options}"),
        )
        folder = layout.series_folder(series.collection_id, series.patient_id, series.seg_series_uid)
        series_rows.append(
            series_row(
                series,
                segments=written.segments,
                findings=written.findings,
                files=written.files,
                settings_hash="s1",
                folder=folder,
            )
        )
        segment_rows += written.segments
        finding_rows += written.findings
        files += file_rows(
            written.files,
            seg_series_uid=series.seg_series_uid,
            seg_sop_uid=volume.header.sop_instance_uid,
        )
    stage.rows(
        part,
        {"series": series_rows, "segments": segment_rows, "findings": finding_rows, "files": files},
    )


def stage_series(layout: Layout, part: str, rows: list[dict[str, Any]]) -> None:
    """Stage rows of the series table alone."""
    stage_rows(layout, part, {"series": rows})


def selection(all_series: list[SelectedSeries]) -> pa.Table:
    return SELECTION.from_rows([series.row() for series in all_series])


def commit(
    layout: Layout,
    all_series: list[SelectedSeries],
    *,
    checks: pa.Table | None = None,
    grace: timedelta = timedelta(0),
    **changes: Any,
) -> dict[str, Any]:
    """Verify, merge and publish what is staged; with the findings of a check, if given."""
    choices: dict[str, Any] = {
        "text": COHORT,
        "selection": selection(all_series),
        "name": "abdomen",
        "idc_version": 24,
    }
    place = FolderPlace(layout)
    base = verify(place, str(layout.root))
    candidate = transaction.merge(layout, base, transaction.Cohort(**choices | changes))
    if checks is not None:
        transaction.record_checks(layout, candidate, checks)
    transaction.publish(place, candidate, grace)
    return candidate.manifest


def pages(layout: Layout, table: str) -> list[Path]:
    """The committed pages of a table, in order."""
    return find_all(layout.root, json.loads(layout.manifest.read_bytes()), [table])[table]


def read_rows(layout: Layout, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of a committed table, row by row."""
    names = list(columns)
    found = pa.concat_tables([pq.ParquetFile(path).read(columns=names) for path in pages(layout, table)])
    return list(zip(*(found[name].to_pylist() for name in names), strict=True))


def tree(layout: Layout) -> dict[str, str]:
    """SHA-256 of every file of the dataset, by relative path; not of what is kept for readers of the past."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(layout.root.rglob("*"))
        if path.is_file()
        and not (name := path.relative_to(layout.root).as_posix()).startswith(("runs/", REPLACED_PAGES))
    }
