"""Colours of a PALETTE COLOR label map (PS3.3 C.7.9): the entry at a segment's number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from segtools.decode.dicom.file import DicomFile

_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_DATA = (0x00281201, 0x00281202, 0x00281203)


def palette_rgb(structure: DicomFile, number: int) -> tuple[int, int, int] | None:
    """(red, green, blue), 0-255, of palette entry `number`; None where there is no such entry."""
    channels = [_entry(structure, *tags, number) for tags in zip(_DESCRIPTORS, _DATA, strict=True)]
    red, green, blue = channels
    if red is None or green is None or blue is None:
        return None
    return red, green, blue


def _entry(structure: DicomFile, descriptor_tag: int, data_tag: int, number: int) -> int | None:
    descriptor = structure.elements.get(descriptor_tag)
    data = structure.elements.get(data_tag)
    if descriptor is None or data is None or descriptor.length != 6 or data.length < 0:
        return None
    order: Literal["little", "big"] = "little" if structure.little_endian else "big"
    described = structure.buffer[descriptor.offset : descriptor.offset + 6]
    count, first, bits = (int.from_bytes(described[i : i + 2], order) for i in (0, 2, 4))
    count = count or 65536
    index = min(max(number - first, 0), count - 1)  # values outside take the first or last entry
    width = 1 if data.length in (count, count + count % 2) else 2
    start = data.offset + index * width
    value = structure.buffer[start : min(start + width, data.offset + data.length)]
    if len(value) < width:
        return None
    stored = int.from_bytes(value, order)
    return stored >> 8 if width == 2 and bits == 16 else stored & 0xFF
