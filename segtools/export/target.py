"""What an export format is: where a case's files go, and the documents beside them.

Write your own: a class with these members, and a row in `segtools.export.run.TARGETS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segtools.export.cases import Case
    from segtools.export.labels import LabelTable


@dataclass(frozen=True)
class Entry:
    """A case that was exported.

    Attributes
    ----------
    case : Case
    label_map : str
        Relative to the export's folder.
    image : str or None
        The same of the image; None where the dataset has none.
    """

    case: Case
    label_map: str
    image: str | None


@dataclass(frozen=True)
class ExportFacts:
    """What all documents of an export are made from.

    Attributes
    ----------
    name : str
        The dataset's name.
    root : Path
        Folder of the dataset.
    manifest : mapping
        Its ``dataset.json``.
    table : LabelTable
    regions : dict of str to list of int
        Voxel values of each structure; one each, unless structures share voxels.
    entries : tuple of Entry
    """

    name: str
    root: Path
    manifest: Mapping[str, Any]
    table: LabelTable
    regions: dict[str, list[int]]
    entries: tuple[Entry, ...]

    @property
    def has_regions(self) -> bool:
        """Whether a structure has more than one voxel value."""
        return any(len(values) > 1 for values in self.regions.values())


class Target(Protocol):
    """An export format.

    Attributes
    ----------
    needs_images : bool
        Whether a case without an image is left out.
    can_overlap : bool
        Whether shared voxels can be expressed.
    """

    needs_images: bool
    can_overlap: bool

    def label_map(self, case: Case) -> str:
        """Where a case's label map goes, relative to the export's folder."""

    def image(self, case: Case) -> str:
        """Where a case's image goes."""

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write the documents, once all cases are there."""


def split_of(entry: Entry) -> str:
    """``train``, ``val`` or ``test`` of a case; ``train`` where the dataset has no splits."""
    names = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
    split = (entry.case.split or "train").lower()
    return names.get(split, "test" if split.startswith("test") else split)
