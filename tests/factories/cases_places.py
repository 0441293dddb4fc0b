"""Edge cases E105, E106, E112 and E113: positions far apart, frames that share one, and places that nobody states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from segtools.decode.measure import measure
from tests.factories import seg as S
from tests.factories.case import (
    Answer,
    Case,
    answer,
    bad,
    good,
    labelled,
    masks,
)
from tests.factories.seg import UID, Frame, SegFactory

Mark = Callable[[Dataset, int, int], None]
"""Marks the functional groups of a frame: its phase, and its number among all frames."""


def place_cases() -> list[Case]:
    """All of them."""
    return [*_far_apart(), *_one_position(), *_made_up(), _many_layers()]


def _far_apart() -> list[Case]:
    of = masks((4, 7, 9), numbers=(1,))
    near = SegFactory.of_masks(of, step=0.6)
    slices = [0, 1, 2, 3, 2000, 2001, 2002, 2003]
    frames = tuple(Frame(of[1][n % 4], k, 1) for n, k in enumerate(slices))
    whole = np.zeros((2004, 7, 9), bool)
    whole[slices] = of[1][[0, 1, 2, 3] * 2]
    lesions = near.but(frames=frames)
    odd = [replace(f, position=lesions.position(f.k + (0.5 if f.k > 3 else 0))) for f in frames]
    many = tuple(replace(f, segment=n + 1) for n, f in enumerate(frames))
    each = {n + 1: np.zeros_like(whole) for n in range(8)}
    for n, k in enumerate(slices):
        each[n + 1][k] = whole[k]
    missing = "missing-slices"
    return [
        good("E105", "two lesions of one segment, 1.2 m apart", lesions, {1: whole}, missing),
        good(
            "E105:unstated", "and nothing states the spacing", lesions.but(between=None), {1: whole}, missing
        ),
        good(
            "E105:segments",
            "a segment for every slice of them",
            lesions.but(frames=many, described=None),
            each,
            missing,
        ),
        bad(
            "E105:odd",
            "the second lesion lies half a slice off",
            lesions.but(frames=tuple(odd), between=None),
            "irregular-spacing",
        ),
        bad(
            "E105:huge",
            "two lesions, with 200,000 slices of 2,560 × 2,560 between them",
            SegFactory(
                (Frame(np.ones((2560, 2560), bool), 0, 1), Frame(np.ones((2560, 2560), bool), 200_000, 1))
            ),
            "memory-limit",
        ),
    ]


def _in_content(keyword: str, value: Callable[[int], object]) -> Mark:
    def mark(groups: Dataset, phase: int, index: int) -> None:
        setattr(groups.FrameContentSequence[0], keyword, value(phase))

    return mark


def _in_group(group: str, keyword: str, value: Callable[[int], object]) -> Mark:
    def mark(groups: Dataset, phase: int, index: int) -> None:
        item = Dataset()
        setattr(item, keyword, value(phase))
        setattr(groups, group, Sequence([item]))

    return mark


def _by_dimension(groups: Dataset, phase: int, index: int) -> None:
    content = groups.FrameContentSequence[0]
    content.DimensionIndexValues = [*content.DimensionIndexValues, phase + 1]


def _by_source(groups: Dataset, phase: int, index: int) -> None:
    source = groups.DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = f"{UID}.8.{index + 1}"


def _not_at_all(groups: Dataset, phase: int, index: int) -> None:
    """Nothing tells the phases apart."""


MARKS: dict[str, tuple[str, Mark]] = {
    "number": ("FrameAcquisitionNumber", _in_content("FrameAcquisitionNumber", lambda phase: phase + 1)),
    "time": (
        "FrameAcquisitionDateTime",
        _in_content("FrameAcquisitionDateTime", lambda p: f"2026010100000{p}"),
    ),
    "dimension": ("a dimension index", _by_dimension),
    "b-value": (
        "DiffusionBValue",
        _in_group("MRDiffusionSequence", "DiffusionBValue", lambda p: 50.0 + 750 * p),
    ),
    "echo": ("EffectiveEchoTime", _in_group("MREchoSequence", "EffectiveEchoTime", lambda p: 2.0 + 3 * p)),
    "heart": (
        "NominalPercentageOfCardiacPhase",
        _in_group(
            "CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", lambda p: 10.0 + 30 * p
        ),
    ),
    "delay": (
        "NominalCardiacTriggerDelayTime",
        _in_group("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", lambda p: 100.0 * p),
    ),
    "stack": ("StackID", _in_content("StackID", lambda phase: str(phase + 1))),
}
"""What may tell two phases of whole volumes apart."""


def phases(*volumes: SegFactory, mark: Mark = _not_at_all) -> SegFactory:
    """All frames of several volumes, marked by what volume they are of."""
    frames: list[Frame] = []
    for phase, seg in enumerate(volumes):
        for frame in seg.frames:

            def edit(groups: Dataset, phase: int = phase, index: int = len(frames)) -> None:
                mark(groups, phase, index)

            frames.append(replace(frame, edit=edit))
    return volumes[0].but(frames=tuple(frames))


def _one_position() -> list[Case]:
    of, other = masks(), masks(seed=5)
    one, two = SegFactory.of_masks(of), SegFactory.of_masks(other)
    labels, other_labels = labelled(), labelled(seed=5)
    maps = SegFactory.of_labels(labels), SegFactory.of_labels(other_labels)
    parts = answer(one, of), answer(two, other)
    map_parts = tuple(
        answer(seg, {n: values == n for n in (1, 2)})
        for seg, values in zip(maps, (labels, other_labels), strict=True)
    )
    temporal, conflict = "temporal-frames", "conflicting-frames"
    fractions = {n: mask * np.uint8(100) + other[n] * np.uint8(7) for n, mask in of.items()}
    more = {n: np.roll(values, 1, axis=2) // 2 for n, values in fractions.items()}
    shares = tuple(SegFactory.of_masks(each, kind="FRACTIONAL") for each in (fractions, more))
    pair = Answer({}, shares[0].affine, fractions=fractions), Answer({}, shares[1].affine, fractions=more)
    told = [
        Case(
            f"E106:{name}",
            f"two phases told apart by {title}",
            phases(one, two, mark=mark).build,
            error=temporal,
            parts=parts,
        )
        for name, (title, mark) in MARKS.items()
    ]
    number = MARKS["number"][1]
    return [
        bad("E106", "two phases that nothing tells apart", phases(one, two), conflict),
        bad(
            "E106:source",
            "two phases that only their source images tell apart",
            phases(one, two, mark=_by_source),
            conflict,
        ),
        *told,
        Case(
            "E106:labels",
            "label maps of two phases",
            phases(*maps, mark=number).build,
            error=temporal,
            parts=map_parts,
        ),
        bad("E106:maps", "label maps of two phases that nothing tells apart", phases(*maps), conflict),
        bad("E106:fractions", "fractions of two phases that nothing tells apart", phases(*shares), conflict),
        Case(
            "E106:shares",
            "fractions of two phases",
            phases(*shares, mark=number).build,
            error=temporal,
            parts=pair,
        ),
        good(
            "E106:equal",
            "every frame twice, from other source images",
            phases(one, one, mark=_by_source),
            of,
            "duplicate-frames",
        ),
        Case(
            "E106:RLE",
            "two phases, compressed",
            phases(*maps, mark=number).but(syntax=S.RLE).build,
            error=temporal,
            parts=map_parts,
        ),
    ]


def _made_up() -> list[Case]:
    of = masks((1, 7, 9), numbers=(1,))
    seg = SegFactory.of_masks(of)
    nowhere = {"position": "absent", "orientation": "absent"}
    mammogram = seg.but(places=nowhere, thickness=None, between=None)
    bare = seg.but(places={**nowhere, "measures": "absent"})

    def case(id: str, title: str, seg: SegFactory, code: str, measured: tuple[bool, bool]) -> Case:
        where = answer(seg, of) if code == "spacing-assumed" else Answer(of, None)
        return Case(
            id,
            title,
            seg.build,
            where,
            findings=frozenset({code}),
            check=_measures(*measured),
            tolerance_mm=10,
        )

    return [
        case(
            "E112", "a plane without position or depth", mammogram, "no-spatial-information", (False, False)
        ),
        case(
            "E112:bare",
            "a plane without position, spacing or depth",
            bare,
            "no-spatial-information",
            (False, False),
        ),
        case(
            "E112:depth",
            "a plane without position, with spacing and depth",
            seg.but(places=nowhere),
            "no-spatial-information",
            (True, False),
        ),
        case(
            "E112:slice",
            "a slice with a position, without depth",
            seg.but(thickness=None, between=None),
            "spacing-assumed",
            (False, True),
        ),
    ]


def _measures(has_volume: bool, has_centroid: bool) -> Callable[[Any], None]:
    """Which measures there are: none is made from what is assumed."""

    def check(volume: Any) -> None:
        (found,) = measure(volume)
        assert found.voxel_count == int(volume.mask(1).sum()) > 0
        assert (found.volume_ml is not None, found.centroid_ras_mm is not None) == (has_volume, has_centroid)
        (named,) = (f for f in volume.findings if f.code in ("spacing-assumed", "no-spatial-information"))
        assert ("volumes" in named.message, "centroids" in named.message) == (
            not has_volume,
            not has_centroid,
        )

    return check


def _many_layers() -> Case:
    """A layer for each of 140 segments: more than a signed byte counts."""
    of = {}
    for number in range(1, 141):
        of[number] = np.zeros((1, 13, 13), bool)
        of[number].flat[[0, number]] = True
    return good("E113", "140 segments that share a voxel", SegFactory.of_masks(of), of, "segments-overlap")
