"""Masks in memory to a DICOM SEG (PS3.3 A.51, C.8.20): `encode`, `encode_object`.

`encode` is the inverse of `segtools.decode.read`: what comes out of one goes into the other.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.encode.frames.codecs import EXPLICIT
from segtools.encode.frames.masks import Kind, masks_of, refuse
from segtools.encode.header.headers import DatasetHeader
from segtools.encode.header.match import planes_of
from segtools.encode.header.source import SourceSeries, source_of
from segtools.encode.images import Subject, image_series
from segtools.encode.write.options import Producer, Storage
from segtools.encode.write.seg import WritePlan, build, check_storage
from segtools.encode.write.segments import check_segments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    import numpy.typing as npt
    from pydicom.dataset import Dataset

    from segtools.decode.volume import Grid, Segment
    from segtools.encode.write.file import SegObject

PERPENDICULAR_TOLERANCE = 1e-4
"""Largest cosine between a slice axis and the in-plane axes."""


def encode(
    masks: npt.NDArray[Any] | Mapping[int, npt.NDArray[Any]],
    grid: Grid,
    segments: Sequence[Segment],
    *,
    source: Sequence[Dataset] = (),
    subject: Subject | None = None,
    kind: Kind = "BINARY",
    transfer_syntax: str = EXPLICIT,
    maximum: int = 255,
    fractional_type: Literal["PROBABILITY", "OCCUPANCY"] = "PROBABILITY",
    omit_empty_frames: bool = True,
    producer: Producer | None = None,
    series_number: int = 100,
    seed: str | None = None,
) -> Dataset:
    """Encode masks as one DICOM SEG instance, as a pydicom data set.

    `encode_object` writes the same without pydicom's objects in between, which is faster.

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
        Explicit or Implicit VR Little Endian, Deflated or Deflated Image Frame; RLE, JPEG-LS or
        JPEG 2000 Lossless for FRACTIONAL and LABELMAP.
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
        ``source-attribute-missing``, ``source-inconsistent``, ``source-unsupported``,
        ``gantry-tilt``: the source.

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
    from pydicom import dcmread

    storage = Storage(kind, transfer_syntax, maximum, fractional_type, omit_empty_frames)
    made = encode_object(
        masks,
        grid,
        segments,
        source=_source(source, subject, grid),
        storage=storage,
        producer=producer,
        series_number=series_number,
        seed=seed,
    )
    return dcmread(io.BytesIO(made.to_bytes()))


def encode_object(
    masks: npt.NDArray[Any] | Mapping[int, npt.NDArray[Any]],
    grid: Grid,
    segments: Sequence[Segment],
    *,
    source: SourceSeries,
    storage: Storage | None = None,
    producer: Producer | None = None,
    series_number: int = 100,
    seed: str | None = None,
    parameters: str = "",
) -> SegObject:
    """Encode masks as one DICOM SEG instance, to be written as a stream.

    Parameters
    ----------
    masks, grid, segments, producer, series_number, seed
        As in `encode`.
    source : SourceSeries
        As `read_source` or `subject_source` give it.
    storage : Storage, optional
        Type and transfer syntax.
    parameters : str
        Recorded in the object: what was done to make it.

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    storage = storage or Storage()
    check_storage(storage, grid.shape)
    check_grid(grid)
    ordered = check_segments(segments, storage.kind)
    voxels = masks_of(masks, grid.shape, [segment.number for segment in ordered], storage.kind)
    plan = WritePlan(
        voxels,
        ordered,
        source,
        grid,
        planes_of(grid, source),
        storage,
        producer or Producer(),
        series_number,
        seed,
        parameters,
    )
    return build(plan)


def subject_source(subject: Subject, grid: Grid) -> SourceSeries:
    """Stand-in for images: whom the masks show, where there are no images to refer to."""
    images = image_series(type(grid)((1, *grid.shape[1:]), grid.affine_lps), subject)
    made = source_of([("subject", DatasetHeader(image)) for image in images])
    return replace(made, is_made_up=True, findings=())


def check_grid(grid: Grid) -> None:
    """Refuse a grid whose axes are not perpendicular.

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    lengths = np.linalg.norm(grid.affine_lps[:3, :3], axis=0)
    if not np.isfinite(grid.affine_lps).all() or lengths.min() <= 0:
        raise refuse("The axes of the grid are not perpendicular; one of them has no direction.")
    axes = grid.affine_lps[:3, :3] / lengths
    cosines = axes.T @ axes - np.eye(3)
    if abs(cosines).max() > PERPENDICULAR_TOLERANCE:
        raise refuse("The axes of the grid are not perpendicular; DICOM slices can't be sheared.")


def _source(images: Sequence[Dataset], subject: Subject | None, grid: Grid) -> SourceSeries:
    if not images:
        return subject_source(subject or Subject("anonymous"), grid)
    return source_of([(f"image {n}", DatasetHeader(image)) for n, image in enumerate(images, start=1)])
