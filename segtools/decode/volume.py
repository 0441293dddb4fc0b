"""The result of decoding: label maps on a grid, the segments' meaning, and what was doubtful."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from segtools.finding import Finding

Assumed = Literal["place", "pixel spacing", "slice spacing"]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""The one place where DICOM's LPS+ becomes NIfTI's RAS+ (left-multiply)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """An item of SegmentSequence (0062,0002).

    Attributes
    ----------
    number : int
        SegmentNumber; the voxel value in the label map.
    label, description : str or None
    category, type : Concept or None
        Segmented property category and type.
    type_modifiers, regions, region_modifiers : tuple of Concept
        All items, in order.
    algorithm_type, algorithm_name : str or None
    cielab : (3,) tuple of int or None
        RecommendedDisplayCIELabValue, 16-bit encoded as in PS3.3 C.10.7.1.1.
    rgb : (3,) tuple of int or None
        From the palette of a PALETTE COLOR label map, 0-255.
    tracking_id, tracking_uid : str or None
    """

    number: int
    label: str | None = None
    description: str | None = None
    category: Concept | None = None
    type: Concept | None = None
    type_modifiers: tuple[Concept, ...] = ()
    regions: tuple[Concept, ...] = ()
    region_modifiers: tuple[Concept, ...] = ()
    algorithm_type: str | None = None
    algorithm_name: str | None = None
    cielab: tuple[int, int, int] | None = None
    rgb: tuple[int, int, int] | None = None
    tracking_id: str | None = None
    tracking_uid: str | None = None


@dataclass(frozen=True)
class Grid:
    """A regular grid in patient space.

    Attributes
    ----------
    shape : (3,) tuple of int
        Voxels along (k, j, i) = (slice, row, column).
    affine_lps : (4, 4) float64 ndarray, mm
        Maps (i, j, k, 1) to the voxel centre in LPS+.
    assumed : frozenset of {"place", "pixel spacing", "slice spacing"}
        What no attribute says, so that the affine holds 1 mm or the origin in its stead (findings
        ``spacing-assumed``, ``no-spatial-information``). No measure is made from it.
    """

    shape: tuple[int, int, int]
    affine_lps: npt.NDArray[np.float64]
    assumed: frozenset[Assumed] = frozenset()

    @cached_property
    def affine_ras(self) -> npt.NDArray[np.float64]:
        """(4, 4) float64 ndarray, mm: maps (i, j, k, 1) to the voxel centre in RAS+."""
        return LPS_TO_RAS @ self.affine_lps

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along (i, j, k), mm."""
        i, j, k = (float(v) for v in np.linalg.norm(self.affine_lps[:3, :3], axis=0))
        return i, j, k

    @property
    def has_spacing(self) -> bool:
        """Whether the distances of voxels along all axes are known: else nothing has a volume."""
        return not self.assumed & {"pixel spacing", "slice spacing"}

    @property
    def has_place(self) -> bool:
        """Whether the positions of voxels within the slices are known: else nothing has a centroid."""
        return not self.assumed & {"place", "pixel spacing"}

    @cached_property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel by the affine, ml; means nothing unless `has_spacing`."""
        return float(abs(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0


@dataclass(frozen=True, slots=True)
class SegHeader:
    """What identifies the SEG instance and its sources.

    Attributes
    ----------
    source_series_uids : tuple of str
        ReferencedSeriesSequence, in order.
    source_instance_uids : tuple of str
        Referenced images, in order of first mention, without repeats.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    frame_of_reference_uid: str | None
    segmentation_type: str
    frame_count: int
    file_bytes: int
    max_fractional_value: int | None = None
    fractional_type: str | None = None
    segments_overlap: str | None = None
    content_label: str | None = None
    series_description: str | None = None
    manufacturer: str | None = None
    model_name: str | None = None
    source_series_uids: tuple[str, ...] = ()
    source_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegVolume:
    """A decoded DICOM SEG.

    Attributes
    ----------
    layers : tuple of (k, j, i) uint8 or uint16 ndarray, C-contiguous
        Label maps; a voxel's value is the SegmentNumber, 0 is background. One layer unless
        segments share voxels; then segments are packed greedily in SegmentNumber order, so the
        same file always gives the same layers. Empty for a true FRACTIONAL segmentation.
    layer_of : mapping of int to int
        SegmentNumber to index in `layers`; empty segments are in layer 0.
    fractions : mapping of int to (k, j, i) uint8 or uint16 ndarray
        SegmentNumber to stored values of a true FRACTIONAL segmentation; divide by
        ``header.max_fractional_value`` for 0 to 1. Never thresholded here.
    segments : tuple of Segment
        Sorted by number; background is no segment.
    grid : Grid
    header : SegHeader
    findings : tuple of Finding
        Everything repaired, assumed or doubtful.
    filled : tuple of ((k, j, i) ndarray, (k,) bool ndarray)
        Slices of a layer, or of fractions, outside of which all voxels are 0. A hint for arrays that
        are much larger than what is in them; it holds for that very array only, see `slices_of`.
    """

    layers: tuple[npt.NDArray[np.uint8 | np.uint16], ...]
    layer_of: Mapping[int, int]
    segments: tuple[Segment, ...]
    grid: Grid
    header: SegHeader
    findings: tuple[Finding, ...] = ()
    fractions: Mapping[int, npt.NDArray[np.uint8 | np.uint16]] = field(default_factory=dict)
    filled: tuple[tuple[npt.NDArray[np.uint8 | np.uint16], npt.NDArray[np.bool_]], ...] = field(
        default=(), repr=False, compare=False
    )

    def slices_of(self, array: npt.NDArray[np.uint8 | np.uint16]) -> npt.NDArray[np.intp]:
        """(K,) ascending: slices of a layer, or of fractions, that may hold voxels; all, unless known."""
        for known, flags in self.filled:
            if known is array:
                return np.flatnonzero(flags)
        return np.arange(len(array))

    def segment(self, number: int) -> Segment:
        """The segment with that SegmentNumber; KeyError if there is none."""
        for segment in self.segments:
            if segment.number == number:
                return segment
        raise KeyError(number)

    def mask(self, number: int) -> npt.NDArray[np.bool_]:
        """(k, j, i) bool mask of one segment; of a FRACTIONAL one, where its fraction is not 0."""
        self.segment(number)
        if number in self.fractions:
            covered: npt.NDArray[np.bool_] = self.fractions[number] != 0
            return covered
        mask: npt.NDArray[np.bool_] = self.layers[self.layer_of[number]] == number
        return mask
