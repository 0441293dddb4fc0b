"""Fetch series to keep them: the DICOM files themselves, under readable names."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from segtools.fetch.plan import SIZE_SLACK_BYTES
from segtools.fetch.transfer import fetch_batch
from segtools.files import TEMPORARY_PREFIX, component, write_error
from segtools.series import FetchedSeries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from segtools.fetch.transfer import Inspect
    from segtools.objectstore.s5cmd import FetchOptions
    from segtools.series import SelectedSeries


def keep_series(
    batch: Sequence[SelectedSeries], folder: Path, options: FetchOptions, inspect: Inspect | None = None
) -> list[FetchedSeries]:
    """Fetch series into ``<folder>/<collection>/<PatientID>/<SeriesInstanceUID>/``.

    A series folder appears whole or not at all; one that is there with all its bytes is not fetched
    again.

    Raises
    ------
    EnvironmentProblem, WriteError
        See `segtools.fetch.transfer.fetch_batch`.
    """
    homes = {series.seg_series_uid: _home(folder, series) for series in batch}
    there = {uid: files for uid, home in homes.items() if (files := _files(home))}
    wanted = [series for series in batch if not _is_whole(series, there.get(series.seg_series_uid, ()))]
    scratch = folder / f"{TEMPORARY_PREFIX}fetch-{os.getpid()}"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        fetched = {
            item.series.seg_series_uid: item for item in fetch_batch(wanted, scratch, options, None, inspect)
        }
        return [
            _keep(fetched[series.seg_series_uid], homes[series.seg_series_uid], scratch)
            if series.seg_series_uid in fetched
            else FetchedSeries(series, there[series.seg_series_uid], attempts=0)
            for series in batch
        ]
    except OSError as error:
        raise write_error(error, folder) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _home(folder: Path, series: SelectedSeries) -> Path:
    names = (series.collection_id, series.patient_id, series.seg_series_uid)
    return folder.joinpath(*(component(name) for name in names))


def _files(home: Path) -> tuple[Path, ...]:
    return tuple(sorted(home.glob("*.dcm"))) if home.is_dir() else ()


def _is_whole(series: SelectedSeries, files: Sequence[Path]) -> bool:
    size = sum(file.stat().st_size for file in files)
    return len(files) == series.instance_count and abs(size - series.size_bytes) <= SIZE_SLACK_BYTES


def _keep(fetched: FetchedSeries, home: Path, scratch: Path) -> FetchedSeries:
    """Move (or copy, where read in place) the files of a series to its own folder."""
    if fetched.error is not None:
        return fetched
    whole = scratch / home.name
    whole.mkdir()
    for number, file in enumerate(fetched.files):
        target = whole / f"{number:06d}.dcm"
        if file.is_relative_to(scratch):
            file.replace(target)
        else:
            shutil.copyfile(file, target)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    whole.replace(home)
    return replace(fetched, files=_files(home))
