"""A DICOM file (PS3.10): preamble, meta group, data set; written as a stream."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from segtools.encode.dicom.elements import ITEM, SEQUENCE_END, UNDEFINED, Encoding
from segtools.encode.dicom.uids import uid_from
from segtools.encode.frames.codecs import DEFLATED, IMPLICIT, title
from segtools.errors import UsageError
from segtools.files import replacing
from segtools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from segtools.finding import Finding

PIXEL_DATA = 0x7FE00010
_LONGEST = 0xFFFFFFFE
_IMPLEMENTATION = str(uid_from("idc-cohort-pipeline", "implementation"))
_DEFLATE_LEVEL = 6


@dataclass(frozen=True)
class Pixels:
    """PixelData.

    Attributes
    ----------
    parts : iterable of bytes
        Frames: native bytes that follow one another, or each an encoded frame. Read once.
    length : int
        Bytes of native pixels.
    is_encapsulated : bool
    vr : str
    """

    parts: Iterable[bytes]
    length: int
    is_encapsulated: bool
    vr: str


@dataclass
class SegObject:
    """A segmentation, ready to be written once.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
    header : bytes
        Data set before PixelData.
    pixels : Pixels
    frame_count : int
    findings : tuple of Finding
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    header: bytes
    pixels: Pixels
    frame_count: int
    findings: tuple[Finding, ...] = ()

    def write(self, path: Path) -> int:
        """Write the file, all or nothing; its size in bytes.

        Raises
        ------
        WriteError, EnvironmentProblem
            As `segtools.files.replacing`.
        """
        with replacing(path) as file:
            self.write_to(file)
            return file.tell()

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        buffer = io.BytesIO()
        self.write_to(buffer)
        return buffer.getvalue()

    def write_to(self, file: IO[bytes]) -> None:
        """Write the file to a stream."""
        file.write(bytes(128) + b"DICM" + self._meta())
        if self.transfer_syntax_uid != DEFLATED:
            file.write(self.header)
            file.writelines(self._pixel_data())
            return
        packer = zlib.compressobj(_DEFLATE_LEVEL, wbits=-15)
        start = file.tell()
        file.write(packer.compress(self.header))
        for part in self._pixel_data():
            file.write(packer.compress(part))
        file.write(packer.flush())
        if (file.tell() - start) % 2:
            file.write(b"\0")  # PS3.5 A.5

    def _meta(self) -> bytes:
        encoding = Encoding(explicit=True)
        elements = b"".join(
            (
                encoding.head(0x00020001, "OB", 2) + b"\0\1",
                encoding.element("MediaStorageSOPClassUID", self.sop_class_uid),
                encoding.element("MediaStorageSOPInstanceUID", self.sop_instance_uid),
                _text(encoding, 0x00020010, "UI", self.transfer_syntax_uid, b"\0"),
                _text(encoding, 0x00020012, "UI", _IMPLEMENTATION, b"\0"),
                _text(encoding, 0x00020013, "SH", f"IDCSEG_{__version__}"[:16], b" "),
            )
        )
        return encoding.head(0x00020000, "UL", 4) + struct.pack("<I", len(elements)) + elements

    def _pixel_data(self) -> Iterator[bytes]:
        pixels, encoding = self.pixels, Encoding(explicit=self.transfer_syntax_uid != IMPLICIT)
        if not pixels.is_encapsulated:
            length = pixels.length + pixels.length % 2
            yield encoding.head(PIXEL_DATA, pixels.vr, length)
            yield from pixels.parts
            yield bytes(length - pixels.length)
            return
        frames = [part + b"\0" * (len(part) % 2) for part in pixels.parts]
        yield encoding.head(PIXEL_DATA, "OB", UNDEFINED)
        offsets, at = [], 0
        for frame in frames:
            offsets.append(at)
            at += 8 + len(frame)
        table = struct.pack(f"<{len(offsets)}I", *offsets) if at <= _LONGEST else b""
        yield ITEM + struct.pack("<I", len(table)) + table
        for frame in frames:
            yield ITEM + struct.pack("<I", len(frame))
            yield frame
        yield SEQUENCE_END


def _text(encoding: Encoding, tag: int, vr: str, text: str, pad: bytes) -> bytes:
    content = text.encode() + pad * (len(text) % 2)
    return encoding.head(tag, vr, len(content)) + content


def check_length(length: int, transfer_syntax_uid: str) -> None:
    """Refuse native pixels that no length can state (PS3.5 7.1).

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    if length > _LONGEST:
        raise UsageError(
            "invalid-mask",
            f"{title(transfer_syntax_uid)} cannot hold {length:,} bytes of pixels, 4 GiB is its end; "
            "LABELMAP or a compressed form can.",
        )
