"""The folder of small files that went wrong, and what is right about each (``expected.json`` there).

The folder is not part of the checkout: it is ``../shared/data`` beside it, or what IDCSEG_SHARED_DATA
names. Without it the tests that ask for it have no parameters and are skipped; each kind of fault has
tests with generated files besides (`tests.factories`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent


def shared_data(name: str) -> Path | None:
    """Folder ``name`` of the shared data, or None where there is none."""
    root = os.environ.get("IDCSEG_SHARED_DATA")
    folder = (Path(root) if root else CHECKOUT.parent / "shared" / "data") / name
    return folder if folder.is_dir() else None


FAULTS = shared_data("faults")
"""The folder; None where there is none."""


def expected() -> dict[str, dict[str, Any]]:
    """File name to what is right.

    ``voxels`` (segment to count), ``code`` (refusals that are right, any of them), ``parts`` (voxels of
    each part), ``label`` (of the first segment), ``source_instances`` (how many), ``voxels_each`` and
    ``segments``. Where ``voxels`` and ``code`` both stand, either is right. Empty without the folder.
    """
    if FAULTS is None:
        return {}
    rows: dict[str, dict[str, Any]] = json.loads((FAULTS / "expected.json").read_text(encoding="utf-8"))
    return rows
