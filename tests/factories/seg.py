"""DICOM SEG bytes made by hand, from a recipe whose right answer is known beforehand.

A `SegFactory` starts from the answer (a mask per segment on a known grid) and writes the file that a
writer with the given habits or faults would have made of it. Nothing here knows the decoder.
Data sets are written with pydicom; PixelData and the file meta group byte by byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tests.factories import codecs

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
HTJ2K = "1.2.840.10008.1.2.4.201"
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

UID = "1.2.826.0.1.3680043.8.498.77"
"""Root of all UIDs made here."""

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Edit = Callable[[Dataset], None]


def no_edit(dataset: Dataset) -> None:
    """Leave it as it is."""


def concept(value: str, scheme: str, meaning: str) -> Sequence:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes
    ----------
    pixels : (row, column) ndarray
    k : int
        The slice it lies in.
    segment : int or None
        ReferencedSegmentNumber; None writes no SegmentIdentificationSequence.
    position : (3,) tuple of float or None
        ImagePositionPatient in mm, where it is not the one that `k` gives.
    edit : callable
        Applied to the frame's functional groups at the end.
    """

    pixels: np.ndarray
    k: int
    segment: int | None = None
    position: tuple[float, float, float] | None = None
    edit: Edit = no_edit


@dataclass(frozen=True)
class SegFactory:
    """A SEG file to be.

    Attributes
    ----------
    frames : tuple of Frame
    kind : {"BINARY", "FRACTIONAL", "LABELMAP"}
        SegmentationType.
    origin, orientation, spacing, step
        ImagePositionPatient of slice 0, ImageOrientationPatient, PixelSpacing (row, column) and the
        true distance of slices; mm.
    thickness, between : float or None
        SliceThickness and SpacingBetweenSlices as claimed; None leaves them out; default: `step`.
    places : mapping of str to {"shared", "frame", "absent"}
        Where the groups measures, orientation, position, segment go.
    described : tuple of int, optional
        SegmentNumbers in SegmentSequence, in order; default: those of the frames, sorted.
    syntax : str
        Transfer Syntax UID.
    packing : {"standard", "frame", "segment", "bytes", "bits"}
        Of native 1-bit pixels: contiguous (PS3.5 8.1.1), each frame or each segment padded to a whole
        byte, or one byte per pixel. "bits" packs although BitsAllocated says 8.
    undefined_length : bool
        Sequences and items of undefined length.
    edit : callable
        Applied to the data set at the end: missing attributes, extra ones, lies.
    pixel_bytes : bytes, optional
        Value of PixelData instead of the right one.
    pixel_length : int, optional
        Claimed length of PixelData instead of the right one.
    preamble, meta : bool
        Write the 132-byte preamble; write the file meta group.
    offsets : {"none", "basic", "empty", "wrong", "extended"}
        The offset table of encapsulated PixelData. "none" and "empty" both write an empty item.
    fragments : int
        Fragments per frame of encapsulated PixelData.
    """

    frames: tuple[Frame, ...]
    kind: str = "BINARY"
    origin: tuple[float, float, float] = (-10.0, 20.0, 5.0)
    orientation: tuple[float, ...] = AXIAL
    spacing: tuple[float, float] = (0.75, 0.5)
    step: float = 2.5
    thickness: float | str | None = "step"
    between: float | str | None = "step"
    places: Mapping[str, str] = field(default_factory=dict)
    described: tuple[int, ...] | None = None
    syntax: str = EXPLICIT
    packing: str = "standard"
    maximum: int = 255
    fraction_type: str = "PROBABILITY"
    bits: int | None = None
    padding_value: int | None = None
    undefined_length: bool = False
    edit: Edit = no_edit
    pixel_bytes: bytes | None = None
    pixel_length: int | None = None
    preamble: bool = True
    meta: bool = True
    offsets: str = "basic"
    fragments: int = 1
    lossy: bool = False
    big_endian_vr: str = "OW"
    instance: int = 1

    @classmethod
    def of_masks(cls, masks: Mapping[int, np.ndarray], *, empty: bool = False, **knobs: Any) -> SegFactory:
        """From (k, j, i) arrays by segment number; slices without a voxel are left out unless `empty`."""
        frames = tuple(
            Frame(plane, k, number)
            for number, mask in masks.items()
            for k, plane in enumerate(mask)
            if empty or plane.any()
        )
        return cls(frames, **{"described": tuple(masks), **knobs})

    @classmethod
    def of_labels(cls, labels: np.ndarray, *, empty: bool = True, **knobs: Any) -> SegFactory:
        """A LABELMAP from a (k, j, i) array; all values but 0 are described unless `described` is given."""
        frames = tuple(Frame(plane, k) for k, plane in enumerate(labels) if empty or plane.any())
        described = tuple(int(v) for v in np.unique(labels) if v)
        bits = 16 if labels.dtype == np.uint16 else 8
        return cls(frames, **{"kind": "LABELMAP", "described": described, "bits": bits, **knobs})

    def but(self, **changes: Any) -> SegFactory:
        """The same with other knobs."""
        return replace(self, **changes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.frames[0].pixels.shape
        return rows, columns

    @property
    def bits_allocated(self) -> int:
        """BitsAllocated that is true."""
        if self.bits is not None:
            return self.bits
        return 1 if self.kind == "BINARY" and self.packing not in ("bytes", "bits") else 8

    @property
    def normal(self) -> np.ndarray:
        """Unit normal of the slices."""
        direction = np.cross(self.orientation[:3], self.orientation[3:])
        return direction / np.linalg.norm(direction)

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) affine of the recipe: (i, j, k, 1) to LPS mm (PS3.3 C.7.6.2.1.1)."""
        affine = np.eye(4)
        row, column = np.asarray(self.orientation[:3]), np.asarray(self.orientation[3:])
        affine[:3, 0] = row / np.linalg.norm(row) * self.spacing[1]
        affine[:3, 1] = column / np.linalg.norm(column) * self.spacing[0]
        affine[:3, 2] = self.normal * self.step
        affine[:3, 3] = self.origin
        return affine

    def position(self, k: float) -> tuple[float, float, float]:
        """ImagePositionPatient of slice k, rounded as a writer does for the 16 characters of a DS."""
        x, y, z = (np.asarray(self.origin) + k * self.step * self.normal).tolist()
        return round(x, 8), round(y, 8), round(z, 8)

    def dataset(self) -> Dataset:
        """The data set without file meta group and PixelData."""
        ds = Dataset()
        self._identify(ds)
        self._describe_pixels(ds)
        ds.SegmentSequence = Sequence([self._segment(n) for n in self._described()])
        shared = Dataset()
        for group in ("measures", "orientation", "position", "segment"):
            if self._place(group) == "shared":
                self._add_group(shared, group, self.frames[0])
        ds.SharedFunctionalGroupsSequence = Sequence([shared])
        ds.PerFrameFunctionalGroupsSequence = Sequence([self._frame_groups(f) for f in self.frames])
        self.edit(ds)
        return ds

    def build(self) -> bytes:
        """The file."""
        body = self._encode(self.dataset()) + self._pixel_element()
        if self.syntax == DEFLATED:
            deflate = zlib.compressobj(wbits=-15)
            body = deflate.compress(body) + deflate.flush()
            body += b"\0" * (len(body) % 2)
        head = b"\0" * 128 + b"DICM" if self.preamble else b""
        return head + (self._meta() if self.meta else b"") + body

    def named(self, syntax: str) -> bytes:
        """The file, with another transfer syntax in its meta group than it is encoded in."""
        meta = self._meta()
        lie = element(0x0002, 0x0010, "UI", syntax)
        true = element(0x0002, 0x0010, "UI", self.syntax)
        return self.build().replace(meta, meta.replace(true, lie), 1)

    def header(self) -> bytes:
        """The file up to PixelData, for endings made elsewhere."""
        return b"\0" * 128 + b"DICM" + self._meta() + self._encode(self.dataset())

    # --- the data set ---------------------------------------------------------------------------

    def _identify(self, ds: Dataset) -> None:
        ds.SOPClassUID = LABEL_MAP if self.kind == "LABELMAP" else SEGMENTATION
        ds.SOPInstanceUID = f"{UID}.1.{self.instance}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{UID}.2", f"{UID}.3"
        ds.FrameOfReferenceUID = f"{UID}.4"
        ds.ImageType = ["DERIVED", "PRIMARY"]
        ds.Modality, ds.PatientID, ds.PatientName = "SEG", "P-1", "Phantom^One"
        ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.StudyID = ""
        ds.AccessionNumber = ds.ReferringPhysicianName = ""
        ds.SeriesNumber = ds.InstanceNumber = 1
        ds.Manufacturer, ds.ManufacturerModelName = "Factory", "seg.py"
        ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
        ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "SEGMENTATION", "", ""
        ds.ContentDate, ds.ContentTime = "20260101", "000000"
        ds.SeriesDate, ds.SeriesTime = "20260101", "000000"
        series = Dataset()
        series.SeriesInstanceUID = f"{UID}.5"
        series.ReferencedInstanceSequence = Sequence(
            [self._reference(k) for k in sorted({f.k for f in self.frames})]
        )
        ds.ReferencedSeriesSequence = Sequence([series])

    def _describe_pixels(self, ds: Dataset) -> None:
        bits = self.bits_allocated
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.NumberOfFrames = len(self.frames)
        ds.Rows, ds.Columns = self.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
        ds.LossyImageCompression = "01" if self.lossy else "00"
        ds.SegmentationType = self.kind
        if self.kind == "FRACTIONAL":
            ds.SegmentationFractionalType, ds.MaximumFractionalValue = self.fraction_type, self.maximum
        if self.padding_value is not None:
            ds.add_new(0x00280120, "US", self.padding_value)
        organization = Dataset()
        organization.DimensionOrganizationUID = f"{UID}.6"
        ds.DimensionOrganizationSequence = Sequence([organization])
        ds.DimensionIndexSequence = Sequence(
            [self._dimension(0x0062000B, 0x0062000A), self._dimension(0x00200032, 0x00209113)]
            if self.kind != "LABELMAP"
            else [self._dimension(0x00200032, 0x00209113)]
        )

    @staticmethod
    def _dimension(pointer: int, group: int) -> Dataset:
        item = Dataset()
        item.DimensionOrganizationUID = f"{UID}.6"
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(pointer), Tag(group)
        return item

    def _described(self) -> tuple[int, ...]:
        if self.described is not None:
            return self.described
        return tuple(sorted({f.segment for f in self.frames if f.segment is not None}))

    @staticmethod
    def _segment(number: int) -> Dataset:
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, f"Segment {number}"
        item.SegmentAlgorithmType, item.SegmentAlgorithmName = "AUTOMATIC", "factory"
        item.SegmentedPropertyCategoryCodeSequence = concept("123037004", "SCT", "Anatomical Structure")
        item.SegmentedPropertyTypeCodeSequence = concept("10200004", "SCT", "Liver")
        if number == 0:
            item.SegmentedPropertyCategoryCodeSequence = concept(
                "309825002", "SCT", "Spatial and Relational Concept"
            )
            item.SegmentedPropertyTypeCodeSequence = concept("125040", "DCM", "Background")
        return item

    def _place(self, group: str) -> str:
        default = {"measures": "shared", "orientation": "shared", "position": "frame", "segment": "frame"}
        return self.places.get(group, default[group])

    def _frame_groups(self, frame: Frame) -> Dataset:
        groups = Dataset()
        groups.FrameContentSequence = Sequence([self._frame_content(frame)])
        derivation = Dataset()
        derivation.DerivationCodeSequence = concept("113076", "DCM", "Segmentation")
        source = self._reference(frame.k)
        source.PurposeOfReferenceCodeSequence = concept(
            "121322", "DCM", "Source image for image processing operation"
        )
        derivation.SourceImageSequence = Sequence([source])
        groups.DerivationImageSequence = Sequence([derivation])
        for group in ("measures", "orientation", "position", "segment"):
            if self._place(group) == "frame":
                self._add_group(groups, group, frame)
        frame.edit(groups)
        return groups

    def _frame_content(self, frame: Frame) -> Dataset:
        content = Dataset()
        planes = sorted({f.k for f in self.frames})
        index = [planes.index(frame.k) + 1]
        if self.kind != "LABELMAP":
            index.insert(0, frame.segment or 1)
        content.DimensionIndexValues = index
        return content

    def _add_group(self, groups: Dataset, group: str, frame: Frame) -> None:
        item = Dataset()
        if group == "measures":
            item.PixelSpacing = [repr(v) for v in self.spacing]
            for keyword, value in (
                ("SliceThickness", self.thickness),
                ("SpacingBetweenSlices", self.between),
            ):
                if value is not None:
                    setattr(item, keyword, repr(self.step if value == "step" else value))
            groups.PixelMeasuresSequence = Sequence([item])
        elif group == "orientation":
            item.ImageOrientationPatient = [f"{v:.12g}" for v in self.orientation]
            groups.PlaneOrientationSequence = Sequence([item])
        elif group == "position":
            position = self.position(frame.k) if frame.position is None else frame.position
            item.ImagePositionPatient = [f"{v:.12g}" for v in position]
            groups.PlanePositionSequence = Sequence([item])
        elif frame.segment is not None:
            item.ReferencedSegmentNumber = frame.segment
            groups.SegmentIdentificationSequence = Sequence([item])

    @staticmethod
    def _reference(k: int) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_IMAGE, source_uid(k)
        return item

    # --- bytes ----------------------------------------------------------------------------------

    def _encode(self, ds: Dataset) -> bytes:
        if self.undefined_length:
            _undefine_lengths(ds)
        buffer = DicomBytesIO()
        buffer.is_implicit_VR = self.syntax == IMPLICIT
        buffer.is_little_endian = self.syntax != BIG_ENDIAN
        write_dataset(buffer, ds)
        return buffer.getvalue()

    def _meta(self) -> bytes:
        sop_class = LABEL_MAP if self.kind == "LABELMAP" else SEGMENTATION
        body = element(0x0002, 0x0001, "OB", b"\0\1")
        body += element(0x0002, 0x0002, "UI", sop_class) + element(
            0x0002, 0x0003, "UI", f"{UID}.1.{self.instance}"
        )
        body += element(0x0002, 0x0010, "UI", self.syntax) + element(0x0002, 0x0012, "UI", f"{UID}.9")
        return element(0x0002, 0x0000, "UL", struct.pack("<I", len(body))) + body

    def _pixel_element(self) -> bytes:
        if self.syntax not in NATIVE:
            return self._encapsulated()
        value = self.native_pixels() if self.pixel_bytes is None else self.pixel_bytes
        length = len(value) if self.pixel_length is None else self.pixel_length
        if self.syntax == IMPLICIT:
            return struct.pack("<HHI", 0x7FE0, 0x0010, length) + value
        order = ">" if self.syntax == BIG_ENDIAN else "<"
        vr = b"OW" if self.bits_allocated == 16 else b"OB"
        vr = self.big_endian_vr.encode() if self.syntax == BIG_ENDIAN else vr
        return struct.pack(order + "HH2sHI", 0x7FE0, 0x0010, vr, 0, length) + value

    def native_pixels(self) -> bytes:
        """Value of native PixelData, padded to even length."""
        stack = np.stack([f.pixels for f in self.frames])
        if self.bits_allocated == 1 or self.packing == "bits":
            value = self._packed(stack != 0)
        else:
            value = stack.astype(f"<u{self.bits_allocated // 8}").tobytes()
        value += b"\0" * (len(value) % 2)
        if (
            self.syntax == BIG_ENDIAN and self.big_endian_vr == "OW"
        ):  # 16-bit words, most significant byte first
            value = np.frombuffer(value, "<u2").astype(">u2").tobytes()
        return value

    def _packed(self, stack: np.ndarray) -> bytes:
        if self.packing == "frame":
            return b"".join(codecs.pack_bits(plane) for plane in stack)
        if self.packing == "segment":
            runs: dict[int | None, list[np.ndarray]] = {}
            for frame, plane in zip(self.frames, stack, strict=True):
                runs.setdefault(frame.segment, []).append(plane)
            return b"".join(codecs.pack_bits(np.stack(planes)) for planes in runs.values())
        return codecs.pack_bits(stack)

    def _encapsulated(self) -> bytes:
        encode = codecs.ENCODERS[self.syntax]
        encoded = [encode(f.pixels, self.bits_allocated) for f in self.frames]
        return codecs.encapsulate(encoded, offsets=self.offsets, fragments=self.fragments)


def source_uid(k: int) -> str:
    """SOPInstanceUID of the source image of slice k."""
    return f"{UID}.7.{k + 1}"


def element(group: int, number: int, vr: str, value: bytes | str, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian; `length` replaces the true one."""
    data = value.encode("ascii") if isinstance(value, str) else value
    data += b"\0" * (len(data) % 2)
    claimed = len(data) if length is None else length
    if vr in ("OB", "OW", "SQ", "UN", "UT", "UC", "OV"):
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, claimed) + data
    return struct.pack("<HH2sH", group, number, vr.encode(), claimed) + data


def _undefine_lengths(ds: Dataset) -> None:
    for item_element in ds:
        if item_element.VR == "SQ":
            item_element.is_undefined_length = True
            for item in item_element.value:
                item.is_undefined_length_sequence_item = True
                _undefine_lengths(item)
