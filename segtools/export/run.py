"""Write an export: each case by itself, the folder as a whole."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from segtools.errors import ExportError, SegtoolsError, UsageError
from segtools.export.bids import Bids
from segtools.export.cases import Case, cases
from segtools.export.croissant import write_croissant
from segtools.export.huggingface import HuggingFace
from segtools.export.labels import (
    Combinations,
    LabelTable,
    is_identity,
    label_table,
    relabelled,
)
from segtools.export.monai import Monai
from segtools.export.nnunet import NnUNet
from segtools.export.slicer import Slicer
from segtools.export.target import Entry, ExportFacts, Target
from segtools.export.torchio import TorchIO
from segtools.files import TEMPORARY_PREFIX, write_error
from segtools.nifti.reader import read_grid
from segtools.nifti.writer import write_volume

if TYPE_CHECKING:
    from segtools.dataset.reader import Dataset

Link = Literal["hard", "copy"]
Overlap = Literal["refuse", "regions"]

TARGETS: dict[str, type[Target]] = {
    "bids": Bids,
    "huggingface": HuggingFace,
    "monai": Monai,
    "nnunet": NnUNet,
    "slicer": Slicer,
    "torchio": TorchIO,
}
"""Formats whose label maps are written case by case; ``croissant`` describes the tables instead."""

FORMATS = (*sorted(TARGETS), "croissant")

_GRID_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class ExportOptions:
    """How an export is made.

    Attributes
    ----------
    where : str or None
        SQL condition on the segments table; other segments become background.
    overlap : {"refuse", "regions"}
        What to do with voxels that belong to two structures: leave the case out, or give every
        combination a value of its own.
    link : {"hard", "copy"}
        How files that stay as they are come over. A hard link falls back to a copy across file systems.
    images : Path or None
        Folder with ``<SeriesInstanceUID of the images>.nii.gz``, for datasets without images.
    """

    where: str | None = None
    overlap: Overlap = "refuse"
    link: Link = "copy"
    images: Path | None = None


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes
    ----------
    folder : Path
    cases : int
        Cases written.
    skipped : tuple of (str, SegtoolsError)
        Case name, and why it was left out.
    labels : dict of str to int
        Structure to number.
    """

    folder: Path
    cases: int
    skipped: tuple[tuple[str, SegtoolsError], ...]
    labels: dict[str, int]


def export(
    dataset: Dataset, target: str, folder: Path | str, options: ExportOptions = ExportOptions()
) -> ExportReport:
    """Write a dataset in the layout of a framework.

    The folder appears when everything is in it. A case that cannot be expressed is left out and
    reported; the others are written.

    Parameters
    ----------
    dataset : Dataset
    target : str
        One of `FORMATS`.
    folder : path
        Must not exist, or be empty.
    options : ExportOptions

    Raises
    ------
    UsageError
        ``export-format``: no such format.
    ExportError
        ``export-exists``, ``export-empty``, ``export-labels``, ``export-mixed-modality``.
    WriteError
        ``write-failed``.
    EnvironmentProblem
        ``disk-full``.
    """
    folder = Path(folder)
    if target not in FORMATS:
        raise UsageError(
            "export-format", f"There is no export format {target!r}; there are {', '.join(FORMATS)}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError("export-exists", f"{folder} exists and is not an empty folder.")
    dataset.download()
    work = folder.parent / f"{TEMPORARY_PREFIX}export-{os.getpid()}-{folder.name}"
    try:
        work.mkdir(parents=True)
        if target == "croissant":
            write_croissant(dataset, work)
            done = ExportReport(folder, 0, (), {})
        else:
            done = _Run(dataset, TARGETS[target](), work, options).write(folder)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise write_error(error, folder) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


class _Run:
    """One export on its way."""

    def __init__(self, dataset: Dataset, target: Target, work: Path, options: ExportOptions) -> None:
        self.dataset, self.target, self.work, self.options = dataset, target, work, options
        self.cases = list(cases(dataset, options.where, options.images))
        self.table: LabelTable = label_table(self.cases, list(dataset.manifest.get("labels") or {}))
        regions = options.overlap == "regions" and target.can_overlap
        self.combinations = Combinations.of(self.table) if regions else None

    def write(self, folder: Path) -> ExportReport:
        entries: list[Entry] = []
        skipped: list[tuple[str, SegtoolsError]] = []
        for case in self.cases:
            try:
                entries.append(self._case(case))
            except ExportError as error:
                skipped.append((case.name, error))
        if not entries:
            raise ExportError(
                "export-empty",
                f"None of {len(self.cases)} cases can be exported."
                + (f" The first: {skipped[0][1].message}" if skipped else ""),
            )
        ids = self.table.ids
        facts = ExportFacts(
            name=self.dataset.root.name,
            root=self.dataset.root,
            manifest=self.dataset.manifest,
            table=self.table,
            regions=self.combinations.regions(self.table)
            if self.combinations
            else {name: [number] for name, number in ids.items()},
            entries=tuple(entries),
        )
        self.target.finish(self.work, facts)
        return ExportReport(folder, len(entries), tuple(skipped), ids)

    def _case(self, case: Case) -> Entry:
        image = None
        if case.image_path is not None:
            image = self.target.image(case)
            _check_pair(self.dataset.root, case, case.image_path)
        elif self.target.needs_images:
            raise ExportError("export-needs-images", f"Case {case.name} has no image in this dataset.")
        label_map = self.target.label_map(case)
        (self.work / label_map).parent.mkdir(parents=True, exist_ok=True)
        if self.options.where is None and is_identity(case, self.table):
            self._bring(self.dataset.root / case.layers[0], label_map)
        else:
            array, affine = relabelled(self.dataset.root, case, self.table, self.combinations)
            write_volume(self.work / label_map, array, affine)
        if image is not None and case.image_path is not None:
            self._bring(case.image_path, image)
        return Entry(case, label_map, image)

    def _bring(self, source: Path, target: str) -> None:
        place = self.work / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.options.link == "hard":
            try:
                os.link(source, place)
            except OSError:
                shutil.copyfile(source, place)  # another file system, or one without links
            return
        shutil.copyfile(source, place)


def _check_pair(root: Path, case: Case, image_path: Path) -> None:
    """Refuse a pair whose image lies on another grid than its label map."""
    (shape, affine), (image_shape, image_affine) = (
        read_grid(path) for path in (root / case.layers[0], image_path)
    )
    if shape != image_shape or not np.allclose(affine, image_affine, atol=_GRID_TOLERANCE_MM):
        raise ExportError(
            "export-grid-differs",
            f"Image and label map of case {case.name} lie on different grids: {image_shape} and {shape} "
            "voxels (k, j, i), or other affines.",
        )
