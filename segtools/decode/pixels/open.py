"""Open PixelData: native or encapsulated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from segtools.decode.dicom.encoding import NATIVE
from segtools.decode.pixels.frames import Frames, PixelDescription, check_description
from segtools.decode.pixels.native import open_native
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.dicom.file import Element

ITEM = b"\xfe\xff\x00\xe0"


def open_frames(
    buffer: memoryview,
    element: Element,
    description: PixelDescription,
    *,
    strict_length: bool = True,
    extended_offsets: memoryview | None = None,
) -> tuple[Frames, list[Finding]]:
    """Frames of PixelData, and what was doubtful about them.

    Parameters
    ----------
    buffer : memoryview
        The whole file.
    element : Element
        PixelData.
    description : PixelDescription
    strict_length : bool
        False reads the whole frames of a PixelData that ends early (finding ``truncated-frames``).
    extended_offsets : memoryview, optional
        Value of ExtendedOffsetTable (7FE0,0001).

    Raises
    ------
    CorruptSegError
        ``truncated``, ``invalid-attribute``, ``malformed-structure``, ``frame-count-mismatch``.
    UnsupportedSegError
        ``unsupported-transfer-syntax``.
    """
    check_description(description)
    doubts: list[Finding] = []
    if description.transfer_syntax_uid in NATIVE:
        if element.length >= 0:
            return open_native(buffer, element, description, strict_length)
        from segtools.decode.pixels import contradictions

        if bytes(buffer[element.offset : element.offset + 4]) != ITEM:
            return contradictions.open_as_native(buffer, element, description)
        syntax, doubt = contradictions.syntax_of_fragments(buffer, element, description)
        description, doubts = replace(description, transfer_syntax_uid=syntax), [doubt]
    from segtools.decode.pixels import contradictions, encoded_frames
    from segtools.decode.pixels.codecs import codec_of  # only files that are compressed pay for these

    codec_of(description.transfer_syntax_uid)
    if contradictions.is_native(buffer, element, description):
        return contradictions.open_as_native(buffer, element, description)
    frames, findings = encoded_frames.open_encapsulated(
        buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=extended_offsets,
    )
    return frames, [*doubts, *findings]
