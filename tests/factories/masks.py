"""Mask files of every kind, with their descriptions and source images."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from segtools.decode.volume import LPS_TO_RAS
from segtools.nifti.writer import write_volume
from tests.factories.source_headers import GRID, SHAPE, images, save


def label_map() -> np.ndarray:
    """(k, j, i) uint8: labels 1 and 2, each at its own place, nothing symmetric."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[0:2, 2:9, 3:8] = 1
    labels[1:3, 10:15, 11:18] = 2
    labels[2, 0, 0] = 2
    return labels


def source_folder(folder: Path) -> Path:
    """Three CT slices."""
    return save(images(), folder)


def write_nifti(path: Path, labels: np.ndarray, affine_lps: np.ndarray = GRID.affine_lps) -> Path:
    """A mask as NIfTI."""
    write_volume(path, labels, LPS_TO_RAS @ affine_lps)
    return path


def flipped(
    labels: np.ndarray, axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The same mask with its array axes permuted and flipped, and the affine (LPS) that makes up for it.

    Parameters
    ----------
    labels : (k, j, i) ndarray
        On `GRID`.
    axes : (3,) tuple of int
        Permutation of (i, j, k): the new axis n is the old axis ``axes[n]``.
    signs : (3,) tuple of int
        -1 flips the new axis.
    """
    view = labels.T.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        turn[old, new] = sign
        turn[old, 3] = view.shape[new] - 1 if sign < 0 else 0
    return np.ascontiguousarray(view.T), GRID.affine_lps @ turn


def write_nrrd(
    path: Path,
    layers: list[np.ndarray],
    fields: dict[str, str] | None = None,
    *,
    encoding: str = "gzip",
    space: str = "left-posterior-superior",
    affine_lps: np.ndarray = GRID.affine_lps,
    header: dict[str, str] | None = None,
) -> Path:
    """A mask as NRRD, of several layers with a list axis first, as 3D Slicer writes ``.seg.nrrd``."""
    sign = {"left-posterior-superior": (1, 1, 1), "right-anterior-superior": (-1, -1, 1)}[space]
    affine = affine_lps[:3] * np.array(sign)[:, None]
    layered = len(layers) > 1
    stacked = np.stack(layers, axis=-1) if layered else layers[0]
    names = {"uint8": "unsigned char", "int16": "short", "float32": "float", "uint16": "ushort"}
    vectors = [f"({','.join(repr(float(v)) for v in affine[:, n])})" for n in range(4)]
    lines = {
        "type": names[str(stacked.dtype)],
        "dimension": str(stacked.ndim),
        "space": space,
        "sizes": " ".join(map(str, stacked.shape[::-1])),
        "space directions": " ".join(["none"] * layered + vectors[:3]),
        "kinds": " ".join(["list"] * layered + ["domain"] * 3),
        "endian": "little",
        "encoding": encoding,
        "space origin": vectors[3],
    } | (header or {})
    text = "NRRD0004\n# Complete NRRD file format specification at:\n"
    text += "".join(f"{name}: {value}\n" for name, value in lines.items())
    text += "".join(f"{key}:={value}\n" for key, value in (fields or {}).items())
    raw = stacked.tobytes()
    path.write_bytes(text.encode() + b"\n" + (gzip.compress(raw) if encoding == "gzip" else raw))
    return path


def code(value: str, meaning: str, scheme: str = "SCT") -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def dcmqi_segment(label: int, name: str = "Liver", **more: Any) -> dict[str, Any]:
    """A segment of dcmqi's JSON."""
    return {
        "labelID": label,
        "SegmentLabel": name,
        "SegmentDescription": f"{name} {label}",
        "SegmentedPropertyCategoryCodeSequence": code("123037004", "Anatomical Structure"),
        "SegmentedPropertyTypeCodeSequence": code("10200004", name),
        "SegmentAlgorithmType": "SEMIAUTOMATIC",
        "SegmentAlgorithmName": "SlicerEditor",
        "recommendedDisplayRGBValue": [220, 129, 101],
    } | more


def write_dcmqi(path: Path, files: list[list[dict[str, Any]]], **top: Any) -> Path:
    """A description as dcmqi's users have it."""
    content = {
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/seg-schema.json#",
        "ContentCreatorName": "Doe^John",
        "ClinicalTrialSeriesID": "Session1",
        "ClinicalTrialTimePointID": "1",
        "ClinicalTrialCoordinatingCenterName": "BWH",
        "SeriesDescription": "Segmentation",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "segmentAttributes": files,
    } | top
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}, indent=2))
    return path
