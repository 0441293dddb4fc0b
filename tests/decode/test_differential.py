"""Random SEG files through us and through highdicom and dcmqi: same voxels, same places.

Files come from two writers, highdicom and our own factory, so that no reader is judged by its own
writer alone. Where a peer is known to be wrong, the case table says so (`docs/edge-cases.md`), and
the strategies below keep out of there.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from segtools.decode import read
from segtools.decode.verify import verify
from tests.factories import seg as S
from tests.factories.case import Answer
from tests.factories.judge import same_voxels
from tests.factories.peers import (
    Reading,
    dcmqi_binary,
    difference,
    read_with_dcmqi,
    read_with_highdicom,
)
from tests.factories.seg import SegFactory

ORIENTATIONS = (
    (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    (-1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    (0.8, 0.6, 0.0, -0.36, 0.48, 0.8),
)
few = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
fewer = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def label_arrays(draw: st.DrawFn, min_plane: int = 1, max_segments: int = 4) -> np.ndarray:
    """(k, j, i) arrays of 0 to n; slices may be empty, the outer ones are not."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(min_plane, 40)), draw(st.integers(min_plane, 40)))
    count = draw(st.integers(1, max_segments))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.zeros(shape, np.uint8)
    filled = rng.random(shape[0]) < 0.7
    filled[[0, -1]] = True
    labels[filled] = rng.integers(0, count + 1, (int(filled.sum()), *shape[1:]))
    labels[[0, -1], 0, 0] = 1
    return labels


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    """Knobs of a factory that say where the grid is."""
    spacing = st.floats(0.1, 5.0).map(lambda v: round(v, 3))
    return {
        "orientation": draw(st.sampled_from(ORIENTATIONS)),
        "spacing": (draw(spacing), draw(spacing)),
        "step": draw(spacing),
        "origin": tuple(round(draw(st.floats(-500, 500)), 3) for _ in range(3)),
    }


@st.composite
def habits(draw: st.DrawFn) -> dict[str, Any]:
    """Knobs of a factory that must not matter."""
    anywhere = st.sampled_from(("shared", "frame"))
    return {
        "undefined_length": draw(st.booleans()),
        "places": {"measures": draw(anywhere), "orientation": draw(anywhere)},
        "thickness": draw(st.sampled_from(("step", 9.0))),
        "offsets": draw(st.sampled_from(("empty", "basic", "extended"))),
    }


SYNTAXES = (S.IMPLICIT, S.EXPLICIT, S.BIG_ENDIAN, S.DEFLATED, S.RLE, S.DEFLATED_FRAME)


def masks_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Masks by label."""
    return {int(n): labels == n for n in np.unique(labels) if n}


def answer_of(seg: SegFactory, of: dict[int, np.ndarray]) -> Answer:
    """What is right about a factory's file."""
    return Answer(of, seg.affine)


@few
@given(label_arrays(), grids(), habits(), st.sampled_from(SYNTAXES), st.booleans())
def test_the_factorys_files_are_read_back(
    labels: np.ndarray, grid: dict[str, Any], habit: dict[str, Any], syntax: str, label_map: bool
) -> None:
    of = masks_of(labels)
    make = SegFactory.of_labels(labels, syntax=syntax, **grid, **habit) if label_map else None
    seg = make or SegFactory.of_masks(of, syntax=syntax, **grid, **habit)
    data = seg.build()
    volume = read(data)
    same_voxels(volume, answer_of(seg, of), tolerance_mm=1e-4)
    verify(data, volume)


@few
@given(label_arrays(), grids(), habits(), st.sampled_from((S.IMPLICIT, S.EXPLICIT, S.DEFLATED, S.RLE)))
def test_highdicom_reads_the_same(
    labels: np.ndarray, grid: dict[str, Any], habit: dict[str, Any], syntax: str
) -> None:
    data = SegFactory.of_labels(labels, syntax=syntax, **grid, **habit).build()
    same_as_peer(data, read_with_highdicom(data))


@fewer
@given(label_arrays(), grids(), habits(), st.sampled_from((S.IMPLICIT, S.EXPLICIT, S.BIG_ENDIAN, S.DEFLATED)))
@pytest.mark.oracle
def test_dcmqi_reads_the_same(
    labels: np.ndarray, grid: dict[str, Any], habit: dict[str, Any], syntax: str
) -> None:
    if dcmqi_binary() is None:
        pytest.skip("segimage2itkimage is not installed")
    # E50, E53: dcmqi wants shared orientation; E71: numbers from 1 without gaps.
    habit["places"] = {**habit["places"], "orientation": "shared"}
    numbers = np.unique(labels[labels > 0])
    dense = np.searchsorted(np.concatenate(([0], numbers)), labels).astype(np.uint8)
    data = SegFactory.of_masks(masks_of(dense), syntax=syntax, **grid, **habit).build()
    same_as_peer(data, read_with_dcmqi(data))


def same_as_peer(data: bytes, peer: Reading) -> None:
    """Assert that a peer and we read the same."""
    assert peer.error is None, peer.error
    volume = read(data)
    numbers = [s.number for s in volume.segments]
    ours = Answer({n: volume.mask(n) for n in numbers}, volume.grid.affine_lps)
    assert difference(peer, ours) is None


@few
@given(label_arrays(), st.booleans(), st.data())
def test_a_subset_is_what_it_says(labels: np.ndarray, label_map: bool, data: st.DataObject) -> None:
    of = masks_of(labels)
    wanted = data.draw(st.sets(st.sampled_from(sorted(of)), min_size=1))
    seg = SegFactory.of_labels(labels) if label_map else SegFactory.of_masks(of)
    volume = read(seg.build(), segments=wanted)
    same_voxels(volume, answer_of(seg, {n: of[n] for n in wanted}))


# --- files written by highdicom ----------------------------------------------------------------------


def source_images(shape: tuple[int, ...], grid: dict[str, Any]) -> list[Dataset]:
    """A CT series on the grid, one image per slice."""
    template = SegFactory.of_masks({1: np.ones(shape, bool)}, empty=True, **grid)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    images = []
    for k in range(shape[0]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = S.CT_IMAGE, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientID, ds.PatientName, ds.Modality = "P-1", "Phantom^One", "CT"
        ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.StudyID = ""
        ds.StudyDate, ds.StudyTime, ds.ReferringPhysicianName = "20260101", "000000", ""
        ds.PositionReferenceIndicator = ""
        ds.InstanceNumber, ds.SeriesNumber = k + 1, 1
        ds.Rows, ds.Columns = shape[1:]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.PixelSpacing, ds.SliceThickness = list(template.spacing), template.step
        ds.ImageOrientationPatient = list(template.orientation)
        ds.ImagePositionPatient = list(template.position(k))
        images.append(ds)
    return images


def written_by_highdicom(
    pixels: np.ndarray, kind: str, syntax: str, grid: dict[str, Any], numbers: list[int]
) -> bytes:
    """A SEG of the pixels by highdicom."""
    liver = highdicom.sr.CodedConcept("10200004", "SCT", "Liver")
    organ = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    algorithm = highdicom.AlgorithmIdentificationSequence("factory", liver, "1")
    described = [
        highdicom.seg.SegmentDescription(n, f"Segment {n}", organ, liver, "AUTOMATIC", algorithm)
        for n in numbers
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = highdicom.seg.Segmentation(
            source_images=source_images(pixels.shape, grid),
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=described,
            series_instance_uid=generate_uid(),
            series_number=2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="Factory",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=syntax,
            max_fractional_value=200,
        )
        buffer = io.BytesIO()
        seg.save_as(buffer)
    return buffer.getvalue()


NATIVE = (S.IMPLICIT, S.EXPLICIT)
CODED = (*NATIVE, S.RLE, S.JPEG_LS, S.JPEG_2000)


@st.composite
def coded_arrays(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    """Labels and a transfer syntax that can hold them (OpenJPEG wants planes of 32 by 32)."""
    syntax = draw(st.sampled_from(CODED))
    return draw(label_arrays(min_plane=32 if syntax in (S.JPEG_LS, S.JPEG_2000) else 1)), syntax


@few
@given(label_arrays(min_plane=3), grids(), st.sampled_from(NATIVE))
def test_round_trip_of_binary(labels: np.ndarray, grid: dict[str, Any], syntax: str) -> None:
    # highdicom 0.28.2 writes planes of fewer than 8 pixels wrong (each in a byte of its own).
    numbers = list(range(1, int(labels.max()) + 1))
    data = written_by_highdicom(labels, "BINARY", syntax, grid, numbers)
    of = {n: labels == n for n in numbers}
    round_trip(data, trimmed(of, labels.any(axis=(1, 2))), grid)


@few
@given(coded_arrays(), grids())
def test_round_trip_of_label_maps(coded: tuple[np.ndarray, str], grid: dict[str, Any]) -> None:
    labels, syntax = coded
    numbers = list(range(1, int(labels.max()) + 1))
    data = written_by_highdicom(labels, "LABELMAP", syntax, grid, numbers)
    round_trip(data, trimmed({n: labels == n for n in numbers}, labels.any(axis=(1, 2))), grid)


@few
@given(coded_arrays(), grids(), st.integers(0, 2**32 - 1))
def test_round_trip_of_fractions(coded: tuple[np.ndarray, str], grid: dict[str, Any], seed: int) -> None:
    labels, syntax = coded
    fractions = np.where(labels > 0, np.random.default_rng(seed).random(labels.shape), 0.0)
    fractions[[0, -1], 0, 0] = 0.5
    if fractions.size > 1:
        fractions[0, -1, -1] = 0.25
    data = written_by_highdicom(fractions, "FRACTIONAL", syntax, grid, [1])
    volume = read(data)
    stored = np.rint(fractions * 200)
    got = volume.fractions[1] if volume.fractions else volume.mask(1) * float(stored.max())
    seg = SegFactory.of_masks({1: fractions > 0}, **grid)
    assert np.array_equal(got, stored)
    same_place(volume, seg)
    verify(data, volume)


def trimmed(of: dict[int, np.ndarray], slices: np.ndarray) -> dict[int, np.ndarray]:
    """Without empty slices at the ends, which a SEG may leave out."""
    present = np.flatnonzero(slices)
    return {n: m[present[0] : present[-1] + 1] for n, m in of.items()}


def round_trip(data: bytes, of: dict[int, np.ndarray], grid: dict[str, Any]) -> None:
    """Assert that the masks come back where they were."""
    volume = read(data)
    seg = SegFactory.of_masks(of, **grid)
    for number, mask in of.items():
        if mask.any():
            assert np.array_equal(volume.mask(number), mask)
    same_place(volume, seg)
    verify(data, volume)


def same_place(volume: Any, seg: SegFactory) -> None:
    """Assert the affine; of a single slice all but the step, which its file may not say."""
    columns = [0, 1, 3] if volume.grid.shape[0] == 1 else [0, 1, 2, 3]
    assert np.allclose(volume.grid.affine_lps[:, columns], seg.affine[:, columns], atol=1e-4)
