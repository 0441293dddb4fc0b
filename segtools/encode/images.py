"""Synthetic CT and MR series: something for a made-up segmentation to refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from segtools.encode.dicom.uids import uid_from

if TYPE_CHECKING:
    import numpy.typing as npt

    from segtools.decode.volume import Grid

Modality = Literal["CT", "MR"]


@dataclass(frozen=True)
class Subject:
    """Whom a synthetic study shows.

    Attributes
    ----------
    patient_id : str
        Also the seed of all UIDs of the study.
    body_part : str
        BodyPartExamined (0018,0015).
    date : str
        StudyDate, ``YYYYMMDD``.
    sex : str
        PatientSex.
    """

    patient_id: str
    body_part: str = "ABDOMEN"
    date: str = "20200101"
    sex: str = "O"


def image_series(
    grid: Grid,
    subject: Subject,
    *,
    modality: Modality = "CT",
    pixels: npt.NDArray[np.int16] | None = None,
    name: str = "",
) -> list[Dataset]:
    """Make up one single-frame image per slice of `grid`.

    Parameters
    ----------
    grid : Grid
        Its slices must be perpendicular to (i, j).
    subject : Subject
        Series of one subject are in one study and one frame of reference.
    modality : {"CT", "MR"}
    pixels : (k, j, i) int16 ndarray, HU for CT, optional
        Without it the images are headers only.
    name : str
        Tells apart several series of one modality and subject.

    Returns
    -------
    list of Dataset
        In slice order, each with its file meta, ready for `Dataset.save_as`.
    """
    series = uid_from(subject.patient_id, modality, name, "series")
    images = []
    for k in range(grid.shape[0]):
        image = _header(grid, subject, modality, k)
        image.SeriesInstanceUID = series
        image.SOPInstanceUID = uid_from(series, k)
        image.file_meta = FileMetaDataset()
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if pixels is not None:
            image.PixelData = pixels[k].astype("<i2").tobytes()
            image["PixelData"].VR = "OW"
        images.append(image)
    return images


def _header(grid: Grid, subject: Subject, modality: Modality, k: int) -> Dataset:
    spacing_i, spacing_j, spacing_k = grid.spacing_mm
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "OTHER"]
    image.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    image.StudyDate = image.SeriesDate = image.ContentDate = image.AcquisitionDate = subject.date
    image.StudyTime = image.SeriesTime = image.ContentTime = image.AcquisitionTime = "100000"
    image.AccessionNumber = ""
    image.Modality = modality
    image.Manufacturer = "Phantom"
    image.ReferringPhysicianName = ""
    image.SeriesDescription = f"Phantom {modality}"
    image.PatientName = subject.patient_id
    image.PatientID = subject.patient_id
    image.PatientBirthDate = ""
    image.PatientSex = subject.sex
    image.BodyPartExamined = subject.body_part
    image.SliceThickness = round(spacing_k, 6)
    image.StudyInstanceUID = uid_from(subject.patient_id, "study")
    image.FrameOfReferenceUID = uid_from(subject.patient_id, "frame of reference")
    image.StudyID = "1"
    image.SeriesNumber = 1
    image.InstanceNumber = k + 1
    image.PositionReferenceIndicator = ""
    image.ImagePositionPatient = [_decimal(v) for v in grid.affine_lps[:3] @ (0, 0, k, 1)]
    image.ImageOrientationPatient = [
        *(_decimal(v / spacing_i) for v in grid.affine_lps[:3, 0]),
        *(_decimal(v / spacing_j) for v in grid.affine_lps[:3, 1]),
    ]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = grid.shape[1:]
    image.PixelSpacing = [_decimal(spacing_j), _decimal(spacing_i)]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    if modality == "CT":
        image.RescaleIntercept = 0
        image.RescaleSlope = 1
        image.KVP = 120
    else:
        image.ScanningSequence = "SE"
        image.SequenceVariant = "NONE"
        image.ScanOptions = ""
        image.MRAcquisitionType = "2D"
        image.EchoTime = 90
        image.RepetitionTime = 3000
    return image


def _decimal(value: float) -> str:
    """Format a DS of at most 16 characters (PS3.5 6.2); no negative zero."""
    return f"{value + 0.0:.9g}"
