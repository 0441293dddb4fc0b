"""Where the planes of an image file lie: headers only, read as tolerantly as a segmentation's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.dicom.file import DicomFile, open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.decode.dicom.mmap import map_file
from segtools.decode.geometry.frame_table import read_frames
from segtools.errors import CorruptSegError, MissingError, SegError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

_SOP_INSTANCE, _MODALITY, _SERIES, _FRAME_OF_REFERENCE = 0x00080018, 0x00080060, 0x0020000E, 0x00200052
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_KIND_TAGS = (0x00080008, 0x00180081, 0x00189087, 0x00200012, 0x00200100, 0x00181060)
"""ImageType, EchoTime, DiffusionBValue, AcquisitionNumber, TemporalPositionIdentifier, TriggerTime."""


class Plane(NamedTuple):
    """One slice: an image, or a frame of an enhanced one.

    Attributes
    ----------
    image : ImageHeader
    position : (3,) float64 ndarray, mm
    orientation : (6,) float64 ndarray
    spacing : (2,) float64 ndarray, mm
        Between rows, between columns.
    thickness : float or None, mm
        SpacingBetweenSlices, else SliceThickness.
    frame_number : int
        From 1.
    """

    image: ImageHeader
    position: Vector
    orientation: Vector
    spacing: Vector
    thickness: float | None
    frame_number: int


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What is needed of an image to find its place; NaN where it says nothing.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    sop_uid, series_uid : str
    frame_of_reference_uid : str or None
    rows, columns : int
    is_enhanced : bool
    kind : tuple of bytes
        What tells acquisitions apart that share positions: b-value, echo time and the like.
    positions : (F, 3) float64 ndarray, mm
    orientations : (F, 6) float64 ndarray
    spacings : (F, 2) float64 ndarray, mm
    thicknesses : (F,) float64 ndarray, mm
    """

    name: str
    sop_uid: str
    series_uid: str
    frame_of_reference_uid: str | None
    rows: int
    columns: int
    is_enhanced: bool
    kind: tuple[bytes, ...]
    positions: Vector
    orientations: Vector
    spacings: Vector
    thicknesses: Vector

    def planes(self) -> list[Plane]:
        """One per frame."""
        return [
            Plane(
                self,
                self.positions[frame],
                self.orientations[frame],
                self.spacings[frame],
                float(thickness) if (thickness := self.thicknesses[frame]) > 0 else None,
                frame + 1,
            )
            for frame in range(len(self.positions))
        ]

    @property
    def has_place(self) -> bool:
        """Whether every frame has position, orientation and spacing."""
        values = (self.positions, self.orientations, self.spacings)
        return self.rows > 0 and self.columns > 0 and all(bool(np.isfinite(v).all()) for v in values)


def read_image(path: Path) -> ImageHeader:
    """Header of one image file.

    Raises
    ------
    MissingError
        ``not-found``.
    NotSegError
        ``not-dicom``, ``empty-file``.
    CorruptSegError
        ``truncated``, ``malformed-structure``, ``invalid-attribute`` and so on.
    """
    try:
        structure = open_structure(map_file(path), stop_before=PIXEL_DATA)
        return _header(structure, path.name)
    except FileNotFoundError as error:
        raise MissingError("not-found", f"The source image {path.name!r} does not exist.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CorruptSegError(
            "invalid-attribute", f"The source image {path.name!r} cannot be read: {reason}."
        ) from error
    except SegError as error:
        error.message = f"The source image {path.name!r}: {error.message}"
        raise


def _is_image(structure: DicomFile) -> bool:
    is_seg = structure.text(_MODALITY) == "SEG"
    return not is_seg and bool(structure.uid(_SERIES)) and bool(structure.integer(_ROWS))


def _header(structure: DicomFile, name: str) -> ImageHeader:
    table = read_frames(structure)
    spacing = np.where(table.slice_spacing > 0, table.slice_spacing, table.slice_thickness)
    return ImageHeader(
        name=name,
        sop_uid=structure.uid(_SOP_INSTANCE) or "",
        series_uid=structure.uid(_SERIES) or "",
        frame_of_reference_uid=structure.uid(_FRAME_OF_REFERENCE),
        rows=structure.integer(_ROWS) or 0,
        columns=structure.integer(_COLUMNS) or 0,
        is_enhanced=structure.per_frame is not None,
        kind=tuple(structure.value(tag, 64).strip(b" \0") for tag in _KIND_TAGS),
        positions=np.array(table.position),
        orientations=np.array(table.orientation),
        spacings=np.array(table.pixel_spacing),
        thicknesses=spacing,
    )


def scan_images(paths: list[Path]) -> tuple[list[ImageHeader], int]:
    """Headers of the files that are images with a place, and the number of those that are none.

    What is no DICOM (a LICENSE, a DICOMDIR), a segmentation, or an image without position costs
    nothing but its count.
    """
    found: list[ImageHeader] = []
    for path in paths:
        try:
            structure = open_structure(map_file(path), stop_before=PIXEL_DATA)
            if not _is_image(structure):
                continue
            header = _header(structure, path.name)
        except (SegError, OSError):
            continue
        if header.has_place:
            found.append(header)
    return found, len(paths) - len(found)
