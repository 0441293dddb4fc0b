"""What the labels of mask files mean, however it was written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segtools.decode.volume import Segment
from segtools.encode.write.options import Producer
from segtools.errors import UsageError
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from pathlib import Path

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
SIDES = {
    "left": Concept("7771000", "SCT", "Left"),
    "right": Concept("24028007", "SCT", "Right"),
    "bilateral": Concept("51440002", "SCT", "Right and left"),
}
_CODE = re.compile(r"\s*([^:\s]+):(\S+)\s+(.*\S)\s*")


@dataclass(frozen=True)
class Description:
    """Meaning of the labels of each file, and what is said of the series.

    Attributes
    ----------
    files : tuple of mapping of (int, int) to Segment
        Of each mask file, in the order of the files: layer and label to a segment, whose number is
        the label. Layer 0 where the description knows no layers.
    producer : Producer
    series_number : int
    file_names : tuple of str
        Which file each of `files` is for, if the description says so.
    subject : mapping of str to str
        Attributes of the patient, where there are no source images.
    keeps_labels : bool or None
        Whether labels become segment numbers as they are; None: the description leaves it open.
    """

    files: tuple[dict[tuple[int, int], Segment], ...]
    producer: Producer = field(default_factory=Producer)
    series_number: int = 100
    file_names: tuple[str, ...] = ()
    subject: dict[str, str] = field(default_factory=dict)
    keeps_labels: bool | None = None


def invalid(path: Path, what: str, *, line: int | None = None, key: str = "") -> UsageError:
    """Make the error of a description that cannot be used, with its line and key."""
    where = "".join((f", line {line}" if line else "", f", {key}" if key else ""))
    return UsageError("metadata-invalid", f"{path.name}{where}: {what}.", path=str(path), line=line, key=key)


def parse_code(text: str) -> Concept | None:
    """Read a code: ``SCT:10200004 Liver`` is scheme, value, meaning; None if it is no such text."""
    match = _CODE.fullmatch(text)
    return Concept(match[2], match[1], match[3]) if match else None


def parse_color(text: str) -> tuple[int, int, int] | None:
    """Read a colour: ``#RRGGBB`` or ``r,g,b`` of 0 to 255; None if it is no such text."""
    text = text.strip()
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)
    parts = re.split(r"[,\s]+", text)
    if len(parts) == 3 and all(part.isdigit() and int(part) < 256 for part in parts):
        return int(parts[0]), int(parts[1]), int(parts[2])
    return None
