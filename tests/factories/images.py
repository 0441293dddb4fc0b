"""Image series made for tests: every pixel representation, rescale and arrangement one needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from segtools.decode.volume import Grid
from segtools.encode.dicom.uids import uid_from
from segtools.encode.images import Subject, image_series

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (5, 12, 14)
OBLIQUE = np.array(
    [[0.78, -0.0521, 0.1743, -30], [0.0624, 0.7982, -0.2, 12], [-0.0434, 0.0417, 2.4857, 7], [0, 0, 0, 1]]
)


def axial(spacing: tuple[float, float, float] = (0.7, 0.8, 2.5)) -> np.ndarray:
    """Affine in LPS of an axial series."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-40.5, -35.25, 100)
    return affine


def rotated(angle: float = 0.4, spacing: tuple[float, float, float] = (0.7, 0.8, 2.5)) -> np.ndarray:
    """Affine in LPS of a series turned about two axes: slices still perpendicular to (i, j)."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = (3, -20, 44)
    return affine


def series(
    folder: Path,
    pixels: np.ndarray,
    *,
    affine: np.ndarray | None = None,
    modality: str = "CT",
    name: str = "",
    order: list[int] | None = None,
    changes: dict[str, Any] | None = None,
    by_slice: Any = None,
) -> list[Path]:
    """Write a single-frame series; `changes` are set on every image, `by_slice(image, k)` last."""
    grid = Grid(pixels.shape, axial() if affine is None else affine)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    images = image_series(
        grid, Subject("patient"), modality=modality, pixels=pixels.view(np.int16), name=name
    )
    for place, k in enumerate(order or range(len(images))):
        image = images[k]
        for keyword, value in (changes or {}).items():
            setattr(image, keyword, value)
        if by_slice is not None:
            by_slice(image, k)
        paths.append(folder / f"{place:03d}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced(
    folder: Path, pixels: np.ndarray, slopes: list[float], *, frames: list[int] | None = None
) -> Path:
    """Write an enhanced CT of one file; frames in the order `frames`, each with a rescale of its own."""
    grid = Grid(pixels.shape, axial())
    first = image_series(grid, Subject("patient"), pixels=pixels)[0]
    image = Dataset()
    image.update(first)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        del image[keyword]
    del image["RescaleIntercept"], image["SliceThickness"]
    image.file_meta = first.file_meta
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid_from("enhanced")
    order = frames or list(range(len(pixels)))
    image.NumberOfFrames = len(order)
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.7], 2.5
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for k in order:
        position, rescale, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [float(v) for v in grid.affine_lps[:3] @ (0, 0, k, 1)]
        rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = -3, slopes[k], "US"
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([rescale])
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = Sequence(groups)
    image.PixelData = np.ascontiguousarray(pixels[order].astype("<i2")).tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "enhanced.dcm"
    image.save_as(path, enforce_file_format=True)
    return path
