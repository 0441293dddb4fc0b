"""Masks to a DICOM SEG (PS3.3 A.51, C.8.20), written by highdicom.

`encode` is the inverse of `segtools.decode.read`: what comes out of one goes into the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from segtools.decode.pixels.codecs import CODECS
from segtools.encode.images import Subject, image_series, uid_from
from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from segtools.decode.volume import Grid, Segment
    from segtools.terminology.concepts import Concept

Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
ENCAPSULATED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
"""Syntaxes of `segtools.decode.pixels.codecs` that highdicom writes, too."""
PERPENDICULAR_TOLERANCE = 1e-4
"""Largest cosine between a slice axis and the in-plane axes."""


@dataclass(frozen=True)
class Producer:
    """What claims to have made the segmentation.

    Attributes
    ----------
    manufacturer, model, version : str
        Manufacturer (0008,0070), ManufacturerModelName (0008,1090), SoftwareVersions (0018,1020).
    series_description, content_label : str
        SeriesDescription (0008,103E); ContentLabel (0070,0080), a CS.
    """

    manufacturer: str = "idc-cohort-pipeline"
    model: str = "segtools.encode"
    version: str = "1"
    series_description: str = "Segmentation"
    content_label: str = "SEGMENTATION"


def encode(
    masks: npt.NDArray[Any] | Mapping[int, npt.NDArray[Any]],
    grid: Grid,
    segments: Sequence[Segment],
    *,
    source: Sequence[Dataset] = (),
    subject: Subject | None = None,
    kind: Kind = "BINARY",
    transfer_syntax: str = ExplicitVRLittleEndian,
    maximum: int = 255,
    fractional_type: Literal["PROBABILITY", "OCCUPANCY"] = "PROBABILITY",
    omit_empty_frames: bool = True,
    producer: Producer | None = None,
    series_number: int = 100,
    seed: str | None = None,
) -> Dataset:
    """Encode masks as one DICOM SEG instance.

    Parameters
    ----------
    masks : (k, j, i) integer ndarray, or mapping of int to (k, j, i) ndarray
        A label map (voxel = SegmentNumber, 0 = background), or SegmentNumber to mask: bool, or
        float 0 to 1 where `kind` is FRACTIONAL. Masks of a mapping may share voxels, unless
        `kind` is LABELMAP.
    grid : Grid
        Where the voxels lie; slices perpendicular to (i, j).
    segments : sequence of Segment
        The meaning of each number: category, type and label are needed. BINARY and FRACTIONAL
        ask for the numbers 1 to n (PS3.3 C.8.20.2.4); a segment may be empty.
    source : sequence of Dataset
        The segmented images (headers are enough). Patient, study and frame of reference come from
        them, and the segmentation refers to them. They need not be on `grid`.
    subject : Subject, optional
        Stands in for `source`: the segmentation then refers to no image.
    kind : {"BINARY", "FRACTIONAL", "LABELMAP"}
        SegmentationType.
    transfer_syntax : str
        Explicit or Implicit VR Little Endian or Deflated; RLE, JPEG-LS or JPEG 2000 Lossless for
        FRACTIONAL and LABELMAP.
    maximum : int
        MaximumFractionalValue, 1 to 255: the stored value that means 1.
    fractional_type : {"PROBABILITY", "OCCUPANCY"}
    omit_empty_frames : bool
        Leave out frames without a voxel, as BINARY files commonly do.
    producer : Producer, optional
    series_number : int
    seed : str, optional
        Makes UIDs and dates a function of `seed` and the study, so that the same call gives the
        same bytes. Without it they are new each time.

    Returns
    -------
    Dataset
        With file meta; write it with ``dataset.save_as(path, enforce_file_format=True)``.

    Raises
    ------
    UsageError
        ``invalid-mask``: masks, grid and segments do not fit each other or `kind`.

    Examples
    --------
    >>> from segtools.decode.volume import Concept, Grid, Segment
    >>> liver = Segment(
    ...     1,
    ...     "Liver",
    ...     category=Concept("123037004", "SCT", "Anatomical Structure"),
    ...     type=Concept("10200004", "SCT", "Liver"),
    ... )
    >>> labels = np.zeros((4, 8, 8), np.uint8)
    >>> labels[1:3, 2:6, 2:6] = 1
    >>> seg = encode(labels, Grid(labels.shape, np.eye(4)), [liver], subject=Subject("p1"))
    >>> seg.NumberOfFrames
    2
    """
    _check_syntax(kind, transfer_syntax, grid)
    _check_grid(grid)
    segments = _check_segments(segments, kind)
    pixels = _pixels(masks, grid, [segment.number for segment in segments], kind)
    if not pixels.any():
        omit_empty_frames = False  # an object without frames is none
    producer = producer or Producer()
    made_up = not source
    images = list(source) or image_series(_single_slice(grid), subject or Subject("anonymous"))
    with warnings.catch_warnings():
        # De-identified names have one component; that is for the images' owner to judge.
        warnings.filterwarnings("ignore", message=".*person name")
        made = hd.seg.Segmentation(
            source_images=images,
            pixel_array=hd.Volume(
                pixels,
                grid.affine_lps[:, [2, 1, 0, 3]],
                coordinate_system="PATIENT",
                frame_of_reference_uid=images[0].FrameOfReferenceUID,
                channels={"SegmentNumber": [s.number for s in segments]} if pixels.ndim == 4 else None,
            ),
            segmentation_type=kind,
            segment_descriptions=[_description(segment) for segment in segments],
            series_instance_uid=_uid(seed, images, "series"),
            series_number=series_number,
            sop_instance_uid=_uid(seed, images, "instance"),
            instance_number=1,
            manufacturer=producer.manufacturer,
            manufacturer_model_name=producer.model,
            software_versions=producer.version,
            device_serial_number="0",
            series_description=producer.series_description,
            content_label=producer.content_label,
            fractional_type=fractional_type,
            max_fractional_value=maximum,
            transfer_syntax_uid=ExplicitVRLittleEndian if transfer_syntax in NATIVE else transfer_syntax,
            omit_empty_frames=omit_empty_frames,
        )
    made.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    _settle(made, images, seed)
    if made_up:
        _drop_references(made)
    return made


# --- what must hold -------------------------------------------------------------------------------


def _refuse(message: str) -> UsageError:
    return UsageError("invalid-mask", message)


def _check_syntax(kind: Kind, transfer_syntax: str, grid: Grid) -> None:
    allowed = NATIVE if kind == "BINARY" else NATIVE + ENCAPSULATED
    if transfer_syntax not in allowed:
        names = ", ".join(syntax.name for syntax in allowed)
        raise _refuse(
            f"{kind} cannot be written with transfer syntax {transfer_syntax}; it can with {names}."
        )
    codec = CODECS.get(transfer_syntax)
    if codec and min(grid.shape[1:]) < codec.smallest_side:
        raise _refuse(f"{codec.name} needs {codec.smallest_side} rows and columns, not {grid.shape[1:]}.")


def _check_grid(grid: Grid) -> None:
    axes = grid.affine_lps[:3, :3] / np.linalg.norm(grid.affine_lps[:3, :3], axis=0)
    cosines = axes.T @ axes - np.eye(3)
    if not np.isfinite(cosines).all() or abs(cosines).max() > PERPENDICULAR_TOLERANCE:
        raise _refuse("The axes of the grid are not perpendicular; DICOM slices can't be sheared.")


def _check_segments(segments: Sequence[Segment], kind: Kind) -> list[Segment]:
    ordered = sorted(segments, key=lambda segment: segment.number)
    numbers = [segment.number for segment in ordered]
    if not numbers:
        raise _refuse("SegmentSequence (0062,0002) needs at least one segment.")
    if kind == "LABELMAP":
        if len(set(numbers)) < len(numbers) or numbers[0] < 1 or numbers[-1] > 65_535:
            raise _refuse(f"SegmentNumber (0062,0004) must be unique and 1 to 65535, not {numbers}.")
    elif numbers != list(range(1, len(numbers) + 1)):
        raise _refuse(
            f"SegmentNumber (0062,0004) must be 1 to n in {kind} (PS3.3 C.8.20.2.4), not {numbers}."
        )
    for segment in ordered:
        if segment.category is None or segment.type is None or not segment.label:
            raise _refuse(f"Segment {segment.number} lacks its label, category or type.")
    return ordered


def _pixels(
    masks: npt.NDArray[Any] | Mapping[int, npt.NDArray[Any]], grid: Grid, numbers: list[int], kind: Kind
) -> npt.NDArray[Any]:
    """Return a label map where that holds everything, else (k, j, i, n) stacked masks or fractions."""
    arrays = masks if isinstance(masks, Mapping) else {0: masks}
    for array in arrays.values():
        if array.shape != grid.shape:
            raise _refuse(f"A mask has shape {array.shape}, the grid has {grid.shape} (k, j, i).")
    if not isinstance(masks, Mapping):
        if masks.dtype.kind not in "ui" or (masks.size and masks.min() < 0):
            raise _refuse(f"A label map holds integers from 0, not {masks.dtype} from {masks.min()}.")
        _check_known(set(np.unique(masks).tolist()) - {0}, numbers)
        return masks.astype(np.uint8 if numbers[-1] < 256 else np.uint16, copy=False)
    _check_known(set(masks), numbers)
    if kind == "FRACTIONAL":
        return _fractions(masks, grid, numbers)
    labels = np.zeros(grid.shape, np.uint8 if numbers[-1] < 256 else np.uint16)
    for number, mask in masks.items():
        _check_binary(number, mask)
        if (labels[mask != 0] != 0).any():
            if kind == "LABELMAP":
                raise _refuse(
                    f"Segment {number} shares voxels with another; a LABELMAP can't (PS3.3 C.8.20.2.3)."
                )
            return _stack(masks, grid, numbers)
        labels[mask != 0] = number
    return labels


def _check_known(used: set[int], numbers: list[int]) -> None:
    if unknown := sorted(used - set(numbers)):
        raise _refuse(f"Masks have the numbers {unknown}, which no segment describes.")


def _check_binary(number: int, mask: npt.NDArray[Any]) -> None:
    if mask.dtype.kind not in "bui" or mask.max(initial=0) > 1 or mask.min(initial=0) < 0:
        raise _refuse(f"The mask of segment {number} must hold 0 and 1 only.")


def _stack(masks: Mapping[int, npt.NDArray[Any]], grid: Grid, numbers: list[int]) -> npt.NDArray[np.uint8]:
    stack = np.zeros((*grid.shape, len(numbers)), np.uint8)
    for number, mask in masks.items():
        _check_binary(number, mask)
        stack[..., number - 1] = mask
    return stack


def _fractions(
    masks: Mapping[int, npt.NDArray[Any]], grid: Grid, numbers: list[int]
) -> npt.NDArray[np.float32]:
    stack = np.zeros((*grid.shape, len(numbers)), np.float32)
    for number, mask in masks.items():
        if mask.size and not (mask.min() >= 0 and mask.max() <= 1):
            raise _refuse(f"The fractions of segment {number} must be 0 to 1.")
        stack[..., number - 1] = mask
    return stack


# --- what is written ------------------------------------------------------------------------------


def _single_slice(grid: Grid) -> Grid:
    return type(grid)((1, *grid.shape[1:]), grid.affine_lps)


def _uid(seed: str | None, images: Sequence[Dataset], what: str) -> str:
    if seed is None:
        return f"2.25.{uuid4().int}"
    return uid_from(seed, images[0].StudyInstanceUID, what)


def _settle(made: Dataset, images: Sequence[Dataset], seed: str | None) -> None:
    """Replace what highdicom takes from the clock and from chance."""
    organization = _uid(seed, images, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    now = datetime.now(UTC)
    date = now.strftime("%Y%m%d") if seed is None else images[0].StudyDate
    time = now.strftime("%H%M%S") if seed is None else "120000"
    made.SeriesDate = made.ContentDate = made.InstanceCreationDate = date
    made.SeriesTime = made.ContentTime = made.InstanceCreationTime = time
    for equipment in made.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = date + time


def _drop_references(made: Dataset) -> None:
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        if keyword in made:
            delattr(made, keyword)
    for group in (*made.SharedFunctionalGroupsSequence, *made.PerFrameFunctionalGroupsSequence):
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence


def _description(segment: Segment) -> hd.seg.SegmentDescription:
    assert segment.category is not None  # noqa: S101 - see _check_segments
    assert segment.type is not None  # noqa: S101
    algorithm = segment.algorithm_type or "MANUAL"
    identification = None
    if algorithm != "MANUAL":
        identification = hd.AlgorithmIdentificationSequence(
            name=segment.algorithm_name or "unnamed",
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version="1",
        )
    description = hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label or "",
        segmented_property_category=_coded(segment.category),
        segmented_property_type=_coded(segment.type),
        algorithm_type=algorithm,
        algorithm_identification=identification,
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        anatomic_regions=[_coded(region) for region in segment.regions] or None,
    )
    if segment.description:
        description.SegmentDescription = segment.description
    if segment.cielab:
        description.RecommendedDisplayCIELabValue = list(segment.cielab)
    if segment.type_modifiers:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = _codes(segment.type_modifiers)
    if segment.region_modifiers and segment.regions:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = _codes(
            segment.region_modifiers
        )
    return description


def _coded(concept: Concept) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(concept.value, concept.scheme, concept.meaning)


def _codes(concepts: Sequence[Concept]) -> DicomSequence:
    return DicomSequence([_coded(concept) for concept in concepts])
