"""Dataset tables made by hand: every column that may not be null has a plain default."""

import hashlib
import json

import pyarrow.parquet as pq

from segtools import schema
from segtools.dataset.reader import open_dataset

_AFFINE = [-1.0, 0, 0, 0, 0, -1.0, 0, 0, 0, 0, 2.0, 0, 0, 0, 0, 1]


def series_row(uid="1.2.3", **values):
    return {
        "idc_version": 25,
        "collection_id": "nlst",
        "patient_id": "100001",
        "study_uid": "1.2",
        "seg_series_uid": uid,
        "crdc_series_uuid": f"uuid-{uid}",
        "series_url": "s3://bucket/uuid/",
        "size_bytes": 1000,
        "instance_count": 1,
        "license": "CC BY 4.0",
        "source_doi": "10.5281/zenodo.8347012",
        "status": "ok",
        "fetch_status": "fetched",
        "fetch_attempts": 1,
        "fetch_verified": "md5",
        "segment_count": 1,
        "volume_count": 1,
        "volume_bytes": 100,
        "finding_count": 0,
        "settings_hash": "abc",
    } | values


def segment_row(series=None, number=1, **values):
    series = series or series_row()
    uid = series["seg_series_uid"]
    return {
        **{name: series[name] for name in ("idc_version", "collection_id", "patient_id", "study_uid")},
        "seg_series_uid": uid,
        "segment_id": f"{uid}/{uid}.1/{number}",
        "seg_sop_uid": f"{uid}.1",
        "segment_number": number,
        "label": "Liver",
        "structure": "liver",
        "color_hex": "#DD8265",
        "layer": 0,
        "volume_path": f"volumes/{series['collection_id']}/{series['patient_id']}/{uid}/{uid}.1_dseg.nii.gz",
        "size_i": 64,
        "size_j": 48,
        "size_k": 20,
        "spacing_i_mm": 1.0,
        "spacing_j_mm": 1.0,
        "spacing_k_mm": 2.0,
        "affine_ras_mm": _AFFINE,
        "voxel_count": 1000,
        "volume_ml": 1500.0,
        "status": "ok",
        "finding_count": 0,
        "decoder": "segtools/0.1",
    } | values


def finding_row(rule="empty-segment", **values):
    row = {
        "rule": rule,
        "severity": "info",
        "scope": "segment",
        "seg_series_uid": "1.2.3",
        "message": "Segment 4 has no voxels.",
        "rule_version": 1,
    } | values
    return row | {"finding_id": hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()[:16]}


def write_dataset(folder, series=(), segments=(), findings=(), **manifest):
    """A dataset folder with these rows and no volumes, opened."""
    entries = {}
    given = {schema.SERIES: series, schema.SEGMENTS: segments, schema.FINDINGS: findings}
    for table in schema.DATASET_TABLES:
        rows = list(given.get(table, ()))
        path = folder / "tables" / table.name / "only.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.from_rows(rows), path)
        entry = {
            "path": f"tables/{table.name}/only.parquet",
            "rows": len(rows),
            "bytes": path.stat().st_size,
        }
        entries[table.name] = {"rows": len(rows), "files": [entry]}
    content = {"format_version": schema.FORMAT_VERSION, "tables": entries} | manifest
    (folder / "dataset.json").write_text(json.dumps(content))
    return open_dataset(folder)
