"""Ordinary variations of a source image's header: 47 that writers of segmentations meet, and how each ends.

The rows are those of a comparison in which dcmqi wrote 40 and refused 7 (November 2026).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from segtools.decode.volume import Grid
from segtools.encode.images import Subject, image_series

SHAPE = (3, 16, 20)
GRID = Grid(SHAPE, np.array([[0.8, 0, 0, -235.2], [0, 0.8, 0, -226.8], [0, 0, 1, -128.69], [0, 0, 0, 1.0]]))
WRITTEN = ""
Change = Callable[[list[Dataset]], object]


@dataclass(frozen=True)
class Variant:
    """A variation.

    Attributes
    ----------
    name : str
    change : callable
        Of the list of images, in place.
    code : str
        Of the refusal; empty where a segmentation is written.
    findings : tuple of str
        That must be there.
    """

    name: str
    change: Change
    code: str = WRITTEN
    findings: tuple[str, ...] = ()


def images() -> list[Dataset]:
    """Three slices with what a scanner says."""
    made = image_series(GRID, Subject("99000", date="20030417", sex="M"))
    for image in made:
        put(image, "PatientAge", "060Y")
        put(image, "PositionReferenceIndicator", "SN")
    return made


def save(made: list[Dataset], folder: Path) -> Path:
    """Write the images as they are, valid or not."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of what is invalid on purpose
            for n, image in enumerate(made):
                image.preamble = bytes(128)
                image.save_as(folder / f"{n:03}.dcm")
    finally:
        pydicom.config.settings.writing_validation_mode = mode
    return folder


def put(image: Dataset, keyword: str, value: Any, vr: str | None = None) -> None:
    """Set a value that pydicom would refuse."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    image[tag] = DataElement(
        tag, vr or pydicom.datadict.dictionary_VR(tag), value, validation_mode=pydicom.config.IGNORE
    )


def _without(*keywords: str) -> Change:
    return lambda made: [image.pop(keyword, None) for image in made for keyword in keywords]


def _with(keyword: str, value: Any, vr: str | None = None) -> Change:
    return lambda made: [put(image, keyword, value, vr) for image in made]


def _one(keyword: str, value: Any) -> Change:
    return lambda made: put(made[1], keyword, value)


def _none(keyword: str, *, meta: str = "") -> Change:
    def change(made: list[Dataset]) -> None:
        del made[1][keyword]
        if meta:
            del made[1].file_meta[meta]

    return change


def _private(made: list[Dataset]) -> None:
    for image in made:
        image.add_new(0x00090000, "UN", b"\x14\x00\x00\x00")
        image.add_new(0x00090010, "LO", "GEMS_IDEN_01")
        image.add_new(0x00090011, "LO", "")
        image.add_new(0x00091001, "UN", b"\xff" * 7)


ABSENT = ("source-attribute-absent",)
REPAIRED = ("source-attribute-repaired",)
MISSING = "source-attribute-missing"
MIXED = "source-inconsistent"

VARIANTS = (
    Variant("as it is, SpecificCharacterSet empty", _with("SpecificCharacterSet", "")),
    Variant("no PatientID", _without("PatientID"), findings=ABSENT),
    Variant("no PatientName", _without("PatientName"), findings=ABSENT),
    Variant("no PatientBirthDate", _without("PatientBirthDate"), findings=ABSENT),
    Variant("no PatientSex", _without("PatientSex"), findings=ABSENT),
    Variant("no AccessionNumber", _without("AccessionNumber"), findings=ABSENT),
    Variant("no StudyID", _without("StudyID"), findings=ABSENT),
    Variant("no StudyDate", _without("StudyDate"), findings=ABSENT),
    Variant("no StudyTime", _without("StudyTime"), findings=ABSENT),
    Variant("no ReferringPhysicianName", _without("ReferringPhysicianName"), findings=ABSENT),
    Variant("no StudyInstanceUID", _without("StudyInstanceUID"), MISSING),
    Variant("no SeriesInstanceUID", _without("SeriesInstanceUID"), MISSING),
    Variant("no FrameOfReferenceUID", _without("FrameOfReferenceUID"), findings=("frame-of-reference-made-up",)),
    Variant("no SOPClassUID", _without("SOPClassUID"), findings=REPAIRED),
    Variant("no Manufacturer", _without("Manufacturer")),
    Variant("no SliceThickness", _without("SliceThickness")),
    Variant("no ImagePositionPatient", _without("ImagePositionPatient"), MISSING),
    Variant("no ImageOrientationPatient", _without("ImageOrientationPatient"), MISSING),
    Variant("no PixelSpacing", _without("PixelSpacing"), MISSING),
    Variant("no Rows", _without("Rows"), MISSING),
    Variant("no Modality", _without("Modality")),
    Variant("no PositionReferenceIndicator", _without("PositionReferenceIndicator"), findings=ABSENT),
    Variant("no SeriesNumber", _without("SeriesNumber")),
    Variant("no InstanceNumber", _without("InstanceNumber")),
    Variant("no Laterality", _without("Laterality")),
    Variant("no BodyPartExamined", _without("BodyPartExamined")),
    Variant("charset backslash ISO 2022 IR 87", _with("SpecificCharacterSet", ["", "ISO 2022 IR 87"])),
    Variant("charset unknown ISO_IR 999", _with("SpecificCharacterSet", "ISO_IR 999")),
    Variant("charset ISO_IR 192, name 山田^太郎", _with("PatientName", "山田^太郎")),
    Variant("PatientSex U", _with("PatientSex", "U"), findings=REPAIRED),
    Variant("PatientSex empty", _with("PatientSex", "")),
    Variant("StudyDate empty", _with("StudyDate", "")),
    Variant("StudyTime 24:10", _with("StudyTime", "24:10"), findings=REPAIRED),
    Variant("PatientBirthDate 1950", _with("PatientBirthDate", "1950"), findings=REPAIRED),
    Variant("PatientID 80 chars", _with("PatientID", "P" * 80), findings=REPAIRED),
    Variant("AccessionNumber 30 chars", _with("AccessionNumber", "A" * 30), findings=REPAIRED),
    Variant("StudyID 40 chars", _with("StudyID", "S" * 40), findings=REPAIRED),
    Variant("PatientAge 45", _with("PatientAge", "45"), findings=REPAIRED),
    Variant("PixelSpacing 20 digits", _with("PixelSpacing", ["0.80000000000000000001"] * 2)),
    Variant(
        "IOP not unit (0.99)",
        _with("ImageOrientationPatient", ["0.99", "0", "0", "0", "0.99", "0"]),
        findings=("orientation-normalised",),
    ),
    Variant("IOP jitter 1e-4 in one slice", _one("ImageOrientationPatient", ["1", "1e-4", "0", "-1e-4", "1", "0"])),
    Variant("another FrameOfReference in one slice", _one("FrameOfReferenceUID", "2.25.7"), MIXED),
    Variant("another Rows in one slice", _one("Rows", 8), MIXED),
    Variant(
        "one slice twice", lambda made: made.append(made[1]), findings=("source-image-repeated",)
    ),
    Variant("one slice missing", lambda made: made.pop(1), findings=("source-slices-missing",)),
    Variant("no SOPInstanceUID in one", _none("SOPInstanceUID", meta="MediaStorageSOPInstanceUID"), MISSING),
    Variant("private creator junk", _private),
)  # fmt: skip

SIBLINGS = (
    Variant("no SOPInstanceUID in one, but in its meta group", _none("SOPInstanceUID"), findings=REPAIRED),
    Variant("PatientID with a backslash", _with("PatientID", "a\\b"), findings=REPAIRED),
    Variant("PatientID with control characters", _with("PatientID", "a\x1b\x07b"), findings=REPAIRED),
    Variant("PatientName of 70 characters", _with("PatientName", "N" * 70), findings=REPAIRED),
    Variant("PatientName of six components", _with("PatientName", "a^b^c^d^e^f"), findings=REPAIRED),
    Variant("PatientSex m", _with("PatientSex", "m"), findings=REPAIRED),
    Variant("StudyDate 2003.04.17", _with("StudyDate", "2003.04.17"), findings=REPAIRED),
    Variant("StudyDate 20030231", _with("StudyDate", "20030231"), findings=REPAIRED),
    Variant("StudyTime 10:46:07", _with("StudyTime", "10:46:07"), findings=REPAIRED),
    Variant("PatientWeight heavy", _with("PatientWeight", "heavy", "LO"), findings=REPAIRED),
    Variant("PatientWeight 20 digits", _with("PatientWeight", "70.000000000000000001"), findings=REPAIRED),
    Variant("BodyPartExamined too long", _with("BodyPartExamined", "UPPER LEFT ABDOMEN"), findings=REPAIRED),
    Variant("PatientIdentityRemoved without a method", _with("PatientIdentityRemoved", "YES"), findings=REPAIRED),
    Variant("StudyInstanceUID that is none", _with("StudyInstanceUID", "1.02.3"), MISSING),
    Variant("FrameOfReferenceUID that is none", _with("FrameOfReferenceUID", "x"), findings=("frame-of-reference-made-up",)),
    Variant("SOPClassUID of no known image", _with("SOPClassUID", "1.2.3.4"), findings=("source-class-unknown",)),
    Variant("a slide", _with("SOPClassUID", "1.2.840.10008.5.1.4.1.1.77.1.6"), "source-unsupported"),
    Variant("another StudyInstanceUID in one slice", _one("StudyInstanceUID", "2.25.7"), MIXED),
    Variant("another orientation in one slice", _one("ImageOrientationPatient", ["0", "1", "0", "0", "0", "-1"]), MIXED),
    Variant("another spacing in one slice", _one("PixelSpacing", ["0.9", "0.9"]), MIXED),
    Variant("spacing 0", _with("PixelSpacing", ["0", "0"]), MIXED),
    Variant("spacing of one value", _with("PixelSpacing", "0.8"), MISSING),
    Variant("IOP of zeros", _with("ImageOrientationPatient", ["0"] * 6), MISSING),
    Variant("position nan in one", _one("ImagePositionPatient", ["nan", "0", "0"]), MISSING),
    Variant("one slice off the grid", _one("ImagePositionPatient", ["-235.2", "-226.8", "-127.4"]), MIXED),
    Variant("slices lean", lambda made: [put(image, "ImagePositionPatient", [str(n - 235.2), "-226.8", str(n - 128.69)]) for n, image in enumerate(made)], "gantry-tilt"),
)  # fmt: skip
