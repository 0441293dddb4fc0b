"""3D Slicer and ITK-SNAP: label maps with a colour table and a label description file.

Formats: Slicer's colour table (``.ctbl``: number, name, red, green, blue, alpha) and ITK-SNAP's label
description (number, red, green, blue, opacity, visible, mesh visible, "name").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from segtools.export.target import ExportFacts
from segtools.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from segtools.export.cases import Case

_BLANK = re.compile(r"\s+")


class Slicer:
    """``<case>/<case>-label.nii.gz``: Slicer reads files named so as label maps."""

    needs_images = False
    can_overlap = False

    def label_map(self, case: Case) -> str:
        """``<case>/<case>-label.nii.gz``."""
        return f"{case.name}/{case.name}-label.nii.gz"

    def image(self, case: Case) -> str:
        """``<case>/<case>.nii.gz``."""
        return f"{case.name}/{case.name}.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write ``labels.ctbl`` and ``itksnap-labels.txt``."""
        rows = [(0, "background", (0, 0, 0), 0)]
        rows += [
            (number, name, _rgb(facts.table.colors[name]), 255) for name, number in facts.table.ids.items()
        ]
        slicer = "".join(
            f"{number} {_BLANK.sub('_', name)} {r} {g} {b} {alpha}\n"
            for number, name, (r, g, b), alpha in rows
        )
        snap = "".join(
            f'{number} {r} {g} {b} {int(alpha > 0)} {int(alpha > 0)} {int(alpha > 0)} "{name}"\n'
            for number, name, (r, g, b), alpha in rows
        )
        write_bytes(folder / "labels.ctbl", slicer.encode())
        write_bytes(folder / "itksnap-labels.txt", snap.encode())


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
