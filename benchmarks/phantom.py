"""TotalSegmentator-like DICOM SEG phantoms: `python -m benchmarks.phantom OUT [--kind KIND ...]`.

The default is what IDC holds 126,051 times: a CT's 80 structures, ~3,900 frames of 512 × 512, one bit
per voxel, 129 MB, written by dcmqi. The other kinds are the same voxels in another form:

=============  ==========================================================================
dcmqi          BINARY; sequences and items of undefined length, empty slices left out
highdicom      BINARY; explicit lengths, highdicom's attributes
labelmap       LABELMAP, native
labelmap-rle   LABELMAP, RLE Lossless
labelmap-jls   LABELMAP, JPEG-LS Lossless
fractional     FRACTIONAL, 10 of the structures with soft edges
nifti          nii.gz as nibabel writes it by default
one-large      BINARY by dcmqi, 100 segments: one of 20 MB, the others of ~2 MB
growth-N       BINARY by dcmqi, N segments of ~60 frames each (125, 250, 500, 1000)
KIND-odd       dcmqi, highdicom and nifti with 511 × 509 voxels a slice: frames start within bytes
=============  ==========================================================================

Files are written by a byte writer: per-frame objects would take minutes. Same kind, same bytes.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

from benchmarks.blobs import Blobs, blobs, blobs_of
from benchmarks.dicom_bytes import Style, element, element_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LABEL_MAP_SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.7")  # younger than pydicom's list
DCMQI = Style(undefined_lengths=True)
HIGHDICOM = Style(undefined_lengths=False)
SPACING_MM = (0.703125, 0.703125, 1.5)
ORIGIN_LPS_MM = (-180.0, -172.5, -312.75)
GROWTH = (125, 250, 500, 1000)
FRACTIONAL_SEGMENTS = 10
_STRUCTURES = (
    ("78961009", "Spleen"), ("64033007", "Kidney"), ("28231008", "Gallbladder"), ("10200004", "Liver"),
    ("69695003", "Stomach"), ("15825003", "Aorta"), ("15776009", "Pancreas"), ("23451007", "Adrenal gland"),
    ("32849002", "Esophagus"), ("44567001", "Trachea"), ("80891009", "Heart"), ("71854001", "Colon"),
    ("89837001", "Urinary bladder"), ("38848004", "Duodenum"), ("113197003", "Rib"), ("39607008", "Lung"),
)  # fmt: skip


def uid(*parts: object) -> str:
    """A UID under 2.25 that is always the same for the same parts."""
    digest = sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


@dataclass(frozen=True)
class Phantom:
    """A label volume, its place in space, and what every file about it says.

    Attributes
    ----------
    name : str
        Seeds the UIDs.
    blobs : Blobs
    """

    name: str
    blobs: Blobs

    @cached_property
    def positions(self) -> list[bytes]:
        """ImagePositionPatient of each slice, as dcmqi formats it: nine digits, no padding."""
        x, y, z = ORIGIN_LPS_MM
        return [rf"{x:.9g}\{y:.9g}\{z + k * SPACING_MM[2]:.9g}".encode() for k in range(self.slices)]

    @cached_property
    def source_uids(self) -> list[str]:
        """SOPInstanceUID of each source image."""
        return [uid(self.name, "image", k) for k in range(self.slices)]

    @property
    def slices(self) -> int:
        """Number of slices."""
        return int(self.blobs.labels.shape[0])

    @property
    def affine_ras(self) -> npt.NDArray[np.float64]:
        """(4, 4) float64 ndarray, mm: (i, j, k, 1) to RAS+."""
        affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
        affine[:3, 3] = -ORIGIN_LPS_MM[0], -ORIGIN_LPS_MM[1], ORIGIN_LPS_MM[2]
        return affine

    def frames(self, count: int | None = None) -> list[tuple[int, int]]:
        """(label, slice) of every non-empty frame, label by label."""
        numbers = range(1, (count or len(self.blobs.boxes)) + 1)
        return [(n, k) for n in numbers for k in self.blobs.slices_of(n)]


def totalsegmentator() -> Phantom:
    """80 labels over ~3,900 frames of 512 × 512, 200 slices of 1.5 mm."""
    return Phantom("totalsegmentator", blobs(80, (200, 512, 512), 48.9))


def odd_sized() -> Phantom:
    """As `totalsegmentator`, but no frame and no row is whole bytes."""
    return Phantom("totalsegmentator-odd", blobs(80, (200, 511, 509), 48.9))


def growth(segments: int) -> Phantom:
    """`segments` labels of ~60 frames of 512 × 512 each; 400 slices."""
    return Phantom(f"growth-{segments}", blobs(segments, (400, 512, 512), 61.5, width=0.3))


def one_large() -> Phantom:
    """100 labels over 660 slices; label 1 has 640 frames (20 MB), the others ~60 each."""
    heights = np.array([640.0] + [60.0] * 99)
    return Phantom("one-large", blobs_of(heights, (660, 512, 512), width=0.3))


# --- header ---------------------------------------------------------------------------------------


def _dataset(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(
            dataset,
            keyword,
            Sequence(value) if isinstance(value, list) and isinstance(value[0], Dataset) else value,
        )
    return dataset


def _code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    return [_dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def _segment(number: int) -> Dataset:
    code, meaning = _STRUCTURES[(number - 1) % len(_STRUCTURES)]
    kind = _code(code, "SCT", meaning)
    side = ("24028007", "Right") if number % 2 else ("7771000", "Left")
    kind[0].SegmentedPropertyTypeModifierCodeSequence = Sequence(_code(side[0], "SCT", side[1]))
    return _dataset(
        SegmentedPropertyCategoryCodeSequence=_code("123037004", "SCT", "Anatomical Structure"),
        SegmentNumber=number,
        SegmentLabel=f"{meaning} {number}",
        SegmentDescription=meaning,
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="Phantom",
        RecommendedDisplayCIELabValue=[20000 + 500 * (number % 80), 30000, 36000],
        SegmentedPropertyTypeCodeSequence=kind,
    )


def _background() -> Dataset:
    """The item that PS3.3 C.8.20.2.3 asks for when 0 is encoded and means nothing."""
    return _dataset(
        SegmentedPropertyCategoryCodeSequence=_code("309825002", "SCT", "Spatial and Relational Concept"),
        SegmentNumber=0,
        SegmentLabel="Background",
        SegmentAlgorithmType="MANUAL",
        SegmentedPropertyTypeCodeSequence=_code("125040", "DCM", "Background"),
    )


def _header(phantom: Phantom, kind: str, segments: int, frames: int) -> Dataset:
    """All attributes before PerFrameFunctionalGroupsSequence."""
    label_map, fractional = kind.startswith("labelmap"), kind == "fractional"
    bits = 8 if label_map or fractional else 1
    if label_map and phantom.blobs.labels.itemsize == 2:
        bits = 16
    organization = uid(phantom.name, kind, "dimensions")
    pointers = [(0x0020_0032, 0x0020_9113, "ImagePositionPatient")]
    if not label_map:
        pointers.insert(0, (0x0062_000B, 0x0062_000A, "ReferencedSegmentNumber"))
    rows, columns = phantom.blobs.labels.shape[1:]
    dataset = _dataset(
        ImageType=["DERIVED", "PRIMARY"],
        SOPClassUID=LABEL_MAP_SEGMENTATION if label_map else SegmentationStorage,
        SOPInstanceUID=uid(phantom.name, kind, "instance"),
        StudyDate="20010101", SeriesDate="20240101", ContentDate="20240101",
        StudyTime="100000", SeriesTime="120000", ContentTime="120000",
        AccessionNumber="", Modality="SEG", Manufacturer="Phantom", ReferringPhysicianName="",
        SeriesDescription="Phantom segmentation", ManufacturerModelName=f"phantom {kind}",
        ReferencedSeriesSequence=[
            _dataset(
                ReferencedInstanceSequence=[
                    _dataset(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=source)
                    for source in phantom.source_uids
                ],
                SeriesInstanceUID=uid(phantom.name, "images"),
            )
        ],
        PatientName="Phantom", PatientID=f"phantom-{phantom.name}", PatientBirthDate="", PatientSex="O",
        DeviceSerialNumber="0", SoftwareVersions="1",
        StudyInstanceUID=uid(phantom.name, "study"), SeriesInstanceUID=uid(phantom.name, kind, "series"),
        StudyID="1", SeriesNumber=100, InstanceNumber=1,
        FrameOfReferenceUID=uid(phantom.name, "frame of reference"), PositionReferenceIndicator="",
        DimensionOrganizationSequence=[_dataset(DimensionOrganizationUID=organization)],
        DimensionIndexSequence=[
            _dataset(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=group,
                DimensionDescriptionLabel=label,
            )
            for pointer, group, label in pointers
        ],
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", NumberOfFrames=frames,
        Rows=rows, Columns=columns, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1,
        PixelRepresentation=0, LossyImageCompression="00",
        SegmentationType="LABELMAP" if label_map else "FRACTIONAL" if fractional else "BINARY",
        SegmentSequence=[_background()] * label_map + [_segment(n) for n in range(1, segments + 1)],
        ContentLabel="PHANTOM", ContentDescription="Phantom", ContentCreatorName="Phantom",
        SharedFunctionalGroupsSequence=[
            _dataset(
                PlaneOrientationSequence=[_dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                PixelMeasuresSequence=[
                    _dataset(
                        SliceThickness=SPACING_MM[2],
                        SpacingBetweenSlices=SPACING_MM[2],
                        PixelSpacing=[SPACING_MM[1], SPACING_MM[0]],
                    )
                ],
            )
        ],
    )  # fmt: skip
    if label_map:
        dataset.PixelPaddingValue = 0
        dataset.PatientOrientation = ["L", "P"]
    else:
        dataset.SegmentsOverlap = "NO" if kind == "highdicom" else "UNDEFINED"
    if fractional:
        dataset.SegmentationFractionalType = "PROBABILITY"
        dataset.MaximumFractionalValue = 255
    return dataset


# --- per-frame groups -----------------------------------------------------------------------------


def _per_frame(phantom: Phantom, style: Style, frames: list[tuple[int | None, int]]) -> bytes:
    """PerFrameFunctionalGroupsSequence of (label or None, slice) frames."""
    by_slice = {k: _slice_parts(phantom, style, k) for _, k in frames}
    first = min(k for _, k in frames)
    items = []
    for number, k in frames:
        derivation, position = by_slice[k]
        index = (k - first + 1,) if number is None else (number, k - first + 1)
        content = style.sequence(
            0x00209111, element(0x00209157, b"UL", struct.pack(f"<{len(index)}I", *index))
        )
        identification = (
            b""
            if number is None
            else style.sequence(0x0062000A, element(0x0062000B, b"US", struct.pack("<H", number)))
        )
        items.append(derivation + content + position + identification)
    return style.sequence(0x52009230, *items)


def _slice_parts(phantom: Phantom, style: Style, k: int) -> tuple[bytes, bytes]:
    """DerivationImageSequence and PlanePositionSequence of a slice."""
    preserved = b"" if style.undefined_lengths else element(0x0028135A, b"CS", b"YES")
    source = (
        element(0x00081150, b"UI", CTImageStorage.encode())
        + element(0x00081155, b"UI", phantom.source_uids[k].encode())
        + preserved
        + style.code(0x0040A170, "121322", "DCM", "Source image for image processing operation")
    )
    derivation = style.sequence(
        0x00089124,
        style.sequence(0x00082112, source) + style.code(0x00089215, "113076", "DCM", "Segmentation"),
    )
    return derivation, style.sequence(0x00209113, element(0x00200032, b"DS", phantom.positions[k]))


# --- pixels ---------------------------------------------------------------------------------------


def _packed(phantom: Phantom, frames: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """One-bit frames without gaps; where rows are whole bytes, only those of the label's box are packed."""
    labels, row_bytes = phantom.blobs.labels, phantom.blobs.labels.shape[2] // 8
    if labels.shape[2] % 8:
        yield from pack_bits(labels[k] == number for number, k in frames)
        return
    for number, k in frames:
        rows = phantom.blobs.boxes[number - 1].j
        frame = np.zeros((labels.shape[1], row_bytes), np.uint8)
        frame[rows] = np.packbits(labels[k, rows] == number, axis=1, bitorder="little")
        yield frame.tobytes()


def pack_bits(masks: Iterable[npt.NDArray[np.bool_]]) -> Iterator[bytes]:
    """Masks as bits without gaps, whatever their size (PS3.5 8.1.1)."""
    rest = np.zeros(0, np.bool_)
    for mask in masks:
        bits = mask.reshape(-1) if not len(rest) else np.concatenate([rest, mask.reshape(-1)])
        whole = len(bits) // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        rest = bits[whole:]
    if len(rest):
        yield np.packbits(rest, bitorder="little").tobytes()


def _fractions(phantom: Phantom, frames: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Eight-bit frames: the mask blurred over 5 × 5 voxels in plane."""
    labels = phantom.blobs.labels
    for number, k in frames:
        box = phantom.blobs.boxes[number - 1]
        soft = np.pad((labels[k, box.j, box.i] == number).astype(np.float32), 2)
        for axis in (0, 1):
            soft = sum(np.roll(soft, shift, axis) for shift in range(-2, 3)) / 5
        frame = np.zeros(labels.shape[1:], np.uint8)
        frame[box.j, box.i] = np.rint(soft[2:-2, 2:-2] * 255)
        yield frame.tobytes()


def _rle(frame: npt.NDArray[np.uint8]) -> bytes:
    import rle

    return bytes(
        rle.encode_pixel_data(frame.tobytes(), byteorder="<", bits_allocated=8, **_frame_shape(frame))
    )


def _jpeg_ls(frame: npt.NDArray[np.uint8]) -> bytes:
    import jpeg_ls

    return bytes(jpeg_ls.encode_pixel_data(frame.tobytes(), bits_stored=8, **_frame_shape(frame)))


def _frame_shape(frame: npt.NDArray[np.uint8]) -> dict[str, int]:
    return {"rows": frame.shape[0], "columns": frame.shape[1], "samples_per_pixel": 1}


_CODECS: dict[str, tuple[UID, Callable[[npt.NDArray[np.uint8]], bytes]]] = {
    "labelmap-rle": (RLELossless, _rle),
    "labelmap-jls": (JPEGLSLossless, _jpeg_ls),
}


def write(phantom: Phantom, kind: str, path: Path) -> Path:
    """Write `phantom` as `kind` (see the module) to `path`."""
    if kind == "nifti":
        return _write_nifti(phantom, path)
    style = HIGHDICOM if kind == "highdicom" else DCMQI
    transfer_syntax, encode = _CODECS.get(kind, (ExplicitVRLittleEndian, None))
    count = FRACTIONAL_SEGMENTS if kind == "fractional" else len(phantom.blobs.boxes)
    frames: list[tuple[int | None, int]]
    if kind.startswith("labelmap"):
        frames = [(None, k) for k in range(phantom.slices)]
        pixels: Iterable[bytes] = (plane.tobytes() for plane in phantom.blobs.labels)
    else:
        labelled = phantom.frames(count)
        frames = list(labelled)
        pixels = (_fractions if kind == "fractional" else _packed)(phantom, labelled)
    header = _header(phantom, kind, count, len(frames))
    with path.open("wb") as file:
        file.write(style.header(header, transfer_syntax))
        file.write(_per_frame(phantom, style, frames))
        if encode is None:
            length = -(-len(frames) * header.Rows * header.Columns * header.BitsAllocated // 8)
            file.write(element_head(0x7FE00010, b"OW", length + length % 2))
            file.writelines(pixels)
            file.write(bytes(length % 2))
        else:
            file.write(element_head(0x7FE00010, b"OB", 0xFFFFFFFF))
            file.write(encapsulate([encode(plane) for plane in phantom.blobs.labels], has_bot=True))
            file.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    return path


def _write_nifti(phantom: Phantom, path: Path) -> Path:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(phantom.blobs.labels.T, phantom.affine_ras), path)
    return path


KINDS = ("dcmqi", "highdicom", "labelmap", "labelmap-rle", "labelmap-jls", "fractional", "nifti")
ODD_KINDS = ("dcmqi-odd", "highdicom-odd", "nifti-odd")
GROWTH_KINDS = tuple(f"growth-{segments}" for segments in GROWTH)
EXTRA_KINDS = ("one-large", *ODD_KINDS, *GROWTH_KINDS)


def file_name(kind: str) -> str:
    """The phantom's file name of a kind."""
    return f"{kind}.nii.gz" if kind.startswith("nifti") else f"{kind}.dcm"


def ensure(folder: Path, kinds: Iterable[str] = KINDS) -> dict[str, Path]:
    """The phantoms of `kinds` in `folder`; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / file_name(kind) for kind in kinds}
    phantom = None
    for kind, path in paths.items():
        if path.exists():
            continue
        unfinished = path.with_name(f".{path.name}")  # nibabel wants its suffix
        if kind in GROWTH_KINDS:
            write(growth(int(kind.removeprefix("growth-"))), "dcmqi", unfinished)
        elif kind in ODD_KINDS:
            write(odd_sized(), kind.removesuffix("-odd"), unfinished)
        elif kind == "one-large":
            write(one_large(), "dcmqi", unfinished)
        else:
            phantom = phantom or totalsegmentator()
            write(phantom, kind, unfinished)
        unfinished.replace(path)
    return paths


def main() -> None:
    """Write phantoms; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.phantom", description="Write DICOM SEG phantoms."
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", nargs="+", choices=KINDS + EXTRA_KINDS, default=list(KINDS), metavar="KIND")
    arguments = parser.parse_args()
    for kind, path in ensure(arguments.out, arguments.kind).items():
        print(f"{kind:14} {path.stat().st_size / 1e6:8.1f} MB  {path}")


if __name__ == "__main__":
    main()
