from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from segtools.decode import Concept, Segment
from segtools.encode import Subject, encode, image_series
from segtools.phantom.anatomy import LEFT, RIGHT, grid_around
from segtools.phantom.archive import Archived, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
KIDNEY = Concept("64033007", "SCT", "Kidney")
GRID = grid_around((0, 0, 0), (3, 8, 8), (2, 2, 3))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Archived]]:
    folder = tmp_path_factory.mktemp("archive")
    return folder, write_archive(folder)


@pytest.fixture(scope="session")
def seg_bytes() -> Callable[..., bytes]:
    """Bytes of a two-segment SEG; keywords replace attributes."""
    import io

    def make(seed: str = "a", subject: str = "p1", **attributes: object) -> bytes:
        labels = np.zeros(GRID.shape, np.uint8)
        labels[1, 2:5, 2:5], labels[2, 5:7, 5:7] = 1, 2
        segments = [
            replace(
                Segment(1, "Kidney right", None, ANATOMY, KIDNEY, type_modifiers=(RIGHT,)),
                tracking_id="t",
                tracking_uid="2.25.9",
            ),
            Segment(2, "Kidney left", None, ANATOMY, KIDNEY, regions=(KIDNEY,), region_modifiers=(LEFT,)),
        ]
        source = image_series(GRID, Subject(subject))
        made = encode(labels, GRID, segments, source=source, seed=seed)
        for keyword, value in attributes.items():
            if value is None:
                delattr(made, keyword)
            else:
                setattr(made, keyword, value)
        buffer = io.BytesIO()
        made.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    return make
