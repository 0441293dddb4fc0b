"""What a writer is told: who made the segmentation, and in which form it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from segtools.encode.frames.codecs import EXPLICIT
from segtools.version import __version__

if TYPE_CHECKING:
    from segtools.encode.frames.masks import Kind


@dataclass(frozen=True)
class Producer:
    """What claims to have made the segmentation, and what it says of the series.

    Attributes
    ----------
    manufacturer, model, version : str
        Manufacturer (0008,0070), ManufacturerModelName (0008,1090), SoftwareVersions (0018,1020).
    series_description, content_label : str
        SeriesDescription (0008,103E); ContentLabel (0070,0080), a CS.
    content_description, content_creator : str
        ContentDescription (0070,0081); ContentCreatorName (0070,0084), a person's name.
    body_part : str
        BodyPartExamined (0018,0015); empty takes the source's.
    trial_series_id, trial_time_point_id, trial_center : str
        ClinicalTrialSeriesID (0012,0071), ClinicalTrialTimePointID (0012,0050),
        ClinicalTrialCoordinatingCenterName (0012,0060); left out where empty.
    instance_number : int
    """

    manufacturer: str = "idc-cohort-pipeline"
    model: str = "segtools.encode"
    version: str = __version__
    series_description: str = "Segmentation"
    content_label: str = "SEGMENTATION"
    content_description: str = ""
    content_creator: str = ""
    body_part: str = ""
    trial_series_id: str = ""
    trial_time_point_id: str = ""
    trial_center: str | None = None
    instance_number: int = 1


@dataclass(frozen=True)
class Storage:
    """In which form voxels are stored.

    Attributes
    ----------
    kind : {"BINARY", "FRACTIONAL", "LABELMAP"}
        SegmentationType.
    transfer_syntax : str
        UID; see `segtools.encode.frames.codecs.SYNTAX_OF`.
    maximum : int
        MaximumFractionalValue, 1 to 255: the stored value that means 1.
    fractional_type : {"PROBABILITY", "OCCUPANCY"}
    omit_empty_frames : bool
        Leave out frames without a voxel.
    palette : bool
        LABELMAP as PALETTE COLOR: the segments' colours in a lookup table.
    wide : bool
        LABELMAP of 16 bits, also where 8 would do.
    references : {"frames", "none"}
        Whether each frame names its source image, which is what viewers look for first; without,
        images and mask are related by their frame of reference only, and some 450 bytes a slice
        are saved.
    """

    kind: Kind = "BINARY"
    transfer_syntax: str = EXPLICIT
    maximum: int = 255
    fractional_type: Literal["PROBABILITY", "OCCUPANCY"] = "PROBABILITY"
    omit_empty_frames: bool = True
    palette: bool = False
    wide: bool = False
    references: Literal["frames", "none"] = "frames"
