"""From placed frames to label maps or fractions, by SegmentationType."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.labelmap.masks import stack_masks
from segtools.decode.labelmap.plan import PaintPlan
from segtools.decode.labelmap.stored_values import stack_fractions, stack_labels, stored_values
from segtools.decode.volume import Segment, SegVolume
from segtools.errors import CorruptSegError, UnsupportedSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from segtools.decode.geometry.frame_table import FrameTable
    from segtools.decode.geometry.grid import Placement
    from segtools.decode.instance import Instance

    Ints = npt.NDArray[np.int64]

_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_PADDING = 0x00280120
_BIT_FIELD_LEGEND = 0x0117
"""Group of the private legend that explains the bits of an analysis mask (ISPY2, ACRIN-6698)."""


def decode_voxels(
    instance: Instance,
    table: FrameTable,
    frames: Ints,
    placement: Placement,
    wanted: frozenset[int] | None,
    *,
    clip_fractions: bool,
    max_bytes: int,
) -> SegVolume:
    """Volume of frames that lie on one grid.

    Parameters
    ----------
    instance : Instance
    table : FrameTable
        Rows of `frames`.
    frames : (F,) int64 ndarray
        Frame numbers in `instance.frames`.
    placement : Placement
    wanted : frozenset of int or None
        SegmentNumbers to read; None is all.
    clip_fractions : bool
    max_bytes : int, bytes

    Raises
    ------
    CorruptSegError
        ``value-exceeds-maximum``, ``conflicting-frames``; those of compressed frames.
    UnsupportedSegError
        ``memory-limit``, ``bit-field-mask``.
    """
    there = frames < instance.frames.count  # fewer where a truncated PixelData was accepted
    if instance.kind == "LABELMAP" and table.count:
        return _label_map(instance, frames[there], placement, there, wanted, max_bytes)
    segments, findings = _declared(instance, table)
    if wanted is not None:
        there &= np.isin(table.segment, sorted(wanted))
        segments = tuple(segment for segment in segments if segment.number in wanted)
    order = np.flatnonzero(there)
    order = order[np.argsort(table.segment[order], kind="stable")]
    highest = int(table.segment.max(initial=0))
    plan = PaintPlan(
        placement.grid.shape,
        frames[order],
        placement.slice_of_frame[order],
        table.segment[order],
        _UINT8 if highest <= 255 else _UINT16,
        max_bytes,
    )
    if instance.kind == "FRACTIONAL" and table.count:
        fractions = _fractions(instance, plan, clip_fractions)
        if isinstance(fractions, Finding):
            findings.append(fractions)
        else:
            return _fraction_volume(instance, segments, plan, placement, fractions, findings)
    return _mask_volume(instance, segments, plan, placement, findings)


def _mask_volume(
    instance: Instance,
    segments: tuple[Segment, ...],
    plan: PaintPlan,
    placement: Placement,
    findings: list[Finding],
) -> SegVolume:
    layers = stack_masks(instance.frames, plan)
    findings += _repeated(layers.repeated)
    findings += _overlap(instance, len(layers.arrays))
    layer_of = {segment.number: layers.layer_of.get(segment.number, 0) for segment in segments}
    empty = {segment.number for segment in segments} - (layers.layer_of.keys() - set(layers.empty))
    findings += _empty(empty)
    return SegVolume(
        tuple(layers.arrays),
        layer_of,
        segments,
        placement.grid,
        instance.header,
        tuple(findings),
        filled=tuple(zip(layers.arrays, layers.filled(plan), strict=True)),
    )


def _label_map(
    instance: Instance,
    frames: Ints,
    placement: Placement,
    there: npt.NDArray[np.bool_],
    wanted: frozenset[int] | None,
    max_bytes: int,
) -> SegVolume:
    probe = instance.frames.frame(int(frames[0]))
    dtype = _UINT8 if probe.dtype.itemsize == 1 else _UINT16
    where = placement.slice_of_frame[there]
    plan = PaintPlan(placement.grid.shape, frames, where, np.zeros(len(frames), np.int64), dtype, max_bytes)
    padding = instance.structure.integer(_PADDING)
    background = padding if padding is not None and 0 < padding < 1 << (8 * dtype.itemsize) else 0
    labels = stack_labels(instance.frames, plan, background)
    findings = [_repeated_labels(labels.repeated)] if labels.repeated else []
    array, present = labels.array, set(labels.present.tolist())
    declared = {segment.number: segment for segment in instance.segments}
    zero_is_segment = 0 in declared
    if background and not zero_is_segment:
        array[array == background] = 0
        present = (present - {background}) | ({0} if background in present else set())
        findings.append(
            Finding(
                "padding-value-mapped",
                f"PixelPaddingValue (0028,0120) is {background}: those voxels became 0.",
                observed=str(background),
                expected="0",
                tag="(0028,0120)",
            )
        )
    elif zero_is_segment and 0 in present:
        findings.append(_zero(background))
    not_labels = {background} if zero_is_segment else {0}
    undeclared = sorted(present - declared.keys() - not_labels)
    findings += _undeclared(undeclared, "voxels")
    segments = sorted([*declared.values(), *map(Segment, undeclared)], key=lambda segment: segment.number)
    if wanted is not None:
        segments = [segment for segment in segments if segment.number in wanted]
        keep = np.zeros(1 << (8 * dtype.itemsize), dtype)
        numbers = sorted(wanted & present)
        keep[numbers] = numbers
        array = keep[array]
    findings += _empty({segment.number for segment in segments} - present)
    if dtype == _UINT16 and max(present, default=0) <= 255:
        array = array.astype(np.uint8)
    return SegVolume(
        (array,),
        {segment.number: 0 for segment in segments},
        tuple(segments),
        placement.grid,
        instance.header,
        tuple(findings),
        filled=() if background else ((array, _slices(plan, where)),),
    )


def _fractions(instance: Instance, plan: PaintPlan, clip: bool) -> tuple[int, list[Finding]] | Finding:
    """Tell what the stored values are: fractions (maximum to clip at, findings), or a mask (the finding).

    Raises
    ------
    CorruptSegError
        ``value-exceeds-maximum``, ``missing-attribute``.
    UnsupportedSegError
        ``bit-field-mask``.
    """
    probe = instance.frames.frame(int(plan.frame[0])) if len(plan.frame) else np.zeros(0, np.uint8)
    dtype = _UINT8 if probe.dtype.itemsize == 1 else _UINT16
    values = [v for v in stored_values(instance.frames, plan.frame.tolist(), dtype) if v]
    maximum = instance.header.max_fractional_value
    if len(values) == 1 and values[0] == maximum:
        return Finding(
            "pseudo-binary-fractional",
            f"FRACTIONAL with the values 0 and MaximumFractionalValue (0062,000E) {maximum} only.",
            tag="(0062,000E)",
        )
    if _is_bit_field(instance) and any(value != maximum for value in values):
        raise UnsupportedSegError(
            "bit-field-mask",
            f"The values {', '.join(map(str, values[:8]))} are bit fields of an analysis mask.",
            values=values[:64],
        )
    if len(values) == 1 and (maximum is None or values[0] < maximum):
        return Finding(
            "misdeclared-maximum",
            f"FRACTIONAL with the single value {values[0]} besides 0, MaximumFractionalValue (0062,000E) "
            f"is {maximum}.",
            observed=str(values[0]),
            expected=str(maximum),
            tag="(0062,000E)",
        )
    if maximum is None or maximum <= 0:
        raise CorruptSegError(
            "missing-attribute",
            f"MaximumFractionalValue (0062,000E) is {maximum or 'absent'}; fractions have no scale.",
            tag="(0062,000E)",
        )
    if not values or values[-1] <= maximum:
        return maximum, []
    message = f"The value {values[-1]} is above MaximumFractionalValue (0062,000E) {maximum}."
    if not clip:
        raise CorruptSegError("value-exceeds-maximum", message, tag="(0062,000E)", value=values[-1])
    return maximum, [
        Finding("fraction-above-maximum", message, observed=str(values[-1]), expected=str(maximum))
    ]


def _is_bit_field(instance: Instance) -> bool:
    """Whether the file says that its values are bit fields, by its name or by a private legend."""
    structure = instance.structure
    texts = [structure.text(tag) for tag in (0x0008103E, 0x00700080, 0x00700081)]
    texts += [text for segment in instance.segments for text in (segment.label, segment.description)]
    named = any("analysis mask" in text.lower().replace("_", " ") for text in texts if text)
    return named or any(tag >> 16 == _BIT_FIELD_LEGEND and tag & 0xFF == 0xD3 for tag in structure.elements)


def _fraction_volume(
    instance: Instance,
    segments: tuple[Segment, ...],
    plan: PaintPlan,
    placement: Placement,
    values: tuple[int, list[Finding]],
    findings: list[Finding],
) -> SegVolume:
    maximum, more = values
    repeated = [number for number, _, where in plan.runs() if len(np.unique(where)) < len(where)]
    sixteen = len(plan.frame) and instance.frames.frame(int(plan.frame[0])).dtype.itemsize == 2
    typed = PaintPlan(
        plan.shape, plan.frame, plan.slice, plan.segment, _UINT16 if sixteen else _UINT8, plan.max_bytes
    )
    fractions = stack_fractions(instance.frames, typed, maximum if more else None)
    empty = {segment.number for segment in segments} - {
        number for number, array in fractions.items() if array.any()
    }
    for number in sorted({segment.number for segment in segments} - fractions.keys()):
        fractions[number] = np.zeros(plan.shape, typed.dtype)
    return SegVolume(
        (),
        {},
        segments,
        placement.grid,
        instance.header,
        (*findings, *more, *_repeated(repeated), *_empty(empty)),
        fractions,
        tuple((fractions[number], _slices(plan, where)) for number, _, where in plan.runs()),
    )


def _slices(plan: PaintPlan, where: Ints) -> npt.NDArray[np.bool_]:
    flags = np.zeros(plan.shape[0], np.bool_)
    flags[where] = True
    return flags


def _declared(instance: Instance, table: FrameTable) -> tuple[tuple[Segment, ...], list[Finding]]:
    """Segments described, and those that frames name besides."""
    declared = {segment.number for segment in instance.segments}
    undeclared = sorted(set(table.segment.tolist()) - declared)
    segments = sorted([*instance.segments, *map(Segment, undeclared)], key=lambda segment: segment.number)
    return tuple(segments), _undeclared(undeclared, "frames")


def _undeclared(numbers: Collection[int], what: str) -> list[Finding]:
    return [
        Finding(
            "undeclared-label",
            f"There are {what} of segment {number}, which SegmentSequence (0062,0002) lacks.",
            scope="segment",
            segment_number=number,
            tag="(0062,0002)",
        )
        for number in numbers
    ]


def _empty(numbers: Collection[int]) -> list[Finding]:
    return [
        Finding("empty-segment", f"Segment {number} has no voxels.", scope="segment", segment_number=number)
        for number in sorted(numbers)
    ]


def _repeated(numbers: Collection[int]) -> list[Finding]:
    return [
        Finding(
            "duplicate-frames",
            f"Segment {number} has several frames at one position; they are equal, one was read.",
            scope="segment",
            segment_number=number,
        )
        for number in numbers
    ]


def _repeated_labels(count: int) -> Finding:
    return Finding("duplicate-frames", f"{count} frames lie where another frame does; they were united.")


def _zero(background: int) -> Finding:
    what = f"; PixelPaddingValue {background} is background" if background else ""
    return Finding(
        "zero-is-segment", f"Voxels of value 0 are segment 0{what}.", scope="segment", segment_number=0
    )


def _overlap(instance: Instance, layers: int) -> list[Finding]:
    """Tell what the layers say, beside SegmentsOverlap (0062,0013); it is never believed."""
    if layers == 1:
        return []
    message = f"Segments share voxels; they lie in {layers} layers."
    findings = [Finding("segments-overlap", message, observed=str(layers), expected="1")]
    if instance.header.segments_overlap == "NO":
        findings.append(
            Finding(
                "overlap-contradicts-header",
                "SegmentsOverlap (0062,0013) is NO, but segments share voxels.",
                observed="YES",
                expected="NO",
                tag="(0062,0013)",
            )
        )
    return findings
