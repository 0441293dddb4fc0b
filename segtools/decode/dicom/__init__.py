"""Bytes to DICOM elements and sequence items."""
