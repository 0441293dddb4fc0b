"""Masks to DICOM SEG, and synthetic image series to refer to.

::

    mask files → inputs (arrays, names) + metadata (what each label means) → segments on a grid
    images     → header (attributes, planes), each value valid, repaired or refused
               → frames (packed, encoded) + write (functional groups, file) → quality (read back)
"""

from segtools.encode.api import encode, encode_object, subject_source
from segtools.encode.images import Subject, image_series, uid_from
from segtools.encode.write.options import Producer, Storage

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
