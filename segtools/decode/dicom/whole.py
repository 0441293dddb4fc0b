"""Whether a file reaches as far as it says: its elements, and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.dicom.file import DicomFile, open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    import mmap

    from segtools.decode.dicom.file import Element

_ITEM = b"\xfe\xff\x00\xe0"
_NUMBER_OF_FRAMES = 0x00280008


def open_whole(raw: bytes | mmap.mmap) -> DicomFile:
    """DicomFile of a file whose elements and pixels reach to their ends.

    Raises
    ------
    NotSegError, CorruptSegError
        As `segtools.decode.dicom.file.open_structure`; ``truncated``: its pixels end early, or are not
        there although it has frames.
    """
    structure = open_structure(raw)
    pixels = structure.elements.get(PIXEL_DATA)
    if pixels is None:
        if (structure.integer(_NUMBER_OF_FRAMES) or 0) > 0:
            raise CorruptSegError("truncated", "The file ends before PixelData (7FE0,0010) of its frames.")
    elif _end(structure, pixels) > len(structure.raw):
        raise CorruptSegError("truncated", "PixelData (7FE0,0010) reaches beyond the end of the file.")
    return structure


def _end(structure: DicomFile, pixels: Element) -> int:
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
