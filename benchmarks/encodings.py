"""Masks as files: size, time to write and to read, memory; this project and its peers in one run.

Three objects: the 80 organs of the whole-body phantom, one small lesion, and five organs with
overlapping lesions. Each is written as BINARY and LABELMAP with every codec, and as NIfTI and NRRD;
every file is read back by whom wrote it. dcmqi starts from a NIfTI of the same voxels and a folder of
images, as its users do.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blobs import blobs
from benchmarks.timing import OUT, command, one_core
from segtools.decode import Concept, Grid, Segment, read
from segtools.encode import (
    Producer,
    Storage,
    Subject,
    encode_object,
    image_series,
)
from segtools.encode.frames.codecs import SYNTAX_OF
from segtools.encode.header.headers import DatasetHeader
from segtools.encode.header.source import source_of

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
LIVER = Concept("10200004", "SCT", "Liver")
AFFINE = np.array([[0.703125, 0, 0, -180], [0, 0.703125, 0, -172.5], [0, 0, 1.5, -312.75], [0, 0, 0, 1.0]])
OURS = "segtools"


def many_organs() -> dict[int, np.ndarray]:
    """80 organs that share no voxel, over 281 slices."""
    labels = blobs(80, (281, 512, 512), 48.9).labels
    return {0: labels}


def one_lesion() -> dict[int, np.ndarray]:
    """One lesion of 12 slices in a scan of 200."""
    labels = np.zeros((200, 512, 512), np.uint8)
    k, j, i = np.ogrid[:12, :24, :24]
    labels[90:102, 200:224, 300:324] = ((k - 6) / 6) ** 2 + ((j - 12) / 12) ** 2 + ((i - 12) / 12) ** 2 <= 1
    return {0: labels}


def overlapping() -> dict[int, np.ndarray]:
    """Five organs, and a lesion in each that shares its voxels: 10 segments in two layers."""
    labels = blobs(5, (200, 512, 512), 90.0, seed=3).labels
    lesions = np.zeros_like(labels)
    for number in range(1, 6):
        k, j, i = (int(axis.mean()) for axis in np.nonzero(labels == number))
        ball = np.s_[max(k - 4, 0) : k + 4, max(j - 8, 0) : j + 8, max(i - 8, 0) : i + 8]
        lesions[ball] = 5 + number
    return {0: labels, 1: lesions}


OBJECTS = {"80 organs": many_organs, "one lesion": one_lesion, "overlapping": overlapping}


class Scene:
    """One object: its voxels, its images, its segments.

    Attributes
    ----------
    layers : list of (k, j, i) uint8 ndarray
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.layers = list(OBJECTS[name]().values())
        self.grid = Grid(self.layers[0].shape, AFFINE)
        self.numbers = sorted({int(n) for layer in self.layers for n in np.unique(layer)} - {0})
        self.images = image_series(self.grid, Subject(name.replace(" ", "-")))
        self.source = source_of([(str(n), DatasetHeader(image)) for n, image in enumerate(self.images)])
        self.segments = [
            Segment(
                n,
                f"Structure {n}",
                category=ANATOMY,
                type=LIVER,
                algorithm_type="AUTOMATIC",
                algorithm_name="Net",
            )
            for n in self.numbers
        ]
        (folder / "images").mkdir(parents=True)
        for n, image in enumerate(self.images):
            image.Rows, image.Columns = self.grid.shape[1:]
            image.PixelData = bytes(2 * image.Rows * image.Columns)
            image["PixelData"].VR = "OW"
            image.save_as(folder / "images" / f"{n:04}.dcm", enforce_file_format=True)
            del image.PixelData

    @property
    def masks(self) -> Any:
        """A label map, or a mask of each segment."""
        if len(self.layers) == 1:
            return self.layers[0]
        return {n: layer == n for layer in self.layers for n in np.unique(layer).tolist() if n}


def ours(scene: Scene, kind: str, codec: str, path: Path) -> None:
    """Write with this project."""
    made = encode_object(
        scene.masks, scene.grid, scene.segments, source=scene.source, producer=Producer(),
        storage=Storage(kind, SYNTAX_OF[codec]),
    )  # fmt: skip
    made.write(path)


def by_highdicom(scene: Scene, kind: str, codec: str, path: Path) -> None:
    """Write with highdicom."""
    import highdicom as hd

    family = hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    described = [
        hd.seg.SegmentDescription(
            s.number, s.label, hd.sr.CodedConcept(*ANATOMY), hd.sr.CodedConcept(*LIVER), "AUTOMATIC",
            hd.AlgorithmIdentificationSequence("N", family, "1"),
        )
        for s in scene.segments
    ]  # fmt: skip
    pixels = scene.layers[0]
    if len(scene.layers) > 1:
        pixels = np.stack(
            [layer == n for layer in scene.layers for n in np.unique(layer).tolist() if n], axis=-1
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            scene.images, pixels.astype(np.uint8), kind, described, hd.UID(), 1, hd.UID(), 1,
            "m", "n", "1", "0",
            transfer_syntax_uid=SYNTAX_OF[codec],
        )  # fmt: skip
        made.save_as(path)


def by_dcmqi(scene: Scene, kind: str, codec: str, path: Path) -> None:
    """Write with dcmqi."""
    code = {"CodeValue": LIVER.value, "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    meta, masks = scene.folder / "meta.json", []
    for n, layer in enumerate(scene.layers):
        masks.append(scene.folder / f"layer{n}.nii.gz")
        if not masks[-1].exists():
            by_nibabel(layer, masks[-1])
    attributes = [
        [
            {
                "labelID": n, "SegmentLabel": str(n), "SegmentDescription": str(n),
                "SegmentAlgorithmType": "AUTOMATIC", "SegmentAlgorithmName": "N",
                "SegmentedPropertyCategoryCodeSequence": code,
                "SegmentedPropertyTypeCodeSequence": code,
            }
            for n in np.unique(layer).tolist() if n
        ]
        for layer in scene.layers
    ]  # fmt: skip
    meta.write_text(json.dumps({"segmentAttributes": attributes}))
    command(
        "itkimage2segimage", "--inputImageList", ",".join(map(str, masks)),
        "--inputDICOMDirectory", scene.folder / "images", "--inputMetadata", meta,
        "--outputDICOM", path, "--segmentationType", kind.lower(),
        "--compress", "deflate" if codec == "deflated" else "none",
    )()  # fmt: skip


def by_nibabel(layer: np.ndarray, path: Path) -> None:
    """Write NIfTI with nibabel."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(layer.T, np.diag([-1.0, -1, 1, 1]) @ AFFINE), path)


def by_simpleitk(layer: np.ndarray, path: Path) -> None:
    """Write NIfTI or NRRD with SimpleITK."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(layer)
    image.SetSpacing([float(v) for v in np.diag(AFFINE)[:3]])
    image.SetOrigin([float(v) for v in AFFINE[:3, 3]])
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def read_by_highdicom(path: Path) -> Any:
    """Read as one volume."""
    import highdicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return highdicom.seg.segread(path).get_volume(combine_segments=True, skip_overlap_checks=True).array


def read_by_nibabel(path: Path) -> Any:
    """Read all voxels."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)


def read_by_simpleitk(path: Path) -> Any:
    """Read all voxels."""
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


Call = Callable[[Path], Any]


def contenders(scene: Scene) -> Iterator[tuple[str, str, Call, Call | None, list[Path]]]:
    """Form, who, how it is written, how it is read, and the files."""
    for kind in ["BINARY"] if len(scene.layers) > 1 else ["LABELMAP", "BINARY"]:
        binary = kind == "BINARY"
        mine = (
            ("raw", "deflated", "deflated-frame")
            if binary
            else tuple(c for c in SYNTAX_OF if c != "implicit")
        )
        theirs = ("raw",) if binary else ("raw", "rle", "jpeg-ls", "jpeg-2000")
        for who, codecs, write, reader in (
            (OURS, mine, ours, read),
            ("highdicom", theirs, by_highdicom, read_by_highdicom),
            ("dcmqi", ("raw", "deflated"), by_dcmqi, None),
        ):
            for codec in codecs:
                path = scene.folder / f"{kind}-{codec}-{who}.dcm"
                yield f"{kind} {codec}", who, partial(write, scene, kind, codec), reader, [path]
    for suffix, who, write_one, read_one in (
        (".nii.gz", "nibabel", by_nibabel, read_by_nibabel),
        (".nii.gz", "SimpleITK", by_simpleitk, read_by_simpleitk),
        (".nrrd", "SimpleITK", by_simpleitk, read_by_simpleitk),
    ):
        paths = [scene.folder / f"{who}-{n}{suffix}" for n in range(len(scene.layers))]
        yield (
            suffix[1:],
            who,
            partial(_write_all, scene, paths, write_one),
            partial(_read_all, paths, read_one),
            paths,
        )


def _write_all(scene: Scene, paths: list[Path], write: Callable[[np.ndarray, Path], None], _: Path) -> None:
    for layer, path in zip(scene.layers, paths, strict=True):
        write(layer, path)


def _read_all(paths: list[Path], reader: Call, _: Path) -> list[Any]:
    return [reader(path) for path in paths]


def run() -> list[dict[str, Any]]:
    """Rows of the table; also benchmarks/out/encodings.json."""
    import highdicom  # noqa: F401 - peers' imports are not what is measured
    import nibabel  # noqa: F401
    import SimpleITK  # noqa: F401

    with tempfile.TemporaryDirectory() as name, one_core():
        scenes = (Scene(title, Path(name) / str(n)) for n, title in enumerate(OBJECTS))
        rows = [_measured(scene, *each) for scene in scenes for each in contenders(scene)]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "encodings.json").write_text(json.dumps(rows, indent=1))
    return rows


def _measured(
    scene: Scene, form: str, who: str, write: Call, reader: Call | None, paths: list[Path]
) -> dict[str, Any]:
    """CPU seconds of one call each; a peer's refusal is its result."""
    row: dict[str, Any] = {"what": f"{scene.name}: {form}", "who": who}
    for name, call in (("write_cpu_s", write), ("read_cpu_s", reader)):
        if call is None:
            continue
        gc.collect()
        before = _cpu()
        try:
            call(paths[0])
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way; that is its result
            row["note"] = f"failed: {type(error).__name__}: {str(error)[:80]}"
            break
        row[name] = round(_cpu() - before, 3)
        row["bytes"] = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink(missing_ok=True)
    return row


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
