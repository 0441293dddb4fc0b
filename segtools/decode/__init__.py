"""DICOM SEG to label maps: `read`, `read_parts`, `read_header`.

::

    bytes → structure (elements) → frames (functional groups as columns) → geometry (grid)
                                 → pixels (frames of any encoding)       → layers (label maps)

Importing this package imports NumPy and nothing heavier; pydicom is needed for few files only.
"""

from __future__ import annotations

from segtools.decode.read import (
    DECODE_VERSION,
    DecodeOptions,
    SegFile,
    read,
    read_header,
    read_parts,
)
from segtools.decode.volume import (
    LPS_TO_RAS,
    Grid,
    SegHeader,
    Segment,
    SegVolume,
)
from segtools.terminology.concepts import Concept

__all__ = [
    "DECODE_VERSION",
    "LPS_TO_RAS",
    "Concept",
    "DecodeOptions",
    "Grid",
    "SegFile",
    "SegHeader",
    "SegVolume",
    "Segment",
    "read",
    "read_header",
    "read_parts",
]
