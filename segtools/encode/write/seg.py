"""The attributes of a segmentation object (PS3.3 A.51), put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from segtools.decode.pixels.codecs import CODECS
from segtools.encode.dicom.dictionary import DICTIONARY
from segtools.encode.dicom.elements import Encoding
from segtools.encode.dicom.text import fit
from segtools.encode.dicom.uids import uid_from
from segtools.encode.frames.codecs import IMPLICIT, names_for
from segtools.encode.frames.masks import Masks, occupied, refuse
from segtools.encode.frames.pixels import (
    Frame,
    fraction_planes,
    label_bits,
    label_planes,
    packed_frames,
)
from segtools.encode.write.file import Pixels, SegObject, check_length
from segtools.encode.write.groups import FrameItems, shared_groups
from segtools.encode.write.palette import palette
from segtools.encode.write.segments import SegmentItems
from segtools.finding import Finding
from segtools.terminology.concepts import Concept
from segtools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from segtools.decode.volume import Grid, Segment
    from segtools.encode.header.geometry import SourcePlane
    from segtools.encode.header.source import SourceSeries
    from segtools.encode.write.options import Producer, Storage

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
PROCESSING = Concept("109102", "DCM", "Processing Equipment")
_BITS = {"BINARY": 1, "FRACTIONAL": 8}


@dataclass(frozen=True)
class WritePlan:
    """What is to be written.

    Attributes
    ----------
    masks : Masks
    segments : sequence of Segment
        Ordered by number.
    source : SourceSeries
    grid : Grid or None
        None: planes without a place in the patient.
    planes : mapping of int to sequence of SourcePlane
        SourceSeries images of each slice of `grid`.
    storage : Storage
    producer : Producer
    series_number : int
    seed : str or None
    parameters : str
        Recorded in ContributingEquipmentSequence.
    series_uid : str or None
        Of an object that joins a series of others.
    """

    masks: Masks
    segments: Sequence[Segment]
    source: SourceSeries
    grid: Grid | None
    planes: Mapping[int, Sequence[SourcePlane]]
    storage: Storage
    producer: Producer
    series_number: int = 100
    seed: str | None = None
    parameters: str = ""
    series_uid: str | None = None


def check_storage(storage: Storage, shape: tuple[int, int, int]) -> None:
    """Refuse a form that there is not.

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    names = names_for(_BITS.get(storage.kind, 8))
    if storage.transfer_syntax not in names:
        raise refuse(
            f"{storage.kind} cannot be written with transfer syntax {storage.transfer_syntax}; "
            f"it can with {', '.join(names.values())}."
        )
    codec = CODECS.get(storage.transfer_syntax)
    if codec and min(shape[1:]) < codec.smallest_side:
        raise refuse(f"{codec.name} needs {codec.smallest_side} rows and columns, not {shape[1:]}.")
    if not 1 <= storage.maximum <= 255:
        raise refuse(f"MaximumFractionalValue is {storage.maximum}; it must be 1 to 255.")


def build(plan: WritePlan) -> SegObject:
    """Put a segmentation object together; its pixels are made while it is written.

    Raises
    ------
    UsageError
        ``invalid-mask``.
    """
    return _Builder(plan).build()


class _Builder:
    """One object in the making."""

    def __init__(self, plan: WritePlan) -> None:
        self.plan = plan
        check_storage(plan.storage, plan.masks.shape)
        self.encoding = Encoding(explicit=plan.storage.transfer_syntax != IMPLICIT)
        self.findings: list[Finding] = []
        if plan.storage.kind == "LABELMAP" and len(plan.masks.layers) > 1:
            raise refuse(
                "Segments share voxels; a LABELMAP can't (PS3.3 C.8.20.2.3). BINARY can, or several objects."
            )
        self.is_label_map = plan.storage.kind == "LABELMAP"
        largest = max(segment.number for segment in plan.segments)
        self.bits = _BITS.get(plan.storage.kind) or (16 if plan.storage.wide or largest > 255 else 8)

    def build(self) -> SegObject:
        """Return the object."""
        frames, zero_occurs = self._frames()
        self._note_gaps({frame.k for frame in frames})
        elements = {
            **self._identity(),
            **self._source(),
            **self._image(len(frames)),
            **self._dimensions(frames),
            **self._segmentation(zero_occurs),
        }
        header = self.encoding.items(elements)
        if self.encoding.needs_utf8:  # the smallest tag there is, and known only when all text is
            header = self.encoding.element("SpecificCharacterSet", "ISO_IR 192") + header
        per_frame = b"".join(self._items().items(frames))
        header += self.encoding.head(0x52009230, "SQ", len(per_frame)) + per_frame
        return SegObject(
            str(elements["SOPClassUID"]),
            str(elements["SOPInstanceUID"]),
            self.plan.storage.transfer_syntax,
            header,
            self._pixels(frames),
            len(frames),
            tuple(dict.fromkeys((*self.plan.source.findings, *self.findings))),
        )

    def _note_gaps(self, slices: set[int]) -> None:
        planes = self.plan.planes
        if self._refers and planes and (missing := len(slices - set(planes))):
            message = f"{missing} of {len(slices)} slices of the mask lie on no source image."
            finding = Finding("source-slices-missing", message, observed=str(missing), expected="0")
            self.findings.append(finding)

    # --- frames ------------------------------------------------------------------------------------

    def _frames(self) -> tuple[list[Frame], bool]:
        """Frames in order, and whether a label map has voxels of no segment."""
        where = occupied(self.plan.masks)
        slices, omit = range(self.plan.masks.shape[0]), self.plan.storage.omit_empty_frames
        omit = omit and any(where.values())  # an object without frames is none
        if self.is_label_map:
            used = {k for rows in where.values() for k in rows}
            kept = [k for k in slices if k in used or not omit]
            layer = self.plan.masks.layers[0]
            return [Frame(None, k) for k in kept], any(not layer[k].all() for k in kept)
        frames = [
            Frame(segment.number, k, where[segment.number].get(k))
            for segment in self.plan.segments
            for k in slices
            if not omit or k in where[segment.number]
        ]
        return frames, False

    def _pixels(self, frames: Sequence[Frame]) -> Pixels:
        masks, kind = self.plan.masks, self.plan.storage.kind
        pixels = masks.shape[1] * masks.shape[2]
        vr = "OW" if self.bits == 16 or not self.encoding.explicit else "OB"
        codec = CODECS.get(self.plan.storage.transfer_syntax)
        planes = label_bits(masks, frames) if kind == "BINARY" else self._planes(frames)
        if codec is not None and codec.encode is not None:
            encode, bits = codec.encode, self.bits
            return Pixels((encode(plane, bits) for plane in planes), 0, True, "OB")
        length = -(-len(frames) * pixels * self.bits // 8)
        check_length(length, self.plan.storage.transfer_syntax)
        native = packed_frames(masks, frames) if kind == "BINARY" else (plane.tobytes() for plane in planes)
        return Pixels(native, length, False, vr)

    def _planes(self, frames: Sequence[Frame]) -> Iterable[Any]:
        if self.is_label_map:
            return label_planes(self.plan.masks, frames, self.bits)
        return fraction_planes(self.plan.masks, frames, self.plan.storage.maximum)

    def _items(self) -> FrameItems:
        planes = self.plan.planes if self._refers else {}
        own, grid = self.plan.grid, self.plan.source.grid
        same = own is None or (grid is not None and _same_pixels(own, grid))
        return FrameItems(self.encoding, own, planes, is_preserved=same)

    @property
    def _refers(self) -> bool:
        """Whether the object refers to its source images."""
        return self.plan.storage.references == "frames" and not self.plan.source.is_made_up

    # --- attributes --------------------------------------------------------------------------------

    def _uid(self, what: str) -> str:
        if self.plan.seed is None:
            return f"2.25.{uuid4().int}"
        return str(uid_from(self.plan.seed, self.plan.source.study_uid, what))

    def _identity(self) -> dict[str, object]:
        producer, now = self.plan.producer, datetime.now(UTC)
        date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
        if self.plan.seed is not None:
            date, time = str(self.plan.source.attributes.values.get("StudyDate") or "19000101"), "120000"
        equipment = {
            "Manufacturer": "idc-cohort-pipeline",
            "ManufacturerModelName": "idcseg encode",
            "SoftwareVersions": __version__,
            "ContributionDateTime": date + time,
            "ContributionDescription": self._own("ContributionDescription", self.plan.parameters) or None,
            "PurposeOfReferenceCodeSequence": [self.encoding.code(PROCESSING)],
        }
        return {
            "SOPClassUID": LABEL_MAP_STORAGE if self.is_label_map else SEGMENTATION_STORAGE,
            "SOPInstanceUID": self._uid("instance"),
            "SeriesInstanceUID": self.plan.series_uid or self._uid("series"),
            "SeriesNumber": self.plan.series_number,
            "InstanceNumber": producer.instance_number,
            "Modality": "SEG",
            **dict.fromkeys(("SeriesDate", "ContentDate", "InstanceCreationDate"), date),
            **dict.fromkeys(("SeriesTime", "ContentTime", "InstanceCreationTime"), time),
            "SeriesDescription": self._own("SeriesDescription", producer.series_description) or None,
            "Manufacturer": self._own("Manufacturer", producer.manufacturer, "unknown"),
            "ManufacturerModelName": self._own("ManufacturerModelName", producer.model, "unknown"),
            "SoftwareVersions": self._own("SoftwareVersions", producer.version, "unknown"),
            "DeviceSerialNumber": "0",
            "ContentLabel": self._own("ContentLabel", producer.content_label, "SEGMENTATION"),
            "ContentDescription": self._own("ContentDescription", producer.content_description),
            "ContentCreatorName": self._own("ContentCreatorName", producer.content_creator),
            "ContributingEquipmentSequence": [self.encoding.items(equipment)],
            **self._trial(producer),
        }

    def _trial(self, producer: Producer) -> dict[str, object]:
        """Clinical Trial Series and Study (PS3.3 C.7.3.2, C.7.2.3), as far as they are stated."""
        elements: dict[str, object] = {
            "ClinicalTrialSeriesID": self._own("ClinicalTrialSeriesID", producer.trial_series_id) or None,
            "ClinicalTrialTimePointID": self._own("ClinicalTrialTimePointID", producer.trial_time_point_id)
            or None,
        }
        if producer.trial_center is not None or elements["ClinicalTrialSeriesID"]:
            center = self._own("ClinicalTrialCoordinatingCenterName", producer.trial_center or "")
            elements["ClinicalTrialCoordinatingCenterName"] = center
        return elements

    def _own(self, keyword: str, text: str, default: str = "") -> str:
        """Text of the producer's, valid for its VR."""
        fitted, change = fit(DICTIONARY[keyword][1], text)
        if change and text:
            message = f"{keyword}: {change}."
            self.findings.append(Finding("text-adjusted", message, observed=text[:64]))
        return fitted or default

    def _source(self) -> dict[str, object]:
        source = self.plan.source
        taken: dict[str, object] = dict(source.attributes.values)
        if self.plan.producer.body_part:
            taken["BodyPartExamined"] = self._own("BodyPartExamined", self.plan.producer.body_part) or None
        if source.attributes.codes:
            taken["DeidentificationMethodCodeSequence"] = [
                self.encoding.code(c) for c in source.attributes.codes
            ]
        taken["StudyInstanceUID"] = source.study_uid
        if self.plan.grid is not None:
            taken["FrameOfReferenceUID"] = source.frame_of_reference_uid
        else:
            taken.pop("PositionReferenceIndicator", None)
        if self._refers:
            instances = {plane.sop_uid: plane.sop_class_uid for plane in source.planes}
            references = [
                self.encoding.items({"ReferencedSOPClassUID": sop_class, "ReferencedSOPInstanceUID": uid})
                for uid, sop_class in instances.items()
            ]
            item = {"ReferencedInstanceSequence": references, "SeriesInstanceUID": source.series_uid}
            taken["ReferencedSeriesSequence"] = [self.encoding.items(item)]
        return taken

    def _image(self, frame_count: int) -> dict[str, object]:
        _, rows, columns = self.plan.masks.shape
        elements: dict[str, object] = {
            "ImageType": ("DERIVED", "PRIMARY"),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "NumberOfFrames": frame_count,
            "Rows": rows,
            "Columns": columns,
            "BitsAllocated": self.bits,
            "BitsStored": self.bits,
            "HighBit": self.bits - 1,
            "PixelRepresentation": 0,
            "LossyImageCompression": "00",
            "BurnedInAnnotation": "NO",
        }
        if self.is_label_map and self.plan.storage.palette:
            elements |= palette(self.plan.segments, self.bits)
        return elements

    def _dimensions(self, frames: Sequence[Frame]) -> dict[str, object]:
        organization = self._uid("dimensions")
        pointers = [] if self.is_label_map else [(0x0062000B, 0x0062000A, "ReferencedSegmentNumber")]
        if self.plan.grid is None:
            pointers.append((0x00209156, 0x00209111, "FrameAcquisitionNumber"))
        else:
            pointers.append((0x00200032, 0x00209113, "ImagePositionPatient"))
        elements: dict[str, object] = {
            "DimensionOrganizationSequence": [
                self.encoding.items({"DimensionOrganizationUID": organization})
            ],
            "DimensionIndexSequence": [
                self.encoding.items(
                    {
                        "DimensionOrganizationUID": organization,
                        "DimensionIndexPointer": pointer,
                        "FunctionalGroupPointer": group,
                        "DimensionDescriptionLabel": label,
                    }
                )
                for pointer, group, label in pointers
            ],
        }
        slices = [frame.k for frame in frames]
        one_stack = self.is_label_map or len(self.plan.segments) == 1
        if (
            self.plan.grid is not None
            and one_stack
            and slices == list(range(slices[0], slices[0] + len(slices)))
        ):
            elements["DimensionOrganizationType"] = "3D"
        return elements

    def _segmentation(self, zero_occurs: bool) -> dict[str, object]:
        storage, plan = self.plan.storage, self.plan
        writer = SegmentItems(self.encoding, colors=not (self.is_label_map and storage.palette))
        items = [writer.background()] if self.is_label_map and zero_occurs else []
        items += [writer.item(segment) for segment in plan.segments]
        self.findings += writer.findings
        elements: dict[str, object] = {
            "SegmentationType": storage.kind,
            "SegmentSequence": items,
            "SharedFunctionalGroupsSequence": [self._shared()],
        }
        if storage.kind == "FRACTIONAL":
            elements["SegmentationFractionalType"] = storage.fractional_type
            elements["MaximumFractionalValue"] = storage.maximum
            elements["SegmentsOverlap"] = "NO" if len(plan.segments) == 1 else "UNDEFINED"
        else:
            elements["SegmentsOverlap"] = "YES" if len(plan.masks.layers) > 1 else "NO"
        if self.is_label_map and zero_occurs:
            elements["PixelPaddingValue"] = 0
        return elements

    def _shared(self) -> bytes:
        grid = self.plan.grid
        if grid is None:
            return b""
        return shared_groups(self.encoding, grid, self.plan.source.thickness_mm or grid.spacing_mm[2])


def _same_pixels(own: Grid, source: Grid) -> bool:
    """Whether both have the same rows and columns of pixels, whatever their slices."""
    if own.shape[1:] != source.shape[1:]:
        return False
    pixel = max(own.spacing_mm[:2])
    axes = np.abs(own.affine_lps[:3, :2] - source.affine_lps[:3, :2]).max() * max(own.shape[1:])
    shift = own.affine_lps[:3, 3] - source.affine_lps[:3, 3]
    normal = source.affine_lps[:3, 2] / source.spacing_mm[2]
    return bool(axes < 0.1 * pixel and np.linalg.norm(shift - (shift @ normal) * normal) < 0.1 * pixel)
