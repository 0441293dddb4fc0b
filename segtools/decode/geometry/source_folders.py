"""Grids of the segmented images, for masks that shall lie on them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from segtools.decode.geometry.source_grid import SourceGrid, source_grid_from_files
from segtools.errors import MissingError, SegError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_log = logging.getLogger(__name__)


def source_grids(folders: Iterable[Path]) -> dict[str, SourceGrid]:
    """The grid of every image series below some folders, by SeriesInstanceUID; headers only.

    A series that is no regular volume is left out, with a warning in the log.

    Raises
    ------
    MissingError
        ``not-found``: no such folder.
    """
    series: dict[str, list[Path]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise MissingError("not-found", f"There is no folder {folder} of source images.")
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if (uid := _image_series(path)) is not None:
                series.setdefault(uid, []).append(path)
    grids = {}
    for uid, paths in series.items():
        try:
            grids[uid] = source_grid_from_files(paths)
        except SegError as error:
            _log.warning("source series %s is no grid: %s", uid, error.message)
    return grids


def _image_series(path: Path) -> str | None:
    """SeriesInstanceUID of an image file; None for segmentations and anything else."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(
            path, stop_before_pixels=True, specific_tags=["Modality", "SeriesInstanceUID", "Rows"]
        )
    except (InvalidDicomError, EOFError, OSError):
        return None
    if header.get("Modality") == "SEG" or "Rows" not in header or "SeriesInstanceUID" not in header:
        return None
    return str(header.SeriesInstanceUID)
