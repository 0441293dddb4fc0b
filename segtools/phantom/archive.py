"""A small archive of made-up SEG series, laid out like IDC's buckets: what `make demo` runs on.

::

    <folder>/collections.csv                                  collection, licence, DOI of each series
    <folder>/<bucket>/<series uuid>/<instance uuid>.dcm

A dozen segmentations by several kinds of producers, with what real archives have: gaps, overlap,
fractions, label maps, compression, an oblique scan, an empty segment, retired codes, a CT that
claims to be a segmentation, and a file cut short. The same call writes the same bytes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from hashlib import md5, sha256
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from segtools.decode.volume import Grid, Segment
from segtools.encode import Producer, encode
from segtools.encode.dicom.uids import uid_from
from segtools.encode.images import Subject, image_series
from segtools.files import write_bytes
from segtools.phantom import anatomy
from segtools.phantom.anatomy import (
    Structure,
    abdomen,
    grid_around,
    hounsfield,
    label_map,
)
from segtools.terminology.concepts import Concept
from segtools.terminology.licenses import is_noncommercial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

OPEN_BUCKET = "phantom-open-data"
NONCOMMERCIAL_BUCKET = "phantom-open-data-cr"
COLLECTIONS_FILE = "collections.csv"


@dataclass(frozen=True, slots=True)
class Collection:
    """Where a series belongs, and on what terms."""

    collection_id: str
    license_short_name: str
    source_doi: str
    analysis_result_id: str = ""


@dataclass(frozen=True, slots=True)
class Archived:
    """One series of the archive and what is to become of it.

    Attributes
    ----------
    paths : tuple of str
        Its objects, relative to the archive.
    collection_id, patient_id, series_uid, modality : str
    note : str
        What is peculiar about it.
    status : {"ok", "warned", "failed", "skipped"}
        Of a segmentation after the pipeline; ``skipped``: the index leaves it out.
    code : str or None
        Error code of a failed or skipped one.
    segments : int
        Segments that the index lists.
    findings : tuple of str
        Finding codes that decoding must give, at least.
    """

    paths: tuple[str, ...]
    collection_id: str
    patient_id: str
    series_uid: str
    modality: str
    note: str
    status: str = "ok"
    code: str | None = None
    segments: int = 0
    findings: tuple[str, ...] = ()


MASS = Concept("4147007", "SCT", "Mass")
METASTASIS = Concept("14799000", "SCT", "Neoplasm, Secondary")
PERIPHERAL_ZONE = Concept("279706003", "SCT", "Peripheral zone of the prostate")

WHOLE_BODY = Collection(
    "phantom_screening", "CC BY 4.0", "10.5555/phantom.screening", "phantom_wholebody_segmentations"
)
TUMORS = Collection("phantom_tumors", "CC BY 3.0", "10.5555/phantom.tumors")
KIDNEYS = Collection("phantom_kidney", "CC BY 4.0", "10.5555/phantom.kidney", "phantom_ai_annotations")
PROSTATES = Collection("phantom_prostate", "CC BY-NC 4.0", "10.5555/phantom.prostate")
LEGACY = Collection("phantom_legacy", "CC BY 3.0", "10.5555/phantom.legacy")

DCMQI_LIKE = Producer("Phantom", "dcmqi-like", "1.5", "Segmentation", "PHANTOM")
HIGHDICOM_LIKE = Producer("Phantom", "highdicom-like", "0.28", "Expert segmentation", "PHANTOM")
WHOLE_BODY_LIKE = Producer("Phantom", "TotalSegmentator-like", "1.5.6", "Whole-body segmentation", "PHANTOM")
BAMF_LIKE = Producer("Phantom", "BAMF-like", "2.0", "AIMI kidney segmentation", "PHANTOM")
VIEWER_LIKE = Producer("Phantom", "OHIF-like", "3.9", "Research derived series", "PHANTOM")
SLICER_LIKE = Producer("Phantom", "early 3D Slicer-like", "4.0", "Liver segmentation", "PHANTOM")


def write_archive(folder: Path) -> list[Archived]:
    """Write the archive.

    Parameters
    ----------
    folder : Path
        Made if it does not exist; files of the same name are replaced.

    Returns
    -------
    list of Archived
        Every series, the images' too, in order of writing.

    Raises
    ------
    WriteError, EnvironmentProblem
        As `segtools.files.replacing`.
    """
    archive = _Archive(folder)
    for scene in SCENES:
        scene(archive)
    archive.write_collections()
    return archive.series


class _Archive:
    """Files written so far, and how each belongs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.series: list[Archived] = []
        self._rows: list[dict[str, str]] = []

    def add(
        self,
        collection: Collection,
        datasets: Sequence[Dataset],
        note: str,
        *,
        keep: float = 1.0,
        status: str = "ok",
        code: str | None = None,
        findings: tuple[str, ...] = (),
    ) -> None:
        """Write one series; of each file only the first part `keep`."""
        contents = [_bytes(dataset) for dataset in datasets]
        contents = [content[: round(len(content) * keep)] for content in contents]
        bucket = NONCOMMERCIAL_BUCKET if is_noncommercial(collection.license_short_name) else OPEN_BUCKET
        place = f"{bucket}/{_uuid(*(md5(c, usedforsecurity=False).hexdigest() for c in contents))}"
        paths = tuple(f"{place}/{_uuid(dataset.SOPInstanceUID)}.dcm" for dataset in datasets)
        for path, content in zip(paths, contents, strict=True):
            write_bytes(self.folder / path, content)
        first = datasets[0]
        self._rows.append(
            {
                "path": place,
                "collection_id": collection.collection_id,
                "analysis_result_id": collection.analysis_result_id if first.Modality == "SEG" else "",
                "license_short_name": collection.license_short_name,
                "source_DOI": collection.source_doi,
            }
        )
        segments = sum(item.SegmentNumber != 0 for item in first.get("SegmentSequence", ()))
        self.series.append(
            Archived(
                paths,
                collection.collection_id,
                first.PatientID,
                first.SeriesInstanceUID,
                first.Modality,
                note,
                status,
                code,
                segments,
                findings,
            )
        )

    def write_collections(self) -> None:
        """Write the table that tells `idcseg index` where each folder belongs."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(self._rows, key=lambda row: row["path"]))
        write_bytes(self.folder / COLLECTIONS_FILE, text.getvalue().encode())


def _bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _uuid(*parts: str) -> str:
    return str(UUID(bytes=sha256("/".join(parts).encode()).digest()[:16], version=4))


def _numbered(structures: Sequence[Structure], algorithm: str | None = None) -> list[Segment]:
    return [structure.segment(n, algorithm=algorithm) for n, structure in enumerate(structures, start=1)]


def _like_dcmqi(made: Dataset) -> Dataset:
    """Undefined lengths everywhere, and less said than highdicom says."""
    for keyword in ("ContributingEquipmentSequence", "SourceImageSequence"):
        if keyword in made:
            delattr(made, keyword)
    if "SegmentsOverlap" in made:
        made.SegmentsOverlap = "UNDEFINED"
    _leave_lengths_undefined(made)
    return made


def _leave_lengths_undefined(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _leave_lengths_undefined(item)


def _scan(
    archive: _Archive, collection: Collection, subject: Subject, structures: Sequence[Structure], grid: Grid
) -> list[Dataset]:
    """Write a CT series of `structures`."""
    images = image_series(grid, subject, pixels=hounsfield(structures, grid))
    archive.add(collection, images, "source images")
    return images


# --- the scenes: each a patient -------------------------------------------------------------------

TRUNK = grid_around((0.0, 0.0, 60.0), (64, 96, 96), (4.2, 4.2, 7.5))


def _whole_body(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0001", "CHEST_ABDOMEN", "20010203", "F")
    images = _scan(archive, WHOLE_BODY, subject, anatomy.ABDOMEN, TRUNK)
    made = encode(
        label_map(anatomy.ABDOMEN, TRUNK), TRUNK, _numbered(anatomy.ABDOMEN, "Phantom whole-body model"),
        source=images, producer=WHOLE_BODY_LIKE, seed="whole body",
    )  # fmt: skip
    note = f"{len(anatomy.ABDOMEN)} structures, empty frames left out"
    archive.add(WHOLE_BODY, [_like_dcmqi(made)], note, findings=("missing-slices",))


def _whole_body_empty(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0002", "CHEST_ABDOMEN", "20010506", "M")
    present = [s for s in anatomy.ABDOMEN if s.name != "Gallbladder"]
    images = _scan(archive, WHOLE_BODY, subject, present, TRUNK)
    labels = label_map(anatomy.ABDOMEN, TRUNK)
    labels[labels == 1 + anatomy.ABDOMEN.index(abdomen("Gallbladder")[0])] = 0
    made = encode(
        labels, TRUNK, _numbered(anatomy.ABDOMEN, "Phantom whole-body model"),
        source=images, producer=WHOLE_BODY_LIKE, seed="whole body without gallbladder",
    )  # fmt: skip
    note = f"{len(anatomy.ABDOMEN)} structures, one of them (the gallbladder) empty"
    archive.add(WHOLE_BODY, [_like_dcmqi(made)], note, findings=("empty-segment", "missing-slices"))


def _liver_tumors(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0003", "ABDOMEN", "20100807", "F")
    grid = grid_around((0.0, 0.0, 40.0), (40, 128, 128), (3.2, 3.2, 5.0))
    mass = Structure("Liver mass", MASS, (92, 22, 70), (16, 18, 15), category=anatomy.ABNORMALITY)
    organs = abdomen("Liver", "Spleen", "Kidney right", "Kidney left", "Stomach")
    images = _scan(archive, TUMORS, subject, (*organs, mass), grid)
    structures = (organs[0], mass)
    overlapping = encode(
        {n: s.mask(grid) > 0 for n, s in enumerate(structures, start=1)}, grid, _numbered(structures),
        source=images, producer=HIGHDICOM_LIKE, seed="liver and mass",
    )  # fmt: skip
    archive.add(TUMORS, [overlapping], "a mass inside the liver: two layers", findings=("segments-overlap",))
    _metastases(archive, images, grid)
    label_mapped = encode(
        label_map(organs, grid), grid, _numbered(organs, "Phantom abdomen model"),
        source=images, kind="LABELMAP", transfer_syntax=RLELossless, producer=VIEWER_LIKE, seed="viewer",
    )  # fmt: skip
    archive.add(TUMORS, [label_mapped], "LABELMAP, RLE")


def _metastases(archive: _Archive, images: list[Dataset], grid: Grid) -> None:
    """One segment in two places far apart: interior slices are not encoded."""
    low = Structure("Metastasis", METASTASIS, (60, 30, 20), (12, 12, 11), category=anatomy.ABNORMALITY)
    high = replace(low, center_mm=(60, 30, 95))
    mask = np.maximum(low.mask(grid), high.mask(grid)).astype(np.uint8)
    tracked = replace(low.segment(1), tracking_id="lesion 1", tracking_uid=uid_from("lesion 1"))
    made = encode(mask, grid, [tracked], source=images, producer=DCMQI_LIKE, seed="metastases")
    archive.add(TUMORS, [_like_dcmqi(made)], "two lesions, no slices between", findings=("missing-slices",))


def _kidneys(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0004", "KIDNEY", "20110911", "M")
    grid = grid_around((0.0, -30.0, 0.0), (36, 96, 120), (3.0, 3.0, 4.0))
    kidneys = abdomen("Kidney right", "Kidney left")
    images = _scan(archive, KIDNEYS, subject, (*kidneys, *abdomen("Liver", "Spleen")), grid)
    labels = label_map(kidneys, grid)
    sided = [
        kidney.segment(n, algorithm="Phantom kidney model", region_side=True)
        for n, kidney in enumerate(kidneys, start=1)
    ]
    made = encode(labels, grid, sided, source=images, producer=BAMF_LIKE, seed="kidneys")
    archive.add(KIDNEYS, [_like_dcmqi(made)], "the side is in the anatomic region's modifier")
    deflated = encode(
        labels, grid, _numbered(kidneys, "Phantom kidney model"), source=images, kind="LABELMAP",
        transfer_syntax=DeflatedExplicitVRLittleEndian, producer=HIGHDICOM_LIKE, seed="kidneys deflated",
    )  # fmt: skip
    archive.add(KIDNEYS, [deflated], "LABELMAP, Deflated Explicit VR")
    packed = encode(
        {n: k.mask(grid) for n, k in enumerate(kidneys, start=1)}, grid, _numbered(kidneys), source=images,
        kind="FRACTIONAL", transfer_syntax=RLELossless, producer=VIEWER_LIKE, seed="kidneys pseudo-binary",
    )  # fmt: skip
    archive.add(
        KIDNEYS, [packed], "a mask disguised as FRACTIONAL 0/255, RLE",
        status="warned", findings=("pseudo-binary-fractional",),
    )  # fmt: skip


def _prostate(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0005", "PROSTATE", "20120413", "M")
    tilt = np.deg2rad(12)
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    grid = grid_around((0.0, 8.0, -214.0), (20, 100, 100), (1.2, 1.2, 3.6), axes)
    gland = Structure("Prostate", anatomy.PROSTATE, (0, 8, -214), (25, 19, 22))
    zone = Structure("Peripheral zone", PERIPHERAL_ZONE, (0, -2, -216), (22, 8, 18))
    signal = hounsfield((gland, zone), grid) + np.int16(1000)
    images = image_series(grid, subject, modality="MR", pixels=signal)
    archive.add(PROSTATES, images, "source images, oblique MR")
    oblique = encode(
        label_map([gland], grid), grid, _numbered([gland], "Phantom prostate model"),
        source=images, producer=HIGHDICOM_LIKE, seed="oblique prostate",
    )  # fmt: skip
    archive.add(PROSTATES, [oblique], "oblique slices")
    soft = encode(
        {n: s.mask(grid, softness_mm=8) for n, s in enumerate((gland, zone), start=1)}, grid,
        _numbered((gland, zone), "Phantom prostate model"), source=images, kind="FRACTIONAL",
        producer=HIGHDICOM_LIKE, seed="prostate probabilities",
    )  # fmt: skip
    archive.add(PROSTATES, [soft], "FRACTIONAL: probabilities")


def _legacy(archive: _Archive) -> None:
    subject = Subject("PHANTOM-0006", "ABDOMEN", "20070615", "F")
    grid = grid_around((0.0, 0.0, 50.0), (30, 64, 64), (6.0, 6.0, 6.0))
    organs = abdomen("Liver", "Spleen")
    images = _scan(archive, LEGACY, subject, organs, grid)
    labels, segments = label_map(organs, grid), _numbered(organs)
    category = Concept("T-D000A", "SRT", "Anatomical Structure")
    retired = [
        replace(segment, category=category, type=Concept(code, "SRT", str(segment.label)))
        for segment, code in zip(segments, ("T-62000", "T-C3000"), strict=True)
    ]
    made = encode(labels, grid, retired, source=images, producer=SLICER_LIKE, seed="retired codes")
    archive.add(LEGACY, [_like_dcmqi(made)], "retired SRT codes", findings=("retired-code",))
    cut = encode(labels, grid, segments, source=images, producer=SLICER_LIKE, seed="cut short")
    archive.add(LEGACY, [cut], "cut short within PixelData", keep=0.75, status="failed", code="truncated")
    impostor = image_series(grid, subject, name="impostor", pixels=hounsfield(organs, grid))[0]
    impostor.Modality = "SEG"
    archive.add(LEGACY, [impostor], "a CT image with Modality SEG", status="skipped", code="not-segmentation")


SCENES: tuple[Callable[[_Archive], None], ...] = (
    _whole_body,
    _whole_body_empty,
    _liver_tumors,
    _kidneys,
    _prostate,
    _legacy,
)
