"""Edge cases E29 to E67: where the voxels are."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories.case import (
    Answer,
    Case,
    answer,
    bad,
    good,
    masks,
)
from tests.factories.seg import (
    AXIAL,
    UID,
    Edit,
    SegFactory,
    concept,
)

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
"""Two exact unit vectors at a right angle."""


def geometry_cases() -> list[Case]:
    """All of them."""
    return [
        *_positions(),
        *_spacing(),
        *_gaps(),
        *_orientations(),
        *_groups(),
        *_planes(),
        *_more_than_one(),
        *_slides(),
    ]


def moved(seg: SegFactory, offsets: Seq[Seq[float]]) -> SegFactory:
    """Frames moved by (x, y, z) mm from where their slice is."""
    frames = tuple(
        replace(f, position=tuple((np.asarray(seg.position(f.k)) + o).tolist()))
        for f, o in zip(seg.frames, offsets, strict=True)
    )
    return seg.but(frames=frames)


def at_z(of: dict[int, np.ndarray], heights: Seq[float], **knobs: object) -> SegFactory:
    """Slices at these z, mm, whatever the step says."""
    seg = SegFactory.of_masks(of, empty=True, **knobs)
    x, y, _ = seg.origin
    return seg.but(frames=tuple(replace(f, position=(x, y, heights[f.k])) for f in seg.frames))


def _positions() -> list[Case]:
    of = masks((6, 7, 9))
    plain = SegFactory.of_masks(of)
    jitter = np.random.default_rng(2).uniform(-1e-3, 1e-3, (len(plain.frames), 3)) * (0, 0, 1)
    between = [(0, 0, 1e-5 * (f.segment == 2)) for f in plain.frames]
    fine = masks((16, 3, 4), numbers=(1,))
    heights = [round(5 + 0.625 * k, 1) for k in range(16)]
    rounded = at_z(fine, heights, step=0.625)
    single = masks((1, 7, 9))
    microns = moved(SegFactory.of_masks(single), [(0, 0, 0), (0, 0, 1e-6)])
    decimal = plain.but(frames=tuple(replace(f, edit=_other_decimals) for f in plain.frames))
    note = {"may": {"position-jitter"}}
    return [
        good(
            "E29",
            "positions that jitter by a micrometre",
            moved(plain, jitter),
            of,
            tolerance_mm=2e-3,
            **note,
        ),
        good(
            "E30",
            "one slice 1e-5 mm apart between segments",
            moved(plain, between),
            of,
            tolerance_mm=2e-5,
            **note,
        ),
        good(
            "E31",
            "positions rounded to one decimal (step 0.625 mm)",
            rounded,
            fine,
            tolerance_mm=0.1,
            may={"position-jitter", "spacing-contradicts-positions"},
        ),
        good("E31:forms", "decimal strings with exponents, signs and spaces", decimal, of),
        good("E57", "two positions a nanometre apart", microns, single, tolerance_mm=2e-5, **note),
    ]


def _other_decimals(groups: Dataset) -> None:
    place = groups.PlanePositionSequence[0]
    x, y, z = (float(v) for v in place.ImagePositionPatient)
    place.ImagePositionPatient = [f"{x:.1E}", f" +{y:.0f} ", f"{z:.2f} "]


def _spacing() -> list[Case]:
    of, many = masks(), masks((201, 3, 4), numbers=(1,))
    seg, step_1 = SegFactory.of_masks(of), SegFactory.of_masks(of, step=1.0)
    gaps = masks((5, 7, 9))
    for mask in gaps.values():
        mask[1::2] = False
    contradicts = "spacing-contradicts-positions"
    rounded = SegFactory.of_masks(many, step=0.703125, between=0.7, thickness=0.7)
    return [
        good("E32", "SpacingBetweenSlices absent", seg.but(between=None), of),
        good(
            "E33",
            "SpacingBetweenSlices absent, SliceThickness 5 mm, true step 0.5 mm",
            SegFactory.of_masks(of, step=0.5, between=None, thickness=5.0),
            of,
        ),
        good("E34", "SpacingBetweenSlices 5 mm, true step 1 mm", step_1.but(between=5.0), of, contradicts),
        good("E35", "SpacingBetweenSlices rounded: 0.7 for 0.703125 mm", rounded, many, may={contradicts}),
        good(
            "E36:gaps",
            "SpacingBetweenSlices negative, every second slice left out",
            SegFactory.of_masks(gaps, between=-2.5),
            gaps,
            "missing-slices",
        ),
        good("E36", "SpacingBetweenSlices negative", seg.but(between=-2.5), of, may={contradicts}),
        good("E37", "SpacingBetweenSlices 0", seg.but(between=0.0), of, may={contradicts}),
        good("E38", "SliceThickness absent", seg.but(thickness=None), of),
    ]


def _gaps() -> list[Case]:
    inner, border, sparse = masks((6, 7, 9)), masks((6, 7, 9)), masks((11, 7, 9))
    for n in (1, 2):
        inner[n][2:4] = False
        border[n][[0, 1, 5]] = False
        sparse[n][1:5], sparse[n][6:10] = False, False
    cut = {n: m[2:5] for n, m in border.items()}
    border_seg = SegFactory.of_masks(border)
    cut_affine = border_seg.affine.copy()
    cut_affine[:3, 3] = border_seg.position(2)
    coarse = SegFactory.of_masks(sparse, step=1.0, between=None, thickness=1.0)
    coarse_affine = coarse.affine.copy()
    coarse_affine[2, 2] = 5.0
    kept = {n: m[[0, 5, 10]] for n, m in sparse.items()}
    irregular = at_z(masks((3, 7, 9)), (0, 1, 2.5), step=1.0)
    changing = at_z(masks((7, 7, 9)), (0, 2.5, 5, 7.5, 8.5, 9.5, 10.5), step=2.5)
    return [
        good(
            "E39",
            "interior slices without a voxel left out",
            SegFactory.of_masks(inner),
            inner,
            "missing-slices",
        ),
        good("E40", "slices at the border left out", border_seg, cut, affine=cut_affine),
        good(
            "E41",
            "every fifth slice only, and nothing states the spacing",
            coarse,
            kept,
            "ambiguous-spacing",
            affine=coarse_affine,
        ),
        good(
            "E41:stated",
            "every fifth slice only, spacing stated",
            coarse.but(between=1.0),
            sparse,
            "missing-slices",
        ),
        bad("E42", "slices at 0, 1 and 2.5 mm", irregular, "irregular-spacing"),
        bad("E43", "spacing that changes within the stack", changing, "irregular-spacing"),
    ]


def _orientations() -> list[Case]:
    of = masks()
    seg = SegFactory.of_masks(of)
    sheared = moved(seg, [(0.4 * f.k, 0, 0) for f in seg.frames])
    slight = moved(seg, [(0, 0.075 * f.k, 0) for f in seg.frames])
    long = tuple(1.0005 * v for v in AXIAL)
    skewed = (1.0, 0.0, 0.0, 0.0005, 1.0, 0.0)
    return [
        good("E44", "oblique slices", SegFactory.of_masks(of, orientation=OBLIQUE), of),
        good("E45", "frames in reverse order", seg.but(frames=seg.frames[::-1]), of),
        good("E45:-z", "a normal along -z", SegFactory.of_masks(of, orientation=(1, 0, 0, 0, -1, 0)), of),
        good("E45:sagittal", "sagittal slices", SegFactory.of_masks(of, orientation=(0, 1, 0, 0, 0, -1)), of),
        bad("E46:slight", "slices shifted by a tenth of a voxel each", slight, "sheared-positions"),
        bad("E46", "slices shifted within their plane", sheared, "sheared-positions"),
        good(
            "E47", "a grid smaller than its source's", SegFactory.of_masks(masks((4, 2, 3))), masks((4, 2, 3))
        ),
        good("E48", "PixelSpacing 3 mm by 0.25 mm", SegFactory.of_masks(of, spacing=(3.0, 0.25)), of),
        good(
            "E49",
            "ImageOrientationPatient of length 1.0005",
            SegFactory.of_masks(of, orientation=long),
            of,
            may={"orientation-normalised"},
            tolerance_mm=0.01,
        ),
        good(
            "E49:skewed",
            "ImageOrientationPatient 0.03 degrees off the right angle",
            SegFactory.of_masks(of, orientation=skewed),
            of,
            may={"orientation-normalised"},
            tolerance_mm=0.01,
        ),
    ]


def _groups() -> list[Case]:
    of, single = masks(), masks((1, 7, 9))
    two = tuple(
        SegFactory.of_masks(of, orientation=o, places={"orientation": "frame"}) for o in (AXIAL, OBLIQUE)
    )
    return [
        good(
            "E50:rounded",
            "PlaneOrientation per frame, equal up to 1e-6",
            _turned_a_little(two[0]),
            of,
            tolerance_mm=1e-4,
        ),
        good("E50", "PlaneOrientation per frame, all equal", two[0], of),
        Case(
            "E51",
            "frames of two orientations",
            _joined(*two).build,
            error="multiple-orientations",
            parts=tuple(answer(seg, of) for seg in two),
        ),
        good("E52", "PixelMeasures per frame", SegFactory.of_masks(of, places={"measures": "frame"}), of),
        good(
            "E53",
            "PlanePosition shared by the single frame",
            SegFactory.of_masks({1: single[1]}, places={"position": "shared"}),
            {1: single[1]},
        ),
        bad(
            "E54",
            "no positions, only references to source images",
            SegFactory.of_masks(
                of, places={"position": "absent", "measures": "absent", "orientation": "absent"}
            ),
            "no-geometry",
        ),
        good(
            "E55",
            "no FrameOfReferenceUID",
            SegFactory.of_masks(of, edit=_no_frame_of_reference),
            of,
            "missing-frame-of-reference",
        ),
    ]


def _turned_a_little(seg: SegFactory) -> SegFactory:
    def edited(k: int) -> Edit:
        def edit(groups: Dataset) -> None:
            groups.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, f"{k * 3e-7:.9f}"]

        return edit

    return seg.but(frames=tuple(replace(f, edit=edited(f.k)) for f in seg.frames))


def _joined(first: SegFactory, second: SegFactory) -> SegFactory:
    """The frames of both in one file; the second's say themselves where they are."""

    def groups_of_second(ds: Dataset) -> None:
        tail = second.dataset().PerFrameFunctionalGroupsSequence
        ds.PerFrameFunctionalGroupsSequence = Sequence(
            [*list(ds.PerFrameFunctionalGroupsSequence)[: len(first.frames)], *tail]
        )

    return first.but(frames=(*first.frames, *second.frames), edit=groups_of_second)


def _no_frame_of_reference(ds: Dataset) -> None:
    del ds.FrameOfReferenceUID


def _planes() -> list[Case]:
    one = {1: masks((1, 7, 9))[1]}
    seg = SegFactory.of_masks(one)
    thick = seg.but(between=None, thickness=4.0)
    flat = SegFactory.of_masks(
        one,
        places={"position": "absent", "measures": "absent", "orientation": "absent"},
        edit=_no_frame_of_reference,
    )

    def absent(ds: Dataset) -> None:
        del ds.NumberOfFrames

    def zero(ds: Dataset) -> None:
        ds.NumberOfFrames = "0"

    affine = seg.affine.copy()
    affine[2, 2] = 4.0
    return [
        good("E56", "a single slice", seg, one),
        good(
            "E56:thick",
            "a single slice with SliceThickness only",
            thick,
            one,
            affine=affine,
            may={"spacing-assumed"},
        ),
        good("E56:absent", "NumberOfFrames absent", seg.but(edit=absent), one, "frame-count-repaired"),
        good("E56:0", "NumberOfFrames 0", seg.but(edit=zero), one, "frame-count-repaired"),
        Case(
            "E58",
            "a plane without place, as of a radiograph",
            flat.build,
            Answer(one, None),
            findings=frozenset({"no-spatial-information"}),
            may=frozenset({"missing-frame-of-reference", "missing-functional-groups", "spacing-assumed"}),
        ),
    ]


def _more_than_one() -> list[Case]:
    of, other = masks(), masks(seed=5)
    seg, later = SegFactory.of_masks(of), SegFactory.of_masks(other)
    phases = tuple(_in_phase(s, t) for t, s in enumerate((seg, later), 1))
    doubled = seg.but(frames=(*seg.frames, seg.frames[1]))
    far = SegFactory.of_masks(other, origin=(-10.0, 20.0, 21.25))
    stacks = tuple(_in_stack(s, t) for t, s in enumerate((seg, far), 1))
    return [
        Case(
            "E59",
            "two time points of every slice",
            _joined(*phases).build,
            error="temporal-frames",
            parts=(answer(seg, of), answer(later, other)),
        ),
        good("E60", "two equal frames of one segment at one position", doubled, of, "duplicate-frames"),
        Case(
            "E61",
            "two stacks that share no grid",
            _joined(*stacks).build,
            error="irregular-spacing",
            parts=(answer(seg, of), answer(far, other)),
        ),
        good("E65", "far from its source images", SegFactory.of_masks(of, origin=(900.0, -900.0, 900.0)), of),
        bad(
            "E66",
            "one part of a concatenation",
            concatenation(of)[1].build,
            "incomplete-concatenation",
        ),
        good("E67", "one of several SEG of a series", seg.but(instance=2), of),
    ]


def concatenation(of: dict[int, np.ndarray]) -> tuple[SegFactory, SegFactory]:
    """Two parts of one SEG (PS3.3 C.7.6.16.2.2.4)."""
    whole = SegFactory.of_masks(of)
    half = len(whole.frames) // 2
    pieces = (whole.frames[:half], whole.frames[half:])
    return (
        whole.but(frames=pieces[0], instance=1, edit=_part(1, 0)),
        whole.but(frames=pieces[1], instance=2, edit=_part(2, half)),
    )


def _part(number: int, offset: int):  # type: ignore[no-untyped-def]
    def edit(ds: Dataset) -> None:
        ds.ConcatenationUID, ds.SOPInstanceUIDOfConcatenationSource = f"{UID}.10", f"{UID}.11"
        ds.InConcatenationNumber, ds.InConcatenationTotalNumber = number, 2
        ds.ConcatenationFrameOffsetNumber = offset

    return edit


def _in_phase(seg: SegFactory, number: int) -> SegFactory:
    def edit(groups: Dataset) -> None:
        groups.FrameContentSequence[0].TemporalPositionIndex = number

    return seg.but(frames=tuple(replace(f, edit=edit) for f in seg.frames))


def _in_stack(seg: SegFactory, number: int) -> SegFactory:
    def edit(groups: Dataset) -> None:
        content = groups.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = str(number), 1

    return seg.but(frames=tuple(replace(f, edit=edit) for f in seg.frames))


def _slides() -> list[Case]:
    of = masks((1, 8, 8))

    def tiled(ds: Dataset) -> None:
        ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = 16, 8
        ds.ImageOrientationSlide = ["0", "-1", "0", "-1", "0", "0"]
        origin = Dataset()
        origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = "10", "20"
        ds.TotalPixelMatrixOriginSequence = Sequence([origin])
        ds.DimensionOrganizationType = "TILED_SPARSE"
        specimen = Dataset()
        specimen.SpecimenIdentifier, specimen.SpecimenUID = "1", f"{UID}.12"
        ds.ContainerIdentifier, ds.SpecimenDescriptionSequence = "1", Sequence([specimen])
        ds.ContainerTypeCodeSequence = concept("433466003", "SCT", "Microscope slide")
        for groups in ds.PerFrameFunctionalGroupsSequence:
            place = Dataset()
            place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = 1, 1
            place.XOffsetInSlideCoordinateSystem, place.YOffsetInSlideCoordinateSystem = "10", "20"
            place.ZOffsetInSlideCoordinateSystem = "0"
            groups.PlanePositionSlideSequence = Sequence([place])

    def full(ds: Dataset) -> None:
        tiled(ds)
        ds.DimensionOrganizationType = "TILED_FULL"
        del ds.PerFrameFunctionalGroupsSequence

    def origin_only(ds: Dataset) -> None:
        tiled(ds)
        del ds.DimensionOrganizationType

    nowhere = {"position": "absent", "orientation": "absent"}
    seg = SegFactory.of_masks(of, places=nowhere)
    return [
        bad("E62", "a tiled slide, TILED_FULL", seg.but(edit=full), "slide-microscopy"),
        bad("E63", "a tiled slide, TILED_SPARSE", seg.but(edit=tiled), "slide-microscopy"),
        bad("E64", "slide coordinates", seg.but(edit=origin_only), "slide-microscopy"),
    ]
