"""Stored values of an image's frames: PixelData as integers, before any rescale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.dicom.file import open_structure
from segtools.decode.dicom.mmap import map_file
from segtools.decode.pixels.frames import PixelDescription
from segtools.decode.pixels.open import open_frames
from segtools.errors import CorruptSegError, MissingError, UnsupportedSegError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.pixels.frames import Frames

_PIXEL_DATA, _EXTENDED_OFFSETS = 0x7FE00010, 0x7FE00001
_NATIVE_WIDTHS = (8, 16)


@dataclass(frozen=True)
class StoredImage:
    """One image object, opened: its attributes at hand, its frames decoded when asked for.

    Attributes
    ----------
    structure : DicomFile
        The top-level elements.
    sop_uid : str
    frame_count : int
    shape : (2,) tuple of int
        Rows, columns.
    is_signed : bool
        PixelRepresentation (0028,0103).
    bits_stored : int
        1 to 16; bits above are not part of a value (old scanners keep overlays there).
    bit_shift : int
        HighBit + 1 - BitsStored: bits below the value.
    """

    structure: DicomFile
    sop_uid: str
    frame_count: int
    shape: tuple[int, int]
    is_signed: bool
    bits_stored: int
    bit_shift: int
    frames: Frames

    def frame(self, number: int) -> npt.NDArray[np.int32]:
        """(rows, columns) int32: stored values of a frame.

        Parameters
        ----------
        number : int
            From 0.

        Raises
        ------
        CorruptSegError
            ``codec-failed``, ``inflate-limit``, ``claims-exceed-bytes``.
        """
        return stored_values(self.frames.frame(number), self.bits_stored, self.bit_shift, self.is_signed)


def stored_values(
    raw: npt.NDArray[np.uint8 | np.uint16], bits_stored: int, bit_shift: int, is_signed: bool
) -> npt.NDArray[np.int32]:
    """Values of cells whose value is `bits_stored` bits wide (PS3.5 8.1.1).

    Examples
    --------
    BitsStored 12, HighBit 11, signed: the cell ``0xAF38`` holds ``0xF38``. Shifted up against bit 31
    it is ``0xF3800000``, and the arithmetic shift down by 20 gives ``0xFFFFFF38``: -200. The upper four
    bits, ``0xA``, are an overlay's.

    Parameters
    ----------
    raw : (rows, columns) uint8 or uint16 ndarray
    bits_stored, bit_shift : int
    is_signed : bool
    """
    up = 32 - bits_stored - bit_shift
    cells = raw.astype(np.uint32) << np.uint32(up)
    if is_signed:
        return cells.view(np.int32) >> np.int32(32 - bits_stored)
    return (cells >> np.uint32(32 - bits_stored)).view(np.int32)


def open_image(path: Path) -> StoredImage:
    """Open one image file; nothing is decoded yet.

    Raises
    ------
    MissingError
        ``not-found``.
    NotSegError
        ``not-dicom``, ``empty-file``.
    CorruptSegError
        ``truncated``, ``missing-attribute``, ``invalid-attribute``, ``malformed-structure``.
    UnsupportedSegError
        ``image-unsupported``: colour, packed 12-bit or floating-point pixels;
        ``unsupported-transfer-syntax``.
    """
    try:
        structure = open_structure(map_file(path))
    except FileNotFoundError as error:
        raise MissingError("not-found", f"The image {path.name!r} does not exist.") from error
    element = structure.elements.get(_PIXEL_DATA)
    if element is None:
        raise CorruptSegError(
            "missing-attribute",
            f"The image {path.name!r} has no PixelData (7FE0,0010).",
            tag="(7FE0,0010)",
        )
    rows, columns, allocated, stored = (
        _number(structure, tag, keyword, path.name)
        for tag, keyword in (
            (0x00280010, "Rows"),
            (0x00280011, "Columns"),
            (0x00280100, "BitsAllocated"),
            (0x00280101, "BitsStored"),
        )
    )
    high = structure.integer(0x00280102)
    high = stored - 1 if high is None else high
    _check_monochrome(structure, allocated, path.name)
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise CorruptSegError(
            "invalid-attribute",
            f"The image {path.name!r} has BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}; "
            "BitsStored must fit below HighBit, and HighBit below BitsAllocated.",
            tag="(0028,0101)",
        )
    count = structure.integer(0x00280008) or 1
    extended = structure.elements.get(_EXTENDED_OFFSETS)
    frames, _ = open_frames(
        structure.buffer,
        element,
        PixelDescription(
            rows=rows,
            columns=columns,
            bits_allocated=allocated,
            bits_stored=stored,
            samples_per_pixel=1,
            photometric=structure.text(0x00280004) or "MONOCHROME2",
            transfer_syntax_uid=structure.transfer_syntax_uid,
            segmentation_type="IMAGE",
            frame_count=count,
            big_endian=not structure.little_endian,
            vr=element.vr or "OW",
        ),
        extended_offsets=structure.buffer[extended.offset : extended.end] if extended is not None else None,
    )
    return StoredImage(
        structure,
        structure.uid(0x00080018) or "",
        count,
        (rows, columns),
        structure.integer(0x00280103) == 1,
        stored,
        high + 1 - stored,
        frames,
    )


def _number(structure: DicomFile, tag: int, keyword: str, name: str) -> int:
    value = structure.integer(tag)
    if not value or value < 0:
        raise CorruptSegError(
            "missing-attribute" if value is None else "invalid-attribute",
            f"{keyword} of the image {name!r} is {'absent' if value is None else value}.",
            keyword=keyword,
        )
    return value


def _check_monochrome(structure: DicomFile, allocated: int, name: str) -> None:
    samples = structure.integer(0x00280002) or 1
    photometric = structure.text(0x00280004) or "MONOCHROME2"
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise UnsupportedSegError(
            "image-unsupported",
            f"The image {name!r} is a colour image (PhotometricInterpretation {photometric}, {samples} "
            "samples per pixel); only single-channel images become a volume.",
            tag="(0028,0004)",
        )
    if allocated not in _NATIVE_WIDTHS:
        raise UnsupportedSegError(
            "image-unsupported",
            f"The image {name!r} has BitsAllocated {allocated}; 8 and 16 are read.",
            tag="(0028,0100)",
        )
