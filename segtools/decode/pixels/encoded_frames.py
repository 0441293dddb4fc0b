"""Compressed frames, decoded one at a time by the codec that the registry names.

Every decoder gets one frame and is told how many bytes it may become. A frame that cannot become
that many (PS3.5 Annex G: at most 64 to 1; RFC 1951: at most 1032 to 1; JPEG: its own header) is
refused before memory is taken for it; one that becomes more is no frame of this image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.pixels.codecs import Codec, codec_of
from segtools.decode.pixels.encapsulation import Fragments, read_fragments
from segtools.decode.pixels.frames import Frames, unpacked_binary
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.dicom.file import Element
    from segtools.decode.pixels.frames import PixelDescription, Stored


def open_encapsulated(
    buffer: memoryview,
    element: Element,
    description: PixelDescription,
    *,
    strict_length: bool = True,
    extended_offsets: memoryview | None = None,
) -> tuple[Frames, list[Finding]]:
    """Frames of encapsulated PixelData; parameters and errors as in `pixels.open_frames`."""
    codec = codec_of(description.transfer_syntax_uid)
    fragments, findings = read_fragments(
        buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=extended_offsets,
        starts_frame=codec.starts_frame,
    )
    if codec.may_lose:
        message = f"The transfer syntax {codec.uid} allows loss; nothing tells whether these frames lost any."
        findings.append(Finding("lossy-compression", message, observed=codec.uid, tag="(0002,0010)"))
    if description.segmentation_type == "BINARY" and description.bits_allocated > 1:
        findings.append(unpacked_binary(description))
    return EncodedFrames(buffer, fragments, description, codec), findings


class EncodedFrames(Frames):
    """Frames that are decoded one at a time, when asked for."""

    def __init__(
        self, buffer: memoryview, fragments: Fragments, description: PixelDescription, codec: Codec
    ) -> None:
        super().__init__(fragments.frame_count, (description.rows, description.columns))
        self._buffer, self._fragments = buffer, fragments
        self._description, self._codec = description, codec

    def frame(self, n: int) -> Stored:
        """(rows, columns) uint8 or uint16: stored values; 0 or 1 where the frame has bits."""
        self._check(n)
        try:
            values = self._codec.decode(self._fragments.frame(self._buffer, n), self._description)
        except CorruptSegError as error:
            raise error.with_attrs(frame=n + 1, tag="(7FE0,0010)") from None
        return values.reshape(self.shape)
