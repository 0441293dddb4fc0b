"""Files that wait for the commit, because a committed one has their name.

Readers of the last commit must not meet tomorrow's volumes under today's tables. So a file that would
change an existing one is written below ``tables/.staging/volumes`` and takes its place at the commit,
between the replacement of the tables, from which on readers are told that a commit is under way, and
that of ``dataset.json``. A file of a new name is written in its place: no table names it yet.
"""

from __future__ import annotations

import filecmp
import os
from typing import TYPE_CHECKING

from segtools.files import fsync_folder, write_error

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from segtools.dataset.layout import Layout


def place(layout: Layout, relative: str) -> Path:
    """Where the file `relative` is to be written now; call `settle` when it is."""
    target = layout.absolute(relative)
    return layout.pending(relative) if layout.is_committed and target.exists() else target


def settle(layout: Layout, relative: str) -> None:
    """Forget the waiting file where it changes nothing, or is an earlier run's.

    Raises
    ------
    EnvironmentProblem, WriteError
    """
    if not layout.is_committed:
        return
    target, waiting = layout.absolute(relative), layout.pending(relative)
    try:
        if waiting.is_file() and filecmp.cmp(target, waiting, shallow=False):
            waiting.unlink()
    except OSError as error:
        raise write_error(error, waiting) from error


def take_places(layout: Layout, folder: str, names: Collection[str]) -> None:
    """Put the waiting files of the relative `folder` that have one of `names` in their places.

    Raises
    ------
    EnvironmentProblem, WriteError
    """
    waiting = layout.pending(folder)
    if not waiting.is_dir():
        return
    target = layout.absolute(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(waiting.iterdir()):
            if file.name in names:
                os.replace(file, target / file.name)  # noqa: PTH105 - the atomic call, by its name
        fsync_folder(target)
    except OSError as error:
        raise write_error(error, target) from error
