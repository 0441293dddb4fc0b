"""DICOM elements as bytes, and which text a value may hold."""
