"""The segmentation object: its attributes, functional groups and file."""
