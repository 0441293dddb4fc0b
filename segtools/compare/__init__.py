"""Agreement of segmentations of the same images: pairs of segments, overlap and surface distances."""

from __future__ import annotations

from segtools.compare.measures import Agreement, agreement
from segtools.compare.pairs import pairs
from segtools.compare.run import compare

__all__ = ["Agreement", "agreement", "compare", "pairs"]
