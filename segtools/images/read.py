"""An image series as one volume: slices in order of position, values rescaled, one affine.

The grid is that of `segtools.decode.geometry.source_images`, so a mask put onto the same series has the
same affine to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from segtools.decode.geometry.source_images import SourceImages, SourceReferences
from segtools.decode.geometry.source_planes import scan_images
from segtools.decode.volume import Grid
from segtools.errors import CorruptSegError, UnsupportedSegError
from segtools.images.rescale import (
    Rescale,
    fits_int16,
    rescaled,
    rescales,
    suv_body_weight_factor,
)
from segtools.images.stored import StoredImage, open_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.geometry.source_grid import SourceGrid
    from segtools.finding import Finding

Quantity = Literal["stored-unit", "suvbw"]

_TEXT_TAGS = {
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "ManufacturersModelName": 0x00081090,
    "SeriesDescription": 0x0008103E,
    "BodyPartExamined": 0x00180015,
    "ContrastBolusAgent": 0x00180010,
    "ConvolutionKernel": 0x00181210,
    "RescaleType": 0x00281054,
}


@dataclass(frozen=True)
class ImageOptions:
    """How images become a volume.

    Attributes
    ----------
    quantity : {"stored-unit", "suvbw"}
        ``suvbw`` turns PET in Bq/mL into standardised uptake values by body weight, g/mL.
    """

    quantity: Quantity = "stored-unit"


@dataclass(frozen=True)
class ImageVolume:
    """An image series on its grid.

    Attributes
    ----------
    array : (k, j, i) int16 or float32 ndarray
        Rescaled values: HU for CT, Bq/mL or SUV for PET.
    grid : Grid
    series_uid, frame_of_reference_uid : str or None
    sop_uids : tuple of str
        The image of each slice.
    unit : str
        UCUM: ``[hnsf'U]`` (Hounsfield), ``Bq/mL``, ``g/mL``; ``1`` where none is known.
    rescales : tuple of Rescale
        Of each slice.
    attributes : dict of str to str
        DICOM keyword to text, of the first image, as far as present.
    findings : tuple of Finding
        About images of the series that were left out.
    """

    array: npt.NDArray[np.int16 | np.float32]
    grid: Grid
    series_uid: str | None
    frame_of_reference_uid: str | None
    sop_uids: tuple[str, ...]
    unit: str
    rescales: tuple[Rescale, ...]
    attributes: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def read_images(
    source: Path | str | Iterable[Path | str], options: ImageOptions = ImageOptions()
) -> ImageVolume:
    """Read a CT, MR or PT series, single-frame or enhanced multi-frame.

    Nothing is resampled: a series that is no regular volume is refused. Images that do not belong to
    its stack (a localizer, a stray coronal one) are left out, with a finding.

    Parameters
    ----------
    source : path or iterable of paths
        A folder, or the files of one series.
    options : ImageOptions

    Raises
    ------
    MissingError
        ``not-found``.
    NotSegError
        ``not-dicom``, ``empty-file``.
    CorruptSegError
        ``missing-attribute``, ``invalid-attribute``, ``truncated``, ``codec-failed``,
        ``frame-count-mismatch``.
    UnsupportedSegError
        ``multiple-orientations``, ``irregular-spacing``, ``sheared-positions``, ``temporal-frames``,
        ``image-incomplete``, ``image-unsupported``, ``suv-unavailable``, ``unsupported-transfer-syntax``.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(each) for each in source]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(path for path in paths[0].iterdir() if path.is_file() and path.name[0] != ".")
    grid = _grid(paths)
    wanted = set(grid.sop_uids)
    images = {image.sop_uid: image for image in map(open_image, paths) if image.sop_uid in wanted}
    slices = [_Slice.of(images, grid, k) for k in range(grid.shape[0])]
    first = slices[0].image.structure
    factor = suv_body_weight_factor(first) if options.quantity == "suvbw" else None
    return ImageVolume(
        array=_filled(slices, grid.shape, factor),
        grid=Grid(grid.shape, grid.affine_lps),
        series_uid=grid.series_uid,
        frame_of_reference_uid=grid.frame_of_reference_uid,
        sop_uids=grid.sop_uids,
        unit=_unit(first, factor),
        rescales=tuple(each.rescale for each in slices),
        attributes={name: text for name, tag in _TEXT_TAGS.items() if (text := first.text(tag))},
        findings=grid.findings,
    )


def _grid(paths: list[Path]) -> SourceGrid:
    """Grid of the one image series among some files; other files do not count."""
    headers, ignored = scan_images(paths)
    uids = sorted({header.series_uid for header in headers})
    if len(uids) != 1:
        raise CorruptSegError(
            "invalid-attribute",
            f"{len(paths)} files hold images of {len(uids)} series; a volume needs one.",
        )
    images = SourceImages({uids[0]: headers}, ignored)
    grid = images.grid_for(SourceReferences(series=(uids[0],)))
    if missing := grid.sop_uids.count(""):
        raise UnsupportedSegError(
            "image-incomplete",
            f"{missing} of {len(grid.sop_uids)} slices of the series are missing.",
            value=missing,
        )
    return grid


@dataclass(frozen=True)
class _Slice:
    """One slice of the volume: a frame of an image, and its rescale."""

    image: StoredImage
    frame: int
    rescale: Rescale

    @classmethod
    def of(cls, images: dict[str, StoredImage], grid: SourceGrid, k: int) -> _Slice:
        image = images[grid.sop_uids[k]]
        frame = grid.frame_numbers[k] - 1 if grid.frame_numbers else 0
        if not 0 <= frame < image.frame_count or image.shape != grid.shape[1:]:
            raise CorruptSegError(
                "frame-count-mismatch",
                f"The image {image.sop_uid[:64]!r} has {image.frame_count} frames of {image.shape}; "
                f"slice {k} of the series needs frame {frame + 1} of {grid.shape[1:]}.",
            )
        return cls(image, frame, rescales(image.structure, image.frame_count)[frame])


def _filled(
    slices: list[_Slice], shape: tuple[int, int, int], factor: float | None
) -> npt.NDArray[np.int16 | np.float32]:
    """Decode every slice once: as int16 while all of them fit, as float32 from the first that does not."""
    array: npt.NDArray[np.int16 | np.float32] = np.empty(shape, np.int16 if factor is None else np.float32)
    for k, each in enumerate(slices):
        stored = each.image.frame(each.frame)
        if array.dtype == np.int16 and not fits_int16(int(stored.min()), int(stored.max()), each.rescale):
            array = _as_float(array, k)
        array[k] = rescaled(stored, each.rescale, array.dtype)
        if factor is not None:
            array[k] *= np.float32(factor)
    return array


def _as_float(array: npt.NDArray[np.int16 | np.float32], done: int) -> npt.NDArray[np.float32]:
    wide = np.empty(array.shape, np.float32)
    wide[:done] = array[:done]  # exact: float32 holds every int16
    return wide


def _unit(structure: DicomFile, factor: float | None) -> str:
    if factor is not None:
        return "g/mL"
    if structure.text(0x00541001) == "BQML":
        return "Bq/mL"
    rescale_type = structure.text(0x00281054)
    if rescale_type == "HU" or (structure.text(0x00080060) == "CT" and rescale_type is None):
        return "[hnsf'U]"
    return "1"
