"""From mask files, a description and a folder of images to a segmentation; each bad input to its code."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from segtools.decode import read
from segtools.encode import Storage, Subject, image_series
from segtools.encode.frames.codecs import RLE, SYNTAX_OF
from segtools.encode.jobs.run import prepare, run
from segtools.encode.jobs.spec import EncodeJob
from segtools.errors import SegtoolsError, UsageError
from segtools.terminology.laterality import laterality
from tests.encode.test_headers import assert_valid
from tests.factories import masks as made
from tests.factories.source_headers import (
    GRID,
    SHAPE,
    images,
    put,
    save,
)

LABELMAP = Storage("LABELMAP", RLE)
BINARY = Storage("BINARY")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return made.source_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    return made.write_dcmqi(
        tmp_path / "meta.json", [[made.dcmqi_segment(1), made.dcmqi_segment(2, "Spleen")]]
    )


def encoded(job: EncodeJob, folder: Path):
    (done,) = run(prepare(job), folder / "out.dcm")
    return done, read(done.path)


def assert_labels(volume, labels: np.ndarray | None = None) -> None:
    labels = made.label_map() if labels is None else labels
    np.testing.assert_allclose(volume.grid.affine_lps, GRID.affine_lps, atol=1e-5)
    for number in np.unique(labels[labels > 0]):
        np.testing.assert_array_equal(volume.mask(int(number)), labels == number)


@pytest.mark.parametrize("storage", [BINARY, LABELMAP], ids=lambda storage: storage.kind)
@pytest.mark.parametrize(
    "kind", ["nii", "nii.gz", "nrrd", "raw nrrd", "ras nrrd", "npz", "bool npz", "float nii"]
)
def test_every_kind_of_file(kind: str, storage: Storage, source: Path, meta: Path, tmp_path: Path) -> None:
    labels = made.label_map()
    affine = np.diag([-1.0, -1, 1, 1]) @ GRID.affine_lps
    path = tmp_path / f"mask.{kind.rpartition(' ')[2]}"
    if kind.endswith("npz"):
        stored = labels.T == 1 if kind.startswith("bool") else labels.T
        np.savez(path, mask=stored, affine=affine)
        labels = np.where(labels == 1, 1, 0) if kind.startswith("bool") else labels
    elif kind.endswith("nrrd"):
        made.write_nrrd(
            path,
            [labels.astype(np.int16)],
            encoding="raw" if kind.startswith("raw") else "gzip",
            space="right-anterior-superior" if kind.startswith("ras") else "left-posterior-superior",
        )
    elif kind == "nii":
        path.write_bytes(b"")
        zipped = made.write_nifti(tmp_path / "zipped.nii.gz", labels)
        import gzip

        path.write_bytes(gzip.decompress(zipped.read_bytes()))
    else:
        made.write_nifti(path, labels.astype(np.float32) if kind.startswith("float") else labels)
    storage = replace(storage, omit_empty_frames=False)
    done, volume = encoded(EncodeJob((path,), source, meta, storage=storage), tmp_path)
    assert_labels(volume, labels)
    assert done.quality.readers == ("idcseg", "highdicom")
    assert done.quality.modules_checked
    assert done.quality.voxels == np.count_nonzero(labels)
    assert_valid(done.path.read_bytes())
    beside = json.loads(done.path.with_suffix(".json").read_text())
    assert beside["SOPInstanceUID"] == done.sop_instance_uid == volume.header.sop_instance_uid
    assert beside["LabelledVoxels"] == np.count_nonzero(labels)


def test_flips_and_permutations_are_found_and_named(source: Path, meta: Path, tmp_path: Path) -> None:
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            labels, affine = made.flipped(made.label_map(), axes, signs)
            path = made.write_nifti(tmp_path / "mask.nii.gz", labels, affine)
            prepared = prepare(EncodeJob((path,), source, meta, storage=LABELMAP))
            named = any(finding.code == "mask-reoriented" for finding in prepared.findings)
            assert named == (axes != (0, 1, 2) or signs != (1, 1, 1))
            (plan,) = prepared.plans
            np.testing.assert_array_equal(plan.masks.layers[0], made.label_map(), err_msg=f"{axes} {signs}")


def test_a_part_of_the_grid_is_padded(source: Path, meta: Path, tmp_path: Path) -> None:
    labels = made.label_map()[1:, 2:, 3:]
    affine = GRID.affine_lps.copy()
    affine[:3, 3] = GRID.affine_lps[:3] @ (3, 2, 1, 1)
    path = made.write_nifti(tmp_path / "part.nii.gz", labels, affine)
    done, volume = encoded(
        EncodeJob((path,), source, meta, storage=replace(LABELMAP, omit_empty_frames=False)), tmp_path
    )
    wanted = made.label_map()
    wanted[0] = wanted[:, :2] = wanted[:, :, :3] = 0
    assert_labels(volume, wanted)
    assert "mask-padded" in {finding.code for finding in done.findings}


def off_grid(change: str) -> tuple[np.ndarray, np.ndarray]:
    affine, labels = GRID.affine_lps.copy(), made.label_map()
    if change == "another patient":
        affine[:3, 3] += (300, 200, 100)
    elif change == "half a voxel off":
        affine[0, 3] += 0.4
    elif change == "another spacing":
        affine[:3, :2] *= 1.1
    elif change == "twice the slices":
        labels = np.repeat(labels, 2, axis=0)
        affine[2, 2] /= 2
    elif change == "turned":
        c, s = np.cos(0.3), np.sin(0.3)
        affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    elif change == "voxels outside":
        affine[0, 3] += 4 * 0.8
    elif change == "no affine":
        affine[:3, :3] = 0
    return labels, affine


OFF_GRID = (
    "another patient",
    "half a voxel off",
    "another spacing",
    "twice the slices",
    "turned",
    "voxels outside",
)


@pytest.mark.parametrize("change", OFF_GRID)
def test_another_grid_is_refused_unless_regridded(
    change: str, source: Path, meta: Path, tmp_path: Path
) -> None:
    labels, affine = off_grid(change)
    path = made.write_nifti(tmp_path / "mask.nii.gz", labels, affine)
    job = EncodeJob((path,), source, meta, storage=LABELMAP)
    with pytest.raises(UsageError) as caught:
        prepare(job)
    assert caught.value.code == "mask-off-grid"
    prepared = prepare(replace(job, regrid="nearest"))
    assert "mask-regridded" in {finding.code for finding in prepared.findings}
    if change == "twice the slices":
        np.testing.assert_array_equal(prepared.plans[0].masks.layers[0], made.label_map())


def test_a_single_slice(tmp_path: Path, meta: Path) -> None:
    folder = save(images()[1:2], tmp_path / "one")
    affine = GRID.affine_lps.copy()
    affine[:3, 3] = GRID.affine_lps[:3] @ (0, 0, 1, 1)
    affine[2, 2] = 7  # nothing says how thick one slice is
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map()[1:2], affine)
    _, volume = encoded(EncodeJob((path,), folder, meta, storage=BINARY), tmp_path)
    np.testing.assert_array_equal(volume.mask(2)[0], made.label_map()[1] == 2)


def test_missing_slices_are_gaps(tmp_path: Path, meta: Path) -> None:
    folder = save([images()[0], images()[2]], tmp_path / "gap")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    done, volume = encoded(EncodeJob((path,), folder, meta, storage=BINARY), tmp_path)
    assert_labels(volume)
    assert "source-slices-missing" in {finding.code for finding in done.findings}
    assert len(volume.header.source_instance_uids) == 2


# --- which source ----------------------------------------------------------------------------------


def test_what_else_lies_in_the_folder(source: Path, meta: Path, tmp_path: Path) -> None:
    folder = made.source_folder(tmp_path / "study" / "ct")
    (tmp_path / "study" / "LICENSE").write_text("CC BY 4.0")
    (tmp_path / "study" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    other = image_series(GRID, Subject("99000"), modality="MR", name="other")
    for image in other:
        image.ImagePositionPatient = [0, 0, float(image.InstanceNumber)]
    save(other, tmp_path / "study" / "mr")
    scout = images()[0]
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID = "2.25.77"
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    save([scout], folder / "scout")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    job = EncodeJob((path,), tmp_path / "study", meta, storage=LABELMAP)
    done, volume = encoded(job, tmp_path)
    assert volume.header.source_series_uids == (images()[0].SeriesInstanceUID,)
    assert "source-files-skipped" in {finding.code for finding in done.findings}
    named = prepare(replace(job, series_uid=str(images()[0].SeriesInstanceUID)))
    assert named.plans[0].source.series_uid == images()[0].SeriesInstanceUID


def test_two_series_on_one_grid_need_a_name(meta: Path, tmp_path: Path) -> None:
    made.source_folder(tmp_path / "study" / "a")
    again = images()
    for n, image in enumerate(again):
        image.SeriesInstanceUID, image.SOPInstanceUID = "2.25.5", f"2.25.6{n}"
    save(again, tmp_path / "study" / "b")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    job = EncodeJob((path,), tmp_path / "study", meta, storage=LABELMAP)
    with pytest.raises(UsageError, match=r"2\.25\.5") as caught:
        prepare(job)
    assert caught.value.code == "source-inconsistent"
    assert prepare(replace(job, series_uid="2.25.5")).plans[0].source.series_uid == "2.25.5"
    for change, code in (
        (replace(job, series_uid="2.25.9"), "source-images-missing"),
        (replace(job, source=tmp_path / "none"), "not-found"),
    ):
        with pytest.raises(SegtoolsError) as caught:
            prepare(change)
        assert caught.value.code == code


def test_time_points_become_objects(meta: Path, tmp_path: Path) -> None:
    shots = []
    for time in range(2):
        for image in images():
            image.SOPInstanceUID += f".{time}"
            put(image, "AcquisitionNumber", time + 1)
            shots.append(image)
    folder = save(shots, tmp_path / "dynamic")
    labels = np.stack([made.label_map(), np.where(made.label_map() == 2, 2, 0).astype(np.uint8)])
    import nibabel

    path = tmp_path / "mask.nii.gz"
    nibabel.save(
        nibabel.Nifti1Image(labels.transpose(3, 2, 1, 0), np.diag([-1.0, -1, 1, 1]) @ GRID.affine_lps), path
    )
    done = run(prepare(EncodeJob((path,), folder, meta, storage=LABELMAP)), tmp_path / "out.dcm")
    volumes = [read(each.path) for each in done]
    for time, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.mask(1).any(), time == 0)
        assert all(uid.endswith(f".{time}") for uid in _frame_sources(done[time].path))
    assert len({volume.header.series_instance_uid for volume in volumes}) == 1


def _frame_sources(path: Path) -> list[str]:
    return [
        item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for item in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    ]


def test_projections_have_no_place(meta: Path, tmp_path: Path) -> None:
    image = images()[0]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        del image[keyword]
    image.SOPClassUID, image.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "DX"
    folder = save([image], tmp_path / "dx")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map()[1:2])
    for storage in (BINARY, LABELMAP):
        (done,) = run(
            prepare(EncodeJob((path,), folder, meta, storage=storage)), tmp_path / f"{storage.kind}.dcm"
        )
        dataset = pydicom.dcmread(done.path)
        assert "FrameOfReferenceUID" not in dataset
        assert _frame_sources(done.path)[0] == image.SOPInstanceUID
        np.testing.assert_array_equal(read(done.path).mask(2)[0], made.label_map()[1] == 2)


def test_enhanced_images_are_referred_to_by_frame(meta: Path, tmp_path: Path) -> None:
    flat = images()
    image = flat[0]
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    image.NumberOfFrames = 3
    groups = []
    for each in flat:
        item = pydicom.Dataset()
        item.PlanePositionSequence = [pydicom.Dataset()]
        item.PlanePositionSequence[0].ImagePositionPatient = each.ImagePositionPatient
        groups.append(item)
    shared = pydicom.Dataset()
    shared.PlaneOrientationSequence = [pydicom.Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = image.ImageOrientationPatient
    shared.PixelMeasuresSequence = [pydicom.Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = image.PixelSpacing
    shared.PixelMeasuresSequence[0].SliceThickness = "1"
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [shared], groups
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del image[keyword]
    folder = save([image], tmp_path / "enhanced")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    done, volume = encoded(EncodeJob((path,), folder, meta, storage=LABELMAP), tmp_path)
    assert_labels(volume)
    frames = [
        int(item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for item in pydicom.dcmread(done.path).PerFrameFunctionalGroupsSequence
    ]
    assert frames == [1, 2, 3]


def test_a_subject_stands_in_for_images(meta: Path, tmp_path: Path) -> None:
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    with pytest.raises(UsageError, match="whose") as caught:
        prepare(EncodeJob((path,), None, meta))
    assert caught.value.code == "source-images-missing"
    done, volume = encoded(EncodeJob((path,), None, meta, storage=LABELMAP, patient_id="P7"), tmp_path)
    assert_labels(volume)
    assert volume.header.patient_id == "P7"
    assert volume.header.source_instance_uids == ()
    assert_valid(done.path.read_bytes())


# --- what labels mean ------------------------------------------------------------------------------


def test_labels_and_descriptions_must_meet(source: Path, tmp_path: Path) -> None:
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    one = made.write_dcmqi(tmp_path / "one.json", [[made.dcmqi_segment(1)]])
    job, whole = EncodeJob((path,), source, one, storage=LABELMAP), replace(LABELMAP, omit_empty_frames=False)
    with pytest.raises(UsageError, match="not described: 2"):
        prepare(job)
    _, volume = encoded(replace(job, only_described=True, storage=whole), tmp_path)
    assert_labels(volume, np.where(made.label_map() == 1, 1, 0))
    three = made.write_dcmqi(tmp_path / "three.json", [[made.dcmqi_segment(n) for n in (1, 2, 3)]])
    done, volume = encoded(replace(job, meta=three), tmp_path)
    assert "label-unused" in {finding.code for finding in done.findings}
    assert [segment.number for segment in volume.segments] == [1, 2, 3]
    empty = made.write_nifti(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.uint8))
    done, volume = encoded(replace(job, masks=(empty,)), tmp_path)
    assert {"mask-empty", "label-unused"} <= {finding.code for finding in done.findings}
    assert not volume.mask(1).any()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.float32(0.5), "whole numbers"),
        (np.float32("nan"), "whole numbers"),
        (np.int16(-1), "labels from"),
        (np.float32(70000), "labels from"),
    ],
)
def test_what_is_no_label(values: np.generic, says: str, source: Path, meta: Path, tmp_path: Path) -> None:
    labels = made.label_map().astype(values.dtype)
    labels[0, 0, 0] = values
    path = made.write_nifti(tmp_path / "mask.nii.gz", labels)
    with pytest.raises(UsageError, match=says) as caught:
        prepare(EncodeJob((path,), source, meta))
    assert caught.value.code == "invalid-mask"


def test_numbers_as_dcmqi_gives_them(source: Path, tmp_path: Path) -> None:
    labels = made.label_map() * np.uint8(5)  # labels 5 and 10
    path = made.write_nifti(tmp_path / "mask.nii.gz", labels)
    meta = made.write_dcmqi(
        tmp_path / "meta.json", [[made.dcmqi_segment(10, "Spleen"), made.dcmqi_segment(5)]]
    )
    job = EncodeJob((path,), source, meta, storage=LABELMAP)
    _, volume = encoded(job, tmp_path)
    assert [(s.number, s.label) for s in volume.segments] == [(1, "Liver"), (2, "Spleen")]
    assert_labels(volume)
    _, volume = encoded(replace(job, use_label_ids=True), tmp_path)
    assert [(s.number, s.label) for s in volume.segments] == [(5, "Liver"), (10, "Spleen")]
    assert_labels(volume, labels)
    with pytest.raises(UsageError, match="must be 1 to n"):
        prepare(replace(job, use_label_ids=True, storage=BINARY))


def test_files_are_paired_in_order_or_by_name(source: Path, tmp_path: Path) -> None:
    labels = made.label_map()
    one = made.write_nifti(tmp_path / "one.nii.gz", np.where(labels == 1, 1, 0).astype(np.uint8))
    two = made.write_nifti(tmp_path / "two.nii.gz", np.where(labels == 2, 1, 0).astype(np.uint8))
    files = [[made.dcmqi_segment(1)], [made.dcmqi_segment(1, "Spleen")]]
    meta = made.write_dcmqi(tmp_path / "meta.json", files)
    _, volume = encoded(EncodeJob((one, two), source, meta, storage=LABELMAP), tmp_path)
    assert_labels(volume)
    named = made.write_dcmqi(
        tmp_path / "named.json", files, segmentAttributesFileMapping=["one.nii.gz", "two.nii.gz"]
    )
    _, volume = encoded(EncodeJob((two, one), source, named, storage=BINARY), tmp_path)
    assert_labels(volume)
    with pytest.raises(UsageError, match="describes 2 mask files, 1"):
        prepare(EncodeJob((one,), source, meta))
    with pytest.raises(UsageError, match="segmentAttributesFileMapping"):
        prepare(EncodeJob((one, made.write_nifti(tmp_path / "x.nii.gz", labels)), source, named))


def test_overlap_needs_binary(source: Path, tmp_path: Path) -> None:
    labels = made.label_map()
    whole = made.write_nifti(tmp_path / "whole.nii.gz", (labels > 0).astype(np.uint8))
    part = made.write_nifti(tmp_path / "part.nii.gz", (labels == 2).astype(np.uint8))
    meta = made.write_dcmqi(tmp_path / "meta.json", [[made.dcmqi_segment(1)], [made.dcmqi_segment(1)]])
    _, volume = encoded(EncodeJob((whole, part), source, meta, storage=BINARY), tmp_path)
    assert len(volume.layers) == 2
    np.testing.assert_array_equal(volume.mask(1), labels > 0)
    np.testing.assert_array_equal(volume.mask(2), labels == 2)
    with pytest.raises(UsageError, match="share voxels"):
        run(prepare(EncodeJob((whole, part), source, meta, storage=LABELMAP)), tmp_path / "l.dcm")


def test_slicers_segments_name_themselves(source: Path, tmp_path: Path) -> None:
    labels = made.label_map()
    kidney = "~".join(
        (
            "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list",
            "SCT^123037004^Anatomical Structure",
            "SCT^64033007^Kidney",
            "SCT^7771000^Left",
            "Anatomic codes - DICOM master list",
            "SCT^818983003^Abdomen",
            "^^|DICOM.SegmentAlgorithmType:MANUAL|",
        )
    )
    first = {
        "ID": "s0",
        "Name": "left kidney",
        "Color": "1 0.5 0",
        "LabelValue": "1",
        "Layer": "0",
        "Tags": kidney,
    }
    second = {"ID": "s1", "Name": "liver", "LabelValue": "1", "Layer": "1", "Tags": ""}
    fields = {f"Segment{n}_{k}": v for n, each in enumerate((first, second)) for k, v in each.items()}
    path = made.write_nrrd(
        tmp_path / "two.seg.nrrd", [(labels > 0).astype(np.uint8), (labels == 2).astype(np.uint8)], fields
    )
    _, volume = encoded(EncodeJob((path,), source, storage=BINARY), tmp_path)
    first, second = volume.segments
    assert (first.label, first.type.value, laterality(first), first.regions[0].meaning) == (
        "left kidney",
        "64033007",
        "left",
        "Abdomen",
    )
    assert (second.label, second.type.meaning) == ("liver", "Liver")
    assert first.cielab is not None
    np.testing.assert_array_equal(volume.mask(1), labels > 0)
    np.testing.assert_array_equal(volume.mask(2), labels == 2)
    unknown = made.write_nrrd(
        tmp_path / "x.seg.nrrd", [labels], {"Segment0_Name": "thing", "Segment0_LabelValue": "1"}
    )
    with pytest.raises(UsageError, match="no TerminologyEntry"):
        prepare(EncodeJob((unknown,), source))


def test_totalsegmentators_names_have_sides(source: Path, tmp_path: Path) -> None:
    labels = np.where(made.label_map() == 1, 2, np.where(made.label_map() == 2, 3, 0)).astype(np.uint8)
    path = made.write_nifti(tmp_path / "total.nii.gz", labels)
    job = EncodeJob((path,), source, labels="totalsegmentator", storage=LABELMAP)
    _, volume = encoded(job, tmp_path)
    sides = {s.label: laterality(s) for s in volume.segments}
    assert (sides["kidney_right"], sides["kidney_left"], sides["liver"]) == ("right", "left", None)
    assert len(volume.segments) == 117
    np.testing.assert_array_equal(volume.mask(2), labels == 2)
    single = made.write_nifti(tmp_path / "kidney_left.nii.gz", (labels == 3).astype(np.uint8))
    _, volume = encoded(replace(job, masks=(single,), storage=BINARY), tmp_path)
    assert [(s.number, s.label, s.type.value) for s in volume.segments] == [(1, "kidney_left", "64033007")]
    with pytest.raises(UsageError, match="no structure 'leaver'"):
        prepare(replace(job, masks=(single, made.write_nifti(tmp_path / "leaver.nii.gz", labels))))


def test_fractions_take_a_file_each(source: Path, meta: Path, tmp_path: Path) -> None:
    soft = np.linspace(0, 1, made.label_map().size, dtype=np.float32).reshape(SHAPE)
    path = made.write_nifti(tmp_path / "soft.nii.gz", soft)
    one = made.write_dcmqi(tmp_path / "one.json", [[made.dcmqi_segment(1)]])
    job = EncodeJob((path,), source, one, storage=Storage("FRACTIONAL", RLE))
    _, volume = encoded(job, tmp_path)
    np.testing.assert_array_equal(volume.fractions[1], np.rint(soft.astype(np.float64) * 255))
    for change, says in (
        ({"meta": meta}, "one segment per file"),
        ({"masks": (made.write_nifti(tmp_path / "x.nii.gz", soft * 2),)}, "fractions are 0 to 1"),
    ):
        with pytest.raises(UsageError, match=says):
            prepare(replace(job, **change))


def test_noise_is_found(tmp_path: Path, meta: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 2:12, 2:12] = 1
    labels[0, 15, 19] = labels[2, 15, 0] = 1
    path = made.write_nifti(tmp_path / "mask.nii.gz", labels)
    prepared = prepare(EncodeJob((path,), made.source_folder(tmp_path / "ct"), meta))
    (found,) = [finding for finding in prepared.findings if finding.code == "mask-fragments"]
    assert (found.segment_number, found.observed) == (1, "2")


@pytest.mark.parametrize("codec", SYNTAX_OF)
def test_the_same_seed_gives_the_same_bytes(codec: str, source: Path, meta: Path, tmp_path: Path) -> None:
    if codec == "jpeg-2000":
        pytest.skip("needs 32 rows and columns")
    path = made.write_nifti(tmp_path / "mask.nii.gz", made.label_map())
    job = EncodeJob(
        (path,), source, meta, storage=Storage("LABELMAP", SYNTAX_OF[codec], palette=True), seed="a"
    )
    (one,) = run(prepare(job), tmp_path / "one.dcm")
    (two,) = run(prepare(job), tmp_path / "two.dcm")
    assert one.path.read_bytes() == two.path.read_bytes()
    volume = read(one.path)
    assert_labels(volume)
    assert volume.segments[0].rgb is not None
    assert volume.segments[0].cielab is None
