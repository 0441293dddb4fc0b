"""How many frames a file has: what is stated, what is described, and what the bytes hold.

NumberOfFrames (0028,0008), the items of PerFrameFunctionalGroupsSequence (5200,9230) and the length of
PixelData (7FE0,0010) say it three times. Where they differ, the two that agree win, with a finding;
where no two agree, or frames would be left without a place, the file is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.dicom.file import parse_decimals
from segtools.errors import CorruptSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.decode.dicom.file import DicomFile

_NUMBER_OF_FRAMES, _PIXEL_DATA = 0x00280008, 0x7FE00010
_TAG = "(0028,0008)"
MAX_FRAMES = 2**31 - 1


def stated_frames(structure: DicomFile) -> int | None:
    """NumberOfFrames; None where it is absent, 0, negative, or no number."""
    stated = structure.integer(_NUMBER_OF_FRAMES)
    return stated if stated is not None and 0 < stated <= MAX_FRAMES else None


def described_frames(structure: DicomFile) -> int:
    """Items of PerFrameFunctionalGroupsSequence; 0 where there is none."""
    return structure.per_frame.count if structure.per_frame is not None else 0


def is_empty(structure: DicomFile) -> bool:
    """Whether the file holds no frame: none is described, and there are no pixels.

    An absent PixelData counts only where NumberOfFrames names no frames either: a file cut off before
    both must not pass for an empty segmentation.
    """
    if described_frames(structure):
        return False
    element = structure.elements.get(_PIXEL_DATA)
    stated = stated_frames(structure)
    if element is None:
        return stated is None
    if element.length < 0:  # encapsulated: at most an offset table, then the delimiter
        return _only_an_offset_table(structure, element.offset) and stated is None
    if element.length == 0:
        return True
    there = structure.raw[element.offset : element.end]
    return stated is None and structure.per_frame is not None and not any(memoryview(there))


def _only_an_offset_table(structure: DicomFile, position: int) -> bool:
    """Whether an encapsulated PixelData has no fragment: ``FE FF 00 E0 00 00 00 00 FE FF DD E0``."""
    raw = structure.raw
    if raw[position : position + 4] == b"\xfe\xff\x00\xe0":
        position += 8 + int.from_bytes(raw[position + 4 : position + 8], "little")
    return raw[position : position + 4] == b"\xfe\xff\xdd\xe0"


def agreed_frames(structure: DicomFile, holds: Callable[[int], bool]) -> tuple[int, list[Finding]]:
    """Frames that two of the three witnesses agree on.

    Parameters
    ----------
    structure : DicomFile
    holds : callable
        Whether PixelData is as long as that many frames are; asked only where the two others differ.

    Raises
    ------
    CorruptSegError
        ``frame-count-mismatch``: no two agree; or more frames are stated and there than described.
    """
    stated, described = stated_frames(structure), described_frames(structure)
    if stated is not None and stated == (described or stated):
        return stated, []
    if described and holds(described):
        return described, [_repaired(structure, described, "PixelData (7FE0,0010) holds as many")]
    claimed = stated or 1  # PS3.3 C.7.6.6 asks for it; writers of single planes leave it out
    if claimed < (described or 2) and holds(claimed):
        return claimed, [_repaired(structure, claimed, f"PixelData (7FE0,0010) holds {claimed}")]
    raise CorruptSegError(
        "frame-count-mismatch",
        f"NumberOfFrames {_TAG} is {stated_text(structure)}, functional groups describe "
        f"{described or 'no'} frames, and PixelData (7FE0,0010) is "
        + (
            f"as long as {stated} frames: {stated - described} of them have no position."
            if stated is not None and described and holds(stated)
            else "as long as neither."
        ),
        tag=_TAG,
        stated=stated,
        described=described,
    )


def stated_text(structure: DicomFile) -> str:
    """NumberOfFrames as written, for messages."""
    element = structure.elements.get(_NUMBER_OF_FRAMES)
    if element is None:
        return "absent"
    numbers = structure.integers(element)
    if numbers:
        return str(numbers[0])
    raw = structure.value(element, 16).strip(b" \0")
    return repr(raw.decode("latin-1")) if raw and parse_decimals(raw) else "empty"


def _repaired(structure: DicomFile, count: int, witness: str) -> Finding:
    described = described_frames(structure)
    return Finding(
        "frame-count-repaired",
        f"NumberOfFrames {_TAG} is {stated_text(structure)}, functional groups describe "
        f"{described or 'none'}, {witness}: {count} {'is' if count == 1 else 'are'} read.",
        observed=stated_text(structure),
        expected=str(count),
        tag=_TAG,
    )
