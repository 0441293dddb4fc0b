"""A body made of ellipsoids: coded structures at plausible places, so that sides come out right.

Millimetres in RAS+ around a point between the kidneys: +r is the patient's right, +a the front,
+s the head. Radii are half-axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.decode.volume import LPS_TO_RAS, Grid, Segment
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

Triple = tuple[float, float, float]
ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
ABNORMALITY = Concept("49755003", "SCT", "Morphologically Abnormal Structure")
RIGHT = Concept("24028007", "SCT", "Right")
LEFT = Concept("7771000", "SCT", "Left")
SIDES = {"right": RIGHT, "left": LEFT}


@dataclass(frozen=True, slots=True)
class Structure:
    """An ellipsoid with a meaning.

    Attributes
    ----------
    name : str
    code : Concept
    center_mm, radii_mm : (3,) tuple of float, mm in RAS+
    side : {"left", "right"} or None
    category : Concept
    """

    name: str
    code: Concept
    center_mm: Triple
    radii_mm: Triple
    side: str | None = None
    category: Concept = ANATOMY

    def mask(self, grid: Grid, softness_mm: float = 0.0) -> npt.NDArray[np.float32]:
        """Voxels inside the ellipsoid.

        Parameters
        ----------
        grid : Grid
        softness_mm : float, mm
            Width over which the edge falls from 1 to 0; 0 for a sharp one.

        Returns
        -------
        (k, j, i) float32 ndarray, 0 to 1
        """
        k, j, i = np.ogrid[tuple(slice(n) for n in grid.shape)]
        affine = grid.affine_ras
        squares = np.zeros(grid.shape)
        for axis in range(3):
            at = affine[axis, 0] * i + affine[axis, 1] * j + affine[axis, 2] * k + affine[axis, 3]
            squares += ((at - self.center_mm[axis]) / self.radii_mm[axis]) ** 2
        if softness_mm == 0:
            return (squares <= 1).astype(np.float32)
        inwards_mm = (1 - np.sqrt(squares)) * min(self.radii_mm)
        soft: npt.NDArray[np.float32] = np.clip(inwards_mm / softness_mm + 0.5, 0, 1).astype(np.float32)
        return soft

    def segment(self, number: int, *, algorithm: str | None = None, region_side: bool = False) -> Segment:
        """Describe the structure as a segment.

        Parameters
        ----------
        number : int
            SegmentNumber.
        algorithm : str, optional
            SegmentAlgorithmName of an AUTOMATIC one; MANUAL without.
        region_side : bool
            Put the side into the anatomic region's modifier, as BAMF does, not into the type's.
        """
        side = (SIDES[self.side],) if self.side else ()
        return Segment(
            number,
            self.name,
            category=self.category,
            type=self.code,
            type_modifiers=() if region_side else side,
            regions=(self.code,) if region_side else (),
            region_modifiers=side if region_side else (),
            algorithm_type="AUTOMATIC" if algorithm else "MANUAL",
            algorithm_name=algorithm,
            cielab=_cielab(self.code.value, self.side),
        )


def _cielab(*parts: object) -> tuple[int, int, int]:
    """Choose a color that depends on the structure only; 16-bit encoded (PS3.3 C.10.7.1.1)."""
    seed = sum(ord(c) * (n + 1) for n, c in enumerate("".join(map(str, parts))))
    return 30_000 + seed * 7 % 20_000, 20_000 + seed * 13 % 26_000, 20_000 + seed * 29 % 26_000


def grid_around(
    center_mm: Triple,
    shape: tuple[int, int, int],
    spacing_mm: Triple,
    axes_lps: npt.NDArray[np.float64] | None = None,
) -> Grid:
    """Lay a grid around a point.

    Parameters
    ----------
    center_mm : (3,) tuple of float, mm in RAS+
    shape : (3,) tuple of int
        (k, j, i).
    spacing_mm : (3,) tuple of float, mm
        Along (i, j, k).
    axes_lps : (3, 3) float64 ndarray, optional
        Its columns are the directions of i, j, k in LPS+; axial without.
    """
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if axes_lps is None else axes_lps) * spacing_mm
    middle = (np.array(shape[::-1]) - 1) / 2
    affine[:3, 3] = LPS_TO_RAS[:3, :3] @ center_mm - affine[:3, :3] @ middle
    return Grid(shape, affine.round(6))


def label_map(structures: Iterable[Structure], grid: Grid) -> npt.NDArray[np.uint8]:
    """Paint structures into one (k, j, i) label map, numbered from 1; earlier ones win."""
    labels = np.zeros(grid.shape, np.uint8)
    for number, structure in enumerate(structures, start=1):
        labels[(structure.mask(grid) > 0) & (labels == 0)] = number
    return labels


def hounsfield(structures: Iterable[Structure], grid: Grid) -> npt.NDArray[np.int16]:
    """Draw a CT of the body: air, a soft-tissue ellipse, each structure a little different (HU)."""
    body = Structure("Body", ANATOMY, (0, 0, 60), (185, 125, 1000))
    image = np.where(body.mask(grid) > 0, 0, -1000).astype(np.int16)
    for number, structure in enumerate(structures):
        inside = structure.mask(grid) > 0
        image[inside] = -800 if "lung" in structure.name.lower() else 40 + number % 12 * 15
    return image


def _sct(value: str, meaning: str) -> Concept:
    return Concept(value, "SCT", meaning)


def _pair(
    name: str, code: Concept, center: Triple, radii: Triple, higher_mm: float = 0
) -> tuple[Structure, Structure]:
    """Make the right and left of a paired structure; the left one `higher_mm` above."""
    r, a, s = center
    return (
        Structure(f"{name} right", code, center, radii, "right"),
        Structure(f"{name} left", code, (-r, a, s + higher_mm), radii, "left"),
    )


KIDNEY = _sct("64033007", "Kidney")
LIVER = _sct("10200004", "Liver")
PROSTATE = _sct("41216001", "Prostate")

_VERTEBRAE = tuple(
    Structure(f"Vertebra L{n}", _sct(value, f"L{n} vertebra"), (0, -62, 45 - 34 * n), (23, 19, 13))
    for n, value in enumerate(("66794005", "14293000", "36470004", "11994002", "49668003"), start=1)
)

ABDOMEN: tuple[Structure, ...] = (
    Structure("Spleen", _sct("78961009", "Spleen"), (-98, -32, 62), (28, 42, 46)),
    *_pair("Kidney", KIDNEY, (56, -44, -12), (25, 27, 52), 12),
    Structure("Gallbladder", _sct("28231008", "Gallbladder"), (42, 62, 18), (14, 20, 20)),
    *_pair("Adrenal gland", _sct("23451007", "Adrenal gland"), (38, -36, 52), (9, 8, 12)),
    Structure("Liver", LIVER, (68, 14, 60), (72, 70, 62)),
    Structure("Stomach", _sct("69695003", "Stomach"), (-46, 40, 62), (36, 34, 48)),
    Structure("Pancreas", _sct("15776009", "Pancreas"), (-14, 16, 12), (46, 13, 14)),
    *_pair("Lung", _sct("39607008", "Lung"), (78, 0, 200), (54, 76, 96)),
    Structure("Heart", _sct("80891009", "Heart"), (-18, 34, 168), (48, 46, 48)),
    Structure("Aorta", _sct("15825003", "Aorta"), (-8, -28, 60), (10, 10, 170)),
    Structure("Urinary bladder", _sct("89837001", "Urinary bladder"), (0, 22, -170), (34, 30, 28)),
    *_VERTEBRAE,
)
"""What a TotalSegmentator-like model finds between lungs and bladder; small before large."""


def abdomen(*names: str) -> tuple[Structure, ...]:
    """Pick structures of `ABDOMEN` by name, in the order given."""
    by_name = {structure.name: structure for structure in ABDOMEN}
    return tuple(by_name[name] for name in names)
