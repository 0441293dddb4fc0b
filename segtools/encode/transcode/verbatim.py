"""Elements of a file as the bytes they are, so that a new file keeps what nobody changes."""

from __future__ import annotations

import io
import re
import struct
import warnings
from typing import TYPE_CHECKING

from segtools.decode.dicom.file import DicomFile, open_structure
from segtools.decode.dicom.mmap import map_file
from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from segtools.decode.dicom.elements import Element

_PIXELS = 0x7FE00000
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_VR = re.compile(rb"[A-Z]{2}")


def open_explicit(path: Path) -> DicomFile:
    """DicomFile of a file in explicit VR little endian; others are rewritten so in memory by pydicom.

    Raises
    ------
    SegError
        As `segtools.decode.read`.
    UsageError
        ``transcode-unlawful``: pydicom cannot rewrite it.
    """
    structure = open_structure(map_file(path))
    if structure.explicit and structure.little_endian:
        return structure
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(path)
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(buffer, implicit_vr=False, little_endian=True)
        except (ValueError, AttributeError, TypeError, NotImplementedError) as error:
            raise UsageError(
                "transcode-unlawful", f"{path.name} cannot be rewritten with explicit VR: {error}."
            ) from error
    return open_structure(buffer.getvalue())


def element_bytes(structure: DicomFile, element: Element) -> bytes:
    """An element with its header, as it is in the file; without the few that break explicit VR.

    The header is where the tag is: ``62 00 02 00 | 53 51 | 00 00 | length`` has 12 bytes, the short
    form 8. An element in another encoding than the file's would spoil a new one and is left out.
    """
    tag = struct.pack("<HH", element.tag >> 16, element.tag & 0xFFFF)
    for head in (12, 8):
        start = element.offset - head
        vr = bytes(structure.raw[start + 4 : start + 6])
        if (
            start >= 0
            and structure.raw[start : start + 4] == tag
            and _VR.fullmatch(vr)
            and (vr in _LONG) == (head == 12)
        ):
            return bytes(structure.raw[start : element.end])
    return b""


def item_bytes(
    structure: DicomFile, item: Mapping[int, Element], changed: Mapping[int, bytes] | None = None
) -> bytes:
    """Content of an item: its elements as they are, but those of `changed` (empty bytes: left out)."""
    parts = {tag: element_bytes(structure, element) for tag, element in item.items()} | dict(changed or {})
    return b"".join(parts[tag] for tag in sorted(parts))


def top_level(structure: DicomFile, without: Collection[int]) -> dict[int, bytes]:
    """Elements of the data set before its pixels, by tag; group lengths are left out."""
    return {
        tag: element_bytes(structure, element)
        for tag, element in structure.elements.items()
        if tag < _PIXELS and tag & 0xFFFF and tag not in without
    }
