"""How fast an archive is indexed: 1,000 SEG files of 130 MB each, headers only.

The files are the phantom's header and a hole as long as its pixels: nothing reads there, and 130 GB of
disk are not needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.phantom import ensure
from benchmarks.timing import PHANTOMS, in_turn, rows_of
from segtools.decode.dicom.file import open_structure
from segtools.decode.dicom.headers import PIXEL_DATA
from segtools.index import build_index

FILES = 1000
_UID_ELEMENTS = (0x00080018, 0x0020000E)


def run() -> list[dict[str, Any]]:
    """Index with one process and with all."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        segments = _fill(folder / "archive", ensure(PHANTOMS, ["dcmqi"])["dcmqi"])
        times = in_turn(
            {
                "segtools": lambda: build_index(folder / "archive", folder / "out"),
                "segtools, one process": lambda: build_index(folder / "archive", folder / "out", workers=1),
            },
            repeats=3,
        )
    rows = rows_of(f"index {FILES:,} files of 130 MB", times, limits={"segtools": "seconds"})
    rows[0]["note"] = f"{segments * FILES:,} segments"
    return rows


def _fill(folder: Path, phantom: Path) -> int:
    """Write the files, each with its own UIDs of the same length; the segments of one."""
    folder.mkdir()
    content = np.memmap(phantom, np.uint8, "r")
    structure = open_structure(content.tobytes())
    head = bytearray(structure.raw[: structure.elements[PIXEL_DATA].offset])
    for n in range(FILES):
        for tag in _UID_ELEMENTS:
            element = structure.elements[tag]
            head[element.offset + 5 : element.offset + 11] = f"9{n:05d}".encode()
        with (folder / f"{n:04d}.dcm").open("wb") as file:
            file.write(head)
            file.truncate(len(content))
    return len(structure.items(0x00620002))
