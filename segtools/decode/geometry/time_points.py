"""Frames of one segment at one position: what tells them apart, whatever it is called.

Phases of a heart or of a contrast agent, b-values, echoes: a segment may have a frame for each, all at
one position. They fit no single volume. Writers mark them in many ways, or in none; a mark counts where
it gives every such frame another value and makes whole volumes, rather than a value per frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.dicom.file import PER_FRAME_GROUPS
from segtools.decode.dicom.functional_groups import DIMENSION_INDEX, DISTINGUISHING, Wanted
from segtools.decode.dicom.sequence_items import parse_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.dicom.functional_groups import Chain
    from segtools.decode.dicom.sequence_items import Items

    Ints = npt.NDArray[np.int64]

_WANTED = Wanted.of(*DISTINGUISHING.values(), DIMENSION_INDEX)
_MAX_INDEX_BYTES = 4 * 16


class TimePoints(NamedTuple):
    """A mark that tells frames apart.

    Attributes
    ----------
    name : str
        Its attribute.
    of_frame : (F,) int64 ndarray
        Number of its value.
    """

    name: str
    of_frame: Ints


def tell_apart(
    structures: Sequence[DicomFile], frames: Ints, segment: Ints, slices: Ints
) -> TimePoints | None:
    """Mark that tells the frames of one segment in one slice apart; None where no mark does.

    Parameters
    ----------
    structures : sequence of DicomFile
        The file, or the parts of a concatenation.
    frames : (N,) int64 ndarray
        Frame numbers, counted through all `structures`.
    segment, slices : (N,) int64 ndarray
        SegmentNumber (0 of a label map) and slice of each.
    """
    most = _most(segment, slices)
    items = [_items(structure) for structure in structures]
    if most < 2 or any(each is None for each in items):
        return None
    for name, values in _marks(structures, [each for each in items if each is not None], frames):
        groups = len(np.unique(values))
        volumes = groups == most or 2 * groups <= len(frames)
        if groups > 1 and volumes and _most(segment, slices, values) == 1:
            return TimePoints(name, values)
    return None


def _most(*keys: Ints) -> int:
    """Frames of the most frequent combination of keys."""
    combined = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        values, number = np.unique(key, return_inverse=True)
        combined = combined * len(values) + number.reshape(-1)
        combined = np.unique(combined, return_inverse=True)[1].reshape(-1)
    return int(np.bincount(combined).max(initial=0))


def _items(structure: DicomFile) -> Items | None:
    """Functional groups of the frames, read again for the marks."""
    element, own = structure.elements.get(PER_FRAME_GROUPS), structure.per_frame
    if element is None or own is None:
        return None
    return parse_items(own.cursor, element.offset, None if element.length < 0 else element.end, _WANTED)


def _marks(structures: Sequence[DicomFile], items: list[Items], frames: Ints) -> Iterator[tuple[str, Ints]]:
    """Every mark: its name, and the number of its value in each frame."""
    for name, chain in DISTINGUISHING.items():
        yield name, _numbered(_values(structures, items, chain, frames))
    indices = _values(structures, items, DIMENSION_INDEX, frames)
    width = max(map(len, indices), default=0)
    for column in range(0, min(width, _MAX_INDEX_BYTES), 4):
        name = f"DimensionIndexValues (0020,9157) {column // 4 + 1}"
        yield name, _numbered([index[column : column + 4] for index in indices])


def _values(structures: Sequence[DicomFile], items: list[Items], chain: Chain, frames: Ints) -> list[bytes]:
    """First value of a path in each frame, as encoded; empty where absent."""
    found: list[bytes] = []
    for structure, each in zip(structures, items, strict=True):
        value = each.value(chain)
        if value is None:
            found += [b""] * each.count
            continue
        found += [
            structure.raw[offset : offset + min(length, 256)] if offset >= 0 else b""
            for offset, length in zip(value.offset.tolist(), value.length.tolist(), strict=True)
        ]
    return [found[frame] if frame < len(found) else b"" for frame in frames.tolist()]


def _numbered(values: list[bytes]) -> Ints:
    """Number of each value, in order of first mention."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)
