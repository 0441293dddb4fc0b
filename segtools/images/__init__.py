"""The segmented images: a CT, MR or PET series as one volume on the grid that its masks have."""

from __future__ import annotations

from segtools.images.read import ImageOptions, ImageVolume, read_images
from segtools.images.write import image_sidecar, write_images

__all__ = ["ImageOptions", "ImageVolume", "image_sidecar", "read_images", "write_images"]
