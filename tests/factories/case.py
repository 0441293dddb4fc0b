"""An edge case: a file, and what is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.factories.seg import SegFactory

SHAPE = (4, 7, 9)
"""Default (k, j, i) shape of a phantom: 63 pixels a frame are no whole bytes."""


@dataclass(frozen=True)
class Answer:
    """The right voxels.

    Attributes
    ----------
    masks : mapping of int to (k, j, i) bool ndarray
    affine : (4, 4) ndarray
        (i, j, k, 1) to LPS mm; None where the file has no place in space.
    fractions : mapping of int to (k, j, i) ndarray
        Stored values of a true FRACTIONAL segmentation.
    background : int
        Value of voxels that are no segment.
    """

    masks: Mapping[int, np.ndarray]
    affine: np.ndarray | None
    fractions: Mapping[int, np.ndarray] = field(default_factory=dict)
    background: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(k, j, i) shape of the grid."""
        return next(iter({**self.masks, **self.fractions}.values())).shape


@dataclass(frozen=True)
class Case:
    """One row of the edge-case table, or a variant of it.

    Attributes
    ----------
    id, title : str
        The row, ``"E34"``, ``"E56:absent"``; what is peculiar about the file.
    build : callable
        Makes the file.
    answer : Answer or None
        None where the file must be refused.
    error : str or None
        Code of the refusal.
    parts : tuple of Answer
        What `read_parts` gives, where `read` must refuse.
    findings : frozenset of str
        Codes that must be recorded; no other of severity WARNING and above may be.
    may : frozenset of str
        Codes that may be recorded besides.
    tolerance_mm : float
        By which the corners of the grid may be off: nothing, where the file is exact.
    options : mapping
        Of `DecodeOptions`.
    segments : tuple of int or None
        The subset asked for.
    check : callable or None
        Looks at the `SegVolume` further.
    """

    id: str
    title: str
    build: Callable[[], bytes]
    answer: Answer | None = None
    error: str | None = None
    parts: tuple[Answer, ...] = ()
    findings: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    tolerance_mm: float = 1e-6
    options: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[int, ...] | None = None
    check: Callable[[Any], None] | None = None


def masks(
    shape: tuple[int, int, int] = SHAPE, numbers: tuple[int, ...] = (1, 2), seed: int = 1
) -> dict[int, np.ndarray]:
    """Random disjoint masks; every slice has voxels of every segment."""
    labels = labelled(shape, numbers, seed)
    return {n: labels == n for n in numbers}


def labelled(
    shape: tuple[int, int, int] = SHAPE, numbers: tuple[int, ...] = (1, 2), seed: int = 1
) -> np.ndarray:
    """A random label map with background 0; every slice has every label."""
    rng = np.random.default_rng(seed)
    labels = rng.choice((0, 0, *numbers), size=shape)
    flat = labels.reshape(shape[0], -1)
    flat[:, : len(numbers)] = numbers
    return labels.astype(np.uint16 if max(numbers) > 255 else np.uint8)


def answer(seg: SegFactory, of: Mapping[int, np.ndarray], affine: np.ndarray | None = None) -> Answer:
    """Masks on the grid of a recipe."""
    return Answer({n: np.asarray(m, bool) for n, m in of.items()}, seg.affine if affine is None else affine)


def good(
    id: str, title: str, seg: SegFactory, of: Mapping[int, np.ndarray], *codes: str, **more: Any
) -> Case:
    """A case that must be read as `of`, with these findings."""
    affine = more.pop("affine", None)
    more["may"] = frozenset(more.get("may", ()))
    return Case(id, title, seg.build, answer(seg, of, affine), findings=frozenset(codes), **more)


def bad(id: str, title: str, build: SegFactory | Callable[[], bytes], code: str, **more: Any) -> Case:
    """A case that must be refused with this code."""
    return Case(id, title, build.build if isinstance(build, SegFactory) else build, error=code, **more)
