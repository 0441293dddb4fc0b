"""Masks to DICOM SEG, and synthetic image series to refer to.

::

    mask files → inputs (arrays, names) + metadata (what each label means) → segments on a grid
    images     → header (attributes, planes), each value valid, repaired or refused
               → frames (packed, encoded) + write (functional groups, file) → quality (read back)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtools.encode.api import encode, encode_object, subject_source
    from segtools.encode.dicom.uids import uid_from
    from segtools.encode.images import Subject, image_series
    from segtools.encode.write.options import Producer, Storage

_FROM = {
    "encode": "api",
    "encode_object": "api",
    "subject_source": "api",
    "Subject": "images",
    "image_series": "images",
    "uid_from": "dicom.uids",
    "Producer": "write.options",
    "Storage": "write.options",
}

__all__ = [
    "Producer",
    "Storage",
    "Subject",
    "encode",
    "encode_object",
    "image_series",
    "subject_source",
    "uid_from",
]


def __getattr__(name: str) -> Any:
    """Import on first use: transcoding a file needs no pydicom."""
    if name in _FROM:
        return getattr(import_module(f"segtools.encode.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
