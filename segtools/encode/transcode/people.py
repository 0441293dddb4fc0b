"""A segmentation as files for people: NIfTI, NRRD or Slicer's ``.seg.nrrd``, with what labels mean.

Beside each volume: dcmqi's JSON, from which `idcseg encode` (and dcmqi) make the segmentation again, and
Slicer's colour table.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from isal import isal_zlib

from segtools.errors import UsageError
from segtools.files import replacing, write_bytes
from segtools.nifti.writer import write_volume
from segtools.terminology.color import color_hex

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.volume import Segment, SegVolume
    from segtools.terminology.concepts import Concept

Format = Literal["seg.nrrd", "nrrd", "nii.gz"]
_GZIP = 31
_CATEGORY_CONTEXT = "Segmentation category and type - DICOM master list"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"


def write_for_people(volume: SegVolume, output: Path, kind: Format) -> list[Path]:
    """Write a decoded segmentation; of several layers one file each, unless the format stacks them.

    Parameters
    ----------
    volume : SegVolume
    output : Path
        ``NAME.seg.nrrd``, ``NAME.nrrd`` or ``NAME.nii.gz``.
    kind : {"seg.nrrd", "nrrd", "nii.gz"}

    Returns
    -------
    list of Path
        Volumes, then ``NAME.json`` and ``NAME.csv``.

    Raises
    ------
    UsageError
        ``transcode-unlawful``: true fractions.
    WriteError, EnvironmentProblem
        As `segtools.files.replacing`.
    """
    if volume.fractions:
        raise UsageError("transcode-unlawful", "True fractions have no labels; `idcseg decode` writes them.")
    stem = output.name.removesuffix(f".{kind}")
    written = []
    if kind == "seg.nrrd":
        write_nrrd(output, volume.layers, volume.grid.affine_lps, slicer_fields(volume))
        written.append(output)
    else:
        for n, layer in enumerate(volume.layers, start=1):
            path = output if len(volume.layers) == 1 else output.with_name(f"{stem}-{n}.{kind}")
            if kind == "nii.gz":
                write_volume(path, layer, volume.grid.affine_ras)
            else:
                write_nrrd(path, (layer,), volume.grid.affine_lps, {})
            written.append(path)
    meta, table = output.with_name(f"{stem}.json"), output.with_name(f"{stem}.csv")
    write_bytes(meta, (json.dumps(dcmqi_json(volume), indent=2, ensure_ascii=False) + "\n").encode())
    write_bytes(table, color_table(volume.segments).encode())
    return [*written, meta, table]


def write_nrrd(
    path: Path, layers: tuple[npt.NDArray[Any], ...], affine: npt.NDArray[np.float64], fields: dict[str, str]
) -> None:
    """Write label arrays as gzipped NRRD; several layers are stacked along a first axis ``list``."""
    layered = len(layers) > 1
    kinds = {"uint8": "unsigned char", "uint16": "unsigned short"}
    dtype = max((layer.dtype for layer in layers), key=lambda each: each.itemsize)
    vectors = ["(" + ",".join(f"{value:.17g}" for value in affine[:3, column]) + ")" for column in range(4)]
    sizes = [*([len(layers)] if layered else []), *reversed(layers[0].shape)]
    lines = [
        "NRRD0004",
        f"type: {kinds[dtype.name]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(['none'] * layered + vectors[:3])}",
        f"kinds: {' '.join(['list'] * layered + ['domain'] * 3)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: {vectors[3]}",
        *(f"{key}:={_escaped(value)}" for key, value in fields.items()),
    ]
    packer = isal_zlib.compressobj(2, wbits=_GZIP)
    with replacing(path) as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        for k in range(layers[0].shape[0]):
            planes = [np.asarray(layer[k], dtype.newbyteorder("<")) for layer in layers]
            together = np.stack(planes, axis=-1) if layered else planes[0]
            file.write(packer.compress(together.tobytes()))
        file.write(packer.flush())


def _escaped(text: str) -> str:
    """Key/value text of an NRRD: one line, backslashes doubled."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", " ")


def slicer_fields(volume: SegVolume) -> dict[str, str]:
    """Fields of Slicer's segments: name, colour, layer, label, terminology."""
    fields = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    k, j, i = volume.grid.shape
    for n, segment in enumerate(volume.segments):
        rgb = bytes.fromhex(color_hex(segment)[1:])
        fields |= {
            f"Segment{n}_ID": f"Segment_{segment.number}",
            f"Segment{n}_Name": segment.label or f"Segment {segment.number}",
            f"Segment{n}_NameAutoGenerated": "0",
            f"Segment{n}_Color": " ".join(f"{part / 255:.6g}" for part in rgb),
            f"Segment{n}_ColorAutoGenerated": "0",
            f"Segment{n}_Extent": f"0 {i - 1} 0 {j - 1} 0 {k - 1}",
            f"Segment{n}_LabelValue": str(segment.number),
            f"Segment{n}_Layer": str(volume.layer_of[segment.number]),
            f"Segment{n}_Tags": _tags(segment),
        }
    return fields


def _tags(segment: Segment) -> str:
    parts = (
        _CATEGORY_CONTEXT,
        _slicer_code(segment.category),
        _slicer_code(segment.type),
        _slicer_code(next(iter(segment.type_modifiers), None)),
        _REGION_CONTEXT,
        _slicer_code(next(iter(segment.regions), None)),
        _slicer_code(next(iter(segment.region_modifiers), None)),
    )
    tags = {"TerminologyEntry": "~".join(parts)}
    if segment.algorithm_type:
        tags["DICOM.SegmentAlgorithmType"] = segment.algorithm_type
    if segment.algorithm_name:
        tags["DICOM.SegmentAlgorithmName"] = segment.algorithm_name.replace("|", " ")
    return "".join(f"{key}:{value}|" for key, value in tags.items())


def _slicer_code(concept: Concept | None) -> str:
    if concept is None:
        return "^^"
    clean = [part.replace("^", " ").replace("~", " ").replace("|", " ") for part in concept]
    return f"{clean[1]}^{clean[0]}^{clean[2]}"


def dcmqi_json(volume: SegVolume) -> dict[str, Any]:
    """Dcmqi's JSON: one list of segments per layer."""
    layers: list[list[dict[str, Any]]] = [[] for _ in volume.layers]
    for segment in volume.segments:
        layers[volume.layer_of[segment.number]].append(_dcmqi_segment(segment))
    head = volume.header
    content = {
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/seg-schema.json#",
        "SeriesDescription": head.series_description,
        "ContentLabel": head.content_label,
        "segmentAttributes": [layer for layer in layers if layer],
    }
    return {key: value for key, value in content.items() if value}


def _dcmqi_segment(segment: Segment) -> dict[str, Any]:
    codes = {
        "SegmentedPropertyCategoryCodeSequence": segment.category,
        "SegmentedPropertyTypeCodeSequence": segment.type,
        "SegmentedPropertyTypeModifierCodeSequence": next(iter(segment.type_modifiers), None),
        "AnatomicRegionSequence": next(iter(segment.regions), None),
        "AnatomicRegionModifierSequence": next(iter(segment.region_modifiers), None),
    }
    item: dict[str, Any] = {
        "labelID": segment.number,
        "SegmentLabel": segment.label,
        "SegmentDescription": segment.description,
        "SegmentAlgorithmType": segment.algorithm_type,
        "SegmentAlgorithmName": segment.algorithm_name,
        "RecommendedDisplayCIELabValue": list(segment.cielab) if segment.cielab else None,
        "recommendedDisplayRGBValue": None if segment.cielab else list(bytes.fromhex(color_hex(segment)[1:])),
        "TrackingIdentifier": segment.tracking_id,
        "TrackingUniqueIdentifier": segment.tracking_uid,
    }
    for name, concept in codes.items():
        if concept is not None:
            item[name] = {
                "CodeValue": concept.value,
                "CodingSchemeDesignator": concept.scheme,
                "CodeMeaning": concept.meaning,
            }
    return {key: value for key, value in item.items() if value is not None}


def color_table(segments: tuple[Segment, ...]) -> str:
    """Slicer's colour table: label, name, colour 0 to 255."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A"))
    for segment in segments:
        rgb = bytes.fromhex(color_hex(segment)[1:])
        writer.writerow((segment.number, segment.label or f"Segment {segment.number}", *rgb, 255))
    return text.getvalue()
