"""Masks to DICOM SEG, synthetic image series, and a phantom archive made of both."""

from segtools.encode.images import Subject, image_series, uid_from
from segtools.encode.seg import Producer, encode

__all__ = ["Producer", "Subject", "encode", "image_series", "uid_from"]
