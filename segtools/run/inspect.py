"""Reading a fetched file as DICOM, to its end, where no checksum says that it is the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.dicom.file import Element, Structure, open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.decode.dicom.mmap import map_file
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from pathlib import Path

_ITEM = b"\xfe\xff\x00\xe0"
_SERIES, _SOP_INSTANCE, _NUMBER_OF_FRAMES = 0x0020000E, 0x00080018, 0x00280008


def inspect_dicom(path: Path) -> tuple[str, str]:
    """SeriesInstanceUID and SOPInstanceUID of a file whose elements reach to its end.

    Raises
    ------
    NotSegError, CorruptSegError
        It is no DICOM, ends within an element, or has neither pixels nor an end where one should be.
    """
    structure = open_structure(map_file(path))
    series, sop = structure.uid(_SERIES), structure.uid(_SOP_INSTANCE)
    if not series or not sop:
        missing = "SOPInstanceUID (0008,0018)" if series else "SeriesInstanceUID (0020,000E)"
        raise CorruptSegError("missing-attribute", f"{missing} is absent or empty.")
    pixels = structure.elements.get(PIXEL_DATA)
    if pixels is None and (structure.integer(_NUMBER_OF_FRAMES) or 0) > 0:
        raise CorruptSegError("truncated", "The file ends before PixelData (7FE0,0010) of its frames.")
    if pixels is not None and _end(structure, pixels) > len(structure.raw):
        raise CorruptSegError("truncated", "PixelData (7FE0,0010) reaches beyond the end of the file.")
    return series, sop


def _end(structure: Structure, pixels: Element) -> int:
    """Where PixelData ends by its own word: its length, or that of its last item (PS3.5 A.4)."""
    if pixels.length >= 0:
        return pixels.offset + pixels.length
    position, size = pixels.offset, len(structure.raw)
    while position + 8 <= size:
        tag = structure.raw[position : position + 4]
        length = int.from_bytes(structure.raw[position + 4 : position + 8], "little")
        position += 8
        if tag != _ITEM:  # FE FF DD E0: the sequence ends here
            return position
        position += length
    return size + 1
