"""Segments of a job: labels of several files, described, numbered and layered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.decode.volume import Segment
from segtools.encode.frames.masks import Masks
from segtools.encode.inputs.mask import MaskFile, whole_numbers
from segtools.encode.metadata.description import Description
from segtools.encode.validate import check_labels
from segtools.encode.write.segments import check_segments
from segtools.errors import UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    import numpy.typing as npt

from segtools.encode.jobs.spec import EncodeJob

Key = tuple[int, int]


def label_masks(
    job: EncodeJob,
    files: list[MaskFile],
    layered: list[tuple[npt.NDArray[Any], ...]],
    description: Description,
    findings: list[Finding],
) -> tuple[Masks, list[Segment]]:
    """Label arrays of all files as layers, and their segments renumbered."""
    layers: list[npt.NDArray[Any]] = []
    entries: list[tuple[Key, Segment]] = []
    for file, given, described in zip(files, layered, description.files, strict=True):
        arrays = [whole_numbers(layer, file.name) for layer in given]
        found = check_labels(file.name, arrays, described)
        undescribed = [finding for finding in found if finding.code == "label-undescribed"]
        if undescribed and not job.only_described:
            raise UsageError(
                "invalid-mask",
                undescribed[0].message,
                hint="Describe them, or leave them out with --only-described.",
            )
        findings += [finding for finding in found if finding not in undescribed]
        if undescribed:
            arrays = [_only(n, array, described) for n, array in enumerate(arrays)]
        entries += [((len(layers) + n, label), segment) for (n, label), segment in sorted(described.items())]
        layers += arrays
    segments = _numbered(job, description, [segment for _, segment in entries])
    place = {segment.number: key for segment, (key, _) in zip(segments, entries, strict=True)}
    ordered = check_segments(segments, job.storage.kind)
    return _merged(Masks(layers[0].shape, tuple(layers), place)), ordered


def _only(n: int, array: npt.NDArray[Any], described: Mapping[Key, Segment]) -> npt.NDArray[Any]:
    """Make every label of a layer background that is not described."""
    table = np.zeros(1 << (8 * array.dtype.itemsize), array.dtype)
    for layer, label in described:
        if layer == n and label < len(table):
            table[label] = label
    kept: npt.NDArray[Any] = table[array]
    return kept


def _numbered(job: EncodeJob, description: Description, segments: list[Segment]) -> list[Segment]:
    """Segments with their numbers: labels as they are, or 1 to n in order."""
    labels = [segment.number for segment in segments]
    unique = len(set(labels)) == len(labels)
    in_order = sorted(labels) == list(range(1, len(labels) + 1))
    keep = job.use_label_ids if job.use_label_ids is not None else description.keeps_labels
    if keep is None:
        keep = unique and (job.storage.kind == "LABELMAP" or in_order)
    if keep:
        return segments
    return [replace(segment, number=n) for n, segment in enumerate(segments, start=1)]


def _merged(masks: Masks) -> Masks:
    """Layers that share no voxel as one, so that a LABELMAP can hold them and overlap is told right."""
    if len(masks.layers) == 1:
        return masks
    dtype = np.uint8 if max(masks.place) < 256 else np.uint16
    merged: list[npt.NDArray[Any]] = []
    place: dict[int, Key] = {}
    for n, layer in enumerate(masks.layers):
        numbers = {number: value for number, (at, value) in masks.place.items() if at == n}
        table = np.zeros(1 << (8 * layer.dtype.itemsize), dtype)
        for number, value in numbers.items():
            if value < len(table):  # a label that the mask lacks may be too large for its type
                table[value] = number
        renumbered = table[layer]
        free = next((m for m, kept in enumerate(merged) if not np.any((kept != 0) & (renumbered != 0))), None)
        if free is None:
            merged.append(renumbered)
        else:
            np.maximum(merged[free], renumbered, out=merged[free])
        place |= {number: (len(merged) - 1 if free is None else free, number) for number in numbers}
    return Masks(masks.shape, tuple(merged), place)


def fraction_masks(
    job: EncodeJob,
    files: list[MaskFile],
    layered: list[tuple[npt.NDArray[Any], ...]],
    description: Description,
) -> tuple[Masks, list[Segment]]:
    """One segment per file, its values 0 to 1."""
    fractions, segments = {}, []
    for number, (file, given, described) in enumerate(
        zip(files, layered, description.files, strict=True), start=1
    ):
        if len(described) != 1 or len(given) != 1:
            raise UsageError(
                "invalid-mask",
                f"{file.name}: FRACTIONAL takes one segment per file, {len(described)} are described.",
            )
        array = given[0]
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise UsageError(
                "invalid-mask",
                f"{file.name} has values from {array.min()} to {array.max()}; fractions are 0 to 1.",
            )
        fractions[number] = array
        segments.append(replace(next(iter(described.values())), number=number))
    return Masks(layered[0][0].shape, fractions=fractions), check_segments(segments, "FRACTIONAL")
