"""The source images in a folder: found, read, and told apart from what else lies there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segtools.encode.header.headers import SourceHeader, read_header
from segtools.encode.header.source import SourceSeries, source_of
from segtools.errors import MissingError, SegError, UsageError
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Named = tuple[str, SourceHeader]

_NO_IMAGES = frozenset(
    {"SEG", "SR", "PR", "KO", "REG", "DOC", "RTSTRUCT", "RTPLAN", "RTRECORD", "FID", "RWV", "AU", "ECG"}
)
"""Modalities of objects that describe images and are none."""


def read_source(where: Path | str | Iterable[Path | str], *, series_uid: str | None = None) -> SourceSeries:
    """Read one source series from a folder and its sub-folders, or from its files.

    Files that are no DICOM images, and localizers among the images, are left aside with a finding.

    Parameters
    ----------
    where : path or iterable of paths
    series_uid : str, optional
        Which one, where there are several series.

    Raises
    ------
    MissingError
        ``not-found``.
    UsageError
        ``source-images-missing``: no image; ``source-inconsistent``: several series, or as
        `segtools.encode.header.source.source_of`.
    """
    series, skipped = read_series(where)
    if series_uid is not None:
        series = {uid: images for uid, images in series.items() if uid == series_uid}
    if not series:
        wanted = f" of series {series_uid}" if series_uid else ""
        raise UsageError("source-images-missing", f"There is no image{wanted} among the source files.")
    if len(series) > 1:
        names = ", ".join(f"{uid} ({len(images)} images)" for uid, images in list(series.items())[:4])
        raise UsageError(
            "source-inconsistent",
            f"The source has {len(series)} image series: {names}.",
            hint="Name one with --series.",
            values=list(series),
        )
    return one_source(next(iter(series.values())), skipped)


def read_series(where: Path | str | Iterable[Path | str]) -> tuple[dict[str, list[Named]], int]:
    """Images of each series, and the number of files left aside; errors as in `read_source`."""
    found: dict[str, list[Named]] = {}
    skipped = 0
    for path in _paths(where):
        try:
            header = read_header(path)
        except SegError:
            skipped += 1
            continue
        if (header.text("Modality") or "").strip() in _NO_IMAGES or header.text("SegmentationType"):
            skipped += 1
            continue
        if (
            not header.has("Rows")
            and not header.has("ImagePositionPatient")
            and not header.has("PixelSpacing")
        ):
            skipped += 1  # a DICOMDIR, a report
            continue
        found.setdefault(header.text("SeriesInstanceUID") or "", []).append((path.name, header))
    return found, skipped


def one_source(images: Sequence[Named], skipped: int = 0) -> SourceSeries:
    """Source of one series' images, without localizers where there are others."""
    upright = [
        (name, header) for name, header in images if "LOCALIZER" not in (header.text("ImageType") or "")
    ]
    kept = upright or list(images)
    aside = skipped + len(images) - len(kept)
    source = source_of(kept)
    if not aside:
        return source
    from dataclasses import replace

    message = f"{aside} files are not images of the source series and were skipped."
    return replace(
        source, findings=(*source.findings, Finding("source-files-skipped", message, observed=str(aside)))
    )


def _paths(where: Path | str | Iterable[Path | str]) -> list[Path]:
    given = [Path(where)] if isinstance(where, str | Path) else [Path(path) for path in where]
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            paths += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        elif path.exists():
            paths.append(path)
        else:
            raise MissingError("not-found", f"There is no file or folder {path}.", path=str(path))
    return paths
