"""Open PixelData: native or encapsulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.pixels.frames import (
    Frames,
    PixelDescription,
    check_description,
)
from segtools.decode.pixels.native import open_native
from segtools.finding import Finding

if TYPE_CHECKING:
    from segtools.decode.dicom.file import Element


NATIVE = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
)


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
    if description.transfer_syntax_uid in NATIVE:
        return open_native(buffer, element, description, strict_length)
    from segtools.decode.pixels import encoded_frames  # only files that are compressed pay for it

    return encoded_frames.open_encapsulated(
        buffer,
        element,
        description,
        strict_length=strict_length,
        extended_offsets=extended_offsets,
    )
