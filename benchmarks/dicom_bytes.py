"""DICOM elements as bytes, fast enough for 60,000 per-frame items: no object per element.

Explicit VR little endian (PS3.5 7.1.2). A `Style` says how sequences and items end, which is what
tells the producers apart: dcmqi (DCMTK) leaves lengths undefined, highdicom (pydicom) states them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

_LONG = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OD", b"OF", b"OL", b"OV"})
_UNDEFINED = 0xFFFFFFFF
_ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
_SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element with an explicit length; `value` is padded to an even one."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    return element_head(tag, vr, len(value)) + value


def element_head(tag: int, vr: bytes, length: int) -> bytes:
    """Tag, VR and length of an element."""
    if vr in _LONG:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


@dataclass(frozen=True)
class Style:
    """How a producer writes sequences."""

    undefined_lengths: bool

    def item(self, content: bytes) -> bytes:
        """An item around `content`."""
        if self.undefined_lengths:
            return struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED) + content + _ITEM_END
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content

    def sequence(self, tag: int, *items: bytes) -> bytes:
        """A sequence of items given by their content."""
        content = b"".join(map(self.item, items))
        if self.undefined_lengths:
            return element_head(tag, b"SQ", _UNDEFINED) + content + _SEQUENCE_END
        return element_head(tag, b"SQ", len(content)) + content

    def code(self, tag: int, value: str, scheme: str, meaning: str) -> bytes:
        """A code sequence of one item (PS3.3 8.8)."""
        return self.sequence(
            tag,
            element(0x00080100, b"SH", value.encode())
            + element(0x00080102, b"SH", scheme.encode())
            + element(0x00080104, b"LO", meaning.encode()),
        )

    def header(self, dataset: Dataset, transfer_syntax: UID) -> bytes:
        """Preamble, file meta and `dataset` (which ends before the per-frame groups)."""
        if self.undefined_lengths:
            _leave_lengths_undefined(dataset)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = transfer_syntax
        dataset.file_meta = meta
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()


def _leave_lengths_undefined(dataset: Dataset) -> None:
    for found in dataset:
        if found.VR == "SQ":
            found.is_undefined_length = True
            for item in found.value:
                item.is_undefined_length_sequence_item = True
                _leave_lengths_undefined(item)
