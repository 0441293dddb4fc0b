"""The segmented images as one source: their identity, their planes, and the grid these lie on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.volume import Grid
from segtools.encode.dicom.text import is_uid
from segtools.encode.dicom.uids import uid_from
from segtools.encode.header.attributes import Attributes, required_uid, take_over
from segtools.encode.header.geometry import SourcePlane, Stack, stack
from segtools.errors import UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from segtools.encode.header.headers import SourceHeader

_FLAT = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",  # CR
        "1.2.840.10008.5.1.4.1.1.1.1",  # DX for presentation
        "1.2.840.10008.5.1.4.1.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.2",  # MG
        "1.2.840.10008.5.1.4.1.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.1.3",  # IO
        "1.2.840.10008.5.1.4.1.1.1.3.1",
        "1.2.840.10008.5.1.4.1.1.3.1",  # US multi-frame
        "1.2.840.10008.5.1.4.1.1.6.1",  # US
        "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
        "1.2.840.10008.5.1.4.1.1.7.1",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
        "1.2.840.10008.5.1.4.1.1.12.1",  # XA
        "1.2.840.10008.5.1.4.1.1.12.2",  # RF
        "1.2.840.10008.5.1.4.1.1.77.1.1",  # VL endoscopic
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL photographic
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",  # ophthalmic photography, 8 bit
    }
)
"""Storage classes of projections and photographs: their pixels have no place in the patient."""
_VOLUME = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
        "1.2.840.10008.5.1.4.1.1.4",  # MR
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
        "1.2.840.10008.5.1.4.1.1.4.3",
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
        "1.2.840.10008.5.1.4.1.1.6.2",  # Enhanced US volume
        "1.2.840.10008.5.1.4.1.1.13.1.1",  # X-ray 3D angiographic
        "1.2.840.10008.5.1.4.1.1.13.1.2",
        "1.2.840.10008.5.1.4.1.1.13.1.3",  # breast tomosynthesis
        "1.2.840.10008.5.1.4.1.1.20",  # NM
        "1.2.840.10008.5.1.4.1.1.128",  # PET
        "1.2.840.10008.5.1.4.1.1.128.1",
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
        "1.2.840.10008.5.1.4.1.1.481.2",  # RT dose
    }
)
_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


@dataclass(frozen=True)
class SourceSeries:
    """One image series, as a segmentation refers to it.

    Attributes
    ----------
    study_uid, series_uid, frame_of_reference_uid : str
    rows, columns : int
    attributes : Attributes
    planes : tuple of SourcePlane
        Every image or frame once, in order.
    stack : Stack or None
        Where they lie; None for images without a place in the patient.
    findings : tuple of Finding
    is_made_up : bool
        Of a subject's description only: there are no images to refer to.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    rows: int
    columns: int
    attributes: Attributes
    planes: tuple[SourcePlane, ...]
    stack: Stack | None
    findings: tuple[Finding, ...] = ()
    is_made_up: bool = False

    @property
    def grid(self) -> Grid | None:
        """Grid of the images; of the first time point, if there are several."""
        if self.stack is None:
            return None
        return Grid((len(self.stack.slices), self.rows, self.columns), self.stack.affine_lps)

    @property
    def time_points(self) -> int:
        """Images at each position."""
        return 1 if self.stack is None else self.stack.time_points

    @property
    def thickness_mm(self) -> float | None:
        """SliceThickness of the images."""
        return None if self.stack is None else self.stack.thickness_mm


@dataclass
class _Reading:
    """What was met while the images were read."""

    planes: list[SourcePlane] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def source_of(images: Sequence[tuple[str, SourceHeader]]) -> SourceSeries:
    """One source of the images of one series.

    Parameters
    ----------
    images : sequence of (str, Header)
        Name (for messages) and header of each image.

    Raises
    ------
    UsageError
        ``source-attribute-missing``, ``source-inconsistent``, ``source-unsupported``,
        ``gantry-tilt``.
    """
    first_name, first = images[0]
    reading = _Reading()
    study, _ = required_uid(first, "StudyInstanceUID", first_name)
    series, _ = required_uid(first, "SeriesInstanceUID", first_name)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        _same(images, keyword, [header.text(keyword) for _, header in images])
    rows, columns = _size(images)
    for name, header in images:
        _planes(name, header, reading)
    classes = {plane.sop_class_uid for plane in reading.planes}
    has_place = any(plane.position is not None or plane.orientation is not None for plane in reading.planes)
    flat = not has_place and not classes & _VOLUME
    _check_classes(classes, reading)
    stacked = None if flat else stack(tuple(reading.planes), rows, columns)
    attributes = take_over(first)
    return SourceSeries(
        study,
        series,
        "" if flat else _frame_of_reference(first, study, series, reading),
        rows,
        columns,
        attributes,
        tuple(reading.planes) if stacked is None else stacked.planes,
        stacked,
        (*attributes.findings, *reading.findings, *(stacked.findings if stacked else ())),
    )


def _same(images: Sequence[tuple[str, SourceHeader]], keyword: str, values: Sequence[object]) -> None:
    if len(set(values)) < 2:
        return
    first = values[0]
    other, name = next((v, n) for v, (n, _) in zip(values, images, strict=True) if v != first)
    raise UsageError(
        "source-inconsistent",
        f"The source images are not of one kind: {keyword} is {str(first)[:64]!r} in {images[0][0]!r}, "
        f"{str(other)[:64]!r} in {name!r}.",
        keyword=keyword,
        values=sorted({str(value) for value in values})[:8],
    )


def _size(images: Sequence[tuple[str, SourceHeader]]) -> tuple[int, int]:
    sizes = []
    for name, header in images:
        for keyword in ("Rows", "Columns"):
            value = header.integer(keyword)
            if value is None or value < 1:
                raise UsageError(
                    "source-attribute-missing",
                    f"{keyword} of the source image {name!r} is {'absent' if value is None else value}.",
                    keyword=keyword,
                )
        sizes.append((header.integer("Rows") or 0, header.integer("Columns") or 0))
    _same(images, "Rows and Columns", sizes)
    return sizes[0]


def _planes(name: str, header: SourceHeader, reading: _Reading) -> None:
    """Add the planes of an image: one, or one per frame."""
    uid, found = required_uid(header, "SOPInstanceUID", name, meta="MediaStorageSOPInstanceUID")
    sop_class, of_class = required_uid(header, "SOPClassUID", name, meta="MediaStorageSOPClassUID")
    reading.findings += [finding for finding in (found, of_class) if finding]
    groups = header.items("PerFrameFunctionalGroupsSequence")
    frames = header.integer("NumberOfFrames") or 1
    shared = (header.items("SharedFunctionalGroupsSequence") or [header])[0]
    if groups:
        for number, group in enumerate(groups, start=1):
            reading.planes.append(_plane(sop_class, uid, number, (group, shared, header)))
    elif frames > 1:
        reading.planes += [SourcePlane(sop_class, uid, number) for number in range(1, frames + 1)]
    else:
        reading.planes.append(_plane(sop_class, uid, None, (header,)))


def _plane(sop_class: str, uid: str, number: int | None, levels: Sequence[SourceHeader]) -> SourcePlane:
    return SourcePlane(
        sop_class,
        uid,
        number,
        _vector(levels, "PlanePositionSequence", "ImagePositionPatient", 3),
        _vector(levels, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
        _vector(levels, "PixelMeasuresSequence", "PixelSpacing", 2),
        _number(levels, "PixelMeasuresSequence", "SliceThickness"),
        _number(levels, "PixelMeasuresSequence", "SpacingBetweenSlices"),
        _moment(levels),
    )


def _moment(levels: Sequence[SourceHeader]) -> tuple[float, ...]:
    """What orders images of one position in time: the dynamic frame's number, times, numbers."""
    header = levels[-1]
    keys = []
    for keyword in ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "InstanceNumber"):
        values = header.numbers(keyword)
        keys.append(values[0] if values and np.isfinite(values[0]) else 0.0)
    return tuple(keys) if len(levels) == 1 else ()


def _found(levels: Sequence[SourceHeader], sequence: str, keyword: str) -> tuple[float, ...]:
    for level in levels:
        for item in level.items(sequence) if len(levels) > 1 else ():
            if values := item.numbers(keyword):
                return values
    return levels[-1].numbers(keyword)


def _vector(
    levels: Sequence[SourceHeader], sequence: str, keyword: str, size: int
) -> npt.NDArray[np.float64] | None:
    values = _found(levels, sequence, keyword)
    return np.array(values) if len(values) == size and np.all(np.isfinite(values)) else None


def _number(levels: Sequence[SourceHeader], sequence: str, keyword: str) -> float | None:
    values = _found(levels, sequence, keyword)
    return values[0] if len(values) == 1 and np.isfinite(values[0]) and values[0] > 0 else None


def _check_classes(classes: Iterable[str], reading: _Reading) -> None:
    for uid in sorted(set(classes) - _FLAT - _VOLUME):
        if uid.startswith(_SLIDE):
            raise UsageError(
                "source-unsupported", "The source is a slide; tiled segmentations are not written.", value=uid
            )
        reading.findings.append(
            Finding(
                "source-class-unknown",
                f"SOPClassUID {uid} of the source is not an image class known here.",
                observed=uid,
            )
        )


def _frame_of_reference(first: SourceHeader, study: str, series: str, reading: _Reading) -> str:
    text = first.text("FrameOfReferenceUID") or ""
    if is_uid(text):
        return text
    made = str(uid_from(study, series, "frame of reference"))
    reading.findings.append(
        Finding(
            "frame-of-reference-made-up",
            f"FrameOfReferenceUID of the source is {f'no UID: {text[:64]!r}' if text else 'absent'}; "
            f"{made} was made from its study and series.",
            observed=text[:64] or None,
            tag="(0020,0052)",
        )
    )
    return made
