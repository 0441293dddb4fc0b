"""One label per structure for all cases, and label maps rewritten with it.

A dataset's voxels hold SegmentNumbers, which differ from file to file. Frameworks want one number per
structure, from 1 without gaps. Where structures of one case share voxels there is no such number:
either the export is refused, or every combination that occurs gets a number of its own, and a
structure is the list of its combinations (nnU-Net's region-based training).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segtools.errors import ExportError
from segtools.nifti.reader import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from segtools.export.cases import Case

    Labels = npt.NDArray[np.uint8 | np.uint16]

_MOST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class LabelTable:
    """Structures and their numbers.

    Attributes
    ----------
    ids : dict of str to int
        Structure to number, from 1, without gaps.
    colors : dict of str to str
        Structure to ``#RRGGBB``.
    """

    ids: dict[str, int]
    colors: dict[str, str]


def label_table(all_cases: Iterable[Case], preferred: Sequence[str] = ()) -> LabelTable:
    """Numbers for every structure of the cases.

    Parameters
    ----------
    all_cases : iterable of Case
    preferred : sequence of str
        The dataset's own order of structures (`output.labels`); the others follow by name.

    Raises
    ------
    ExportError
        ``export-labels``: more structures than a label map can hold.
    """
    colors: dict[str, str] = {}
    for case in all_cases:
        for row in case.segments:
            colors.setdefault(row["structure"], row["color_hex"])
    names = [name for name in preferred if name in colors]
    names += sorted(set(colors) - set(names))
    if len(names) > _MOST:
        raise ExportError(
            "export-labels", f"There are {len(names)} structures; a label map holds at most {_MOST}."
        )
    return LabelTable(
        {name: number for number, name in enumerate(names, 1)}, {name: colors[name] for name in names}
    )


@dataclass
class Combinations:
    """Which sets of structures share voxels; each set has a number once it was met.

    Attributes
    ----------
    numbers : dict of frozenset of int to int
        Set of structure numbers to voxel value. Single structures come first.
    """

    numbers: dict[frozenset[int], int]

    @classmethod
    def of(cls, table: LabelTable) -> Combinations:
        """Every structure alone."""
        return cls({frozenset({number}): number for number in table.ids.values()})

    def number(self, members: frozenset[int]) -> int:
        """Voxel value of a set of structures."""
        return self.numbers.setdefault(members, len(self.numbers) + 1)

    def regions(self, table: LabelTable) -> dict[str, list[int]]:
        """Voxel values that make up each structure."""
        return {
            name: sorted(value for members, value in self.numbers.items() if number in members)
            for name, number in table.ids.items()
        }


def relabelled(
    root: Path, case: Case, table: LabelTable, combinations: Combinations | None
) -> tuple[Labels, npt.NDArray[np.float64]]:
    """(k, j, i) label map with the export's numbers, and its affine.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    case : Case
    table : LabelTable
    combinations : Combinations or None
        Where shared voxels are looked up; None refuses them.

    Raises
    ------
    ExportError
        ``export-overlap``: two structures share voxels and `combinations` is None.
    DatasetError
        ``dataset-invalid``.
    """
    images = [read(root / layer) for layer in case.layers]
    maps = [
        _by_number(image.array, case, layer, table) for image, layer in zip(images, case.layers, strict=True)
    ]
    merged = maps[0]
    for other in maps[1:]:
        merged = _merged(merged, other, case, combinations)
    top = int(merged.max(initial=0))
    if top > _MOST:
        raise ExportError(
            "export-labels", f"Case {case.name} needs {top} labels; a label map holds at most {_MOST}."
        )
    dtype = np.uint8 if max(top, len(table.ids)) < 256 else np.uint16
    return merged.astype(dtype), np.asarray(images[0].affine_ras_mm, np.float64)


def is_identity(case: Case, table: LabelTable) -> bool:
    """Whether the case's only label map holds the export's numbers already."""
    return len(case.layers) == 1 and all(
        row["segment_number"] == table.ids[row["structure"]] for row in case.segments
    )


def _by_number(array: Labels, case: Case, layer: str, table: LabelTable) -> npt.NDArray[np.int32]:
    lookup = np.zeros(int(array.max(initial=0)) + 1, np.int32)
    for row in case.segments:
        if row["volume_path"] == layer and row["segment_number"] < len(lookup):
            lookup[row["segment_number"]] = table.ids[row["structure"]]
    return lookup[array]


def _merged(
    below: npt.NDArray[np.int32],
    above: npt.NDArray[np.int32],
    case: Case,
    combinations: Combinations | None,
) -> npt.NDArray[np.int32]:
    shared = (below > 0) & (above > 0) & (below != above)
    merged = np.where(above > 0, above, below)
    if not shared.any():
        return merged
    pairs = np.stack([below[shared], above[shared]], axis=1)
    if combinations is None:
        raise ExportError(
            "export-overlap",
            f"Structures of case {case.name} share {len(pairs)} voxels, which one label map cannot hold.",
            hint="Export with `--overlap regions`, or choose structures that do not overlap with `--where`.",
        )
    members = {value: chosen for chosen, value in combinations.numbers.items()}
    values, inverse = np.unique(pairs, axis=0, return_inverse=True)
    numbers = np.array([combinations.number(members[int(a)] | members[int(b)]) for a, b in values], np.int32)
    merged[shared] = numbers[inverse.reshape(-1)]
    return merged
