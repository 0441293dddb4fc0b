"""Reading a fetched file as DICOM, to its end, where no checksum says that it is the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.dicom.mmap import map_file
from segtools.decode.dicom.whole import open_whole
from segtools.errors import CorruptSegError

if TYPE_CHECKING:
    from pathlib import Path

_SERIES, _SOP_INSTANCE = 0x0020000E, 0x00080018


def inspect_dicom(path: Path) -> tuple[str, str]:
    """SeriesInstanceUID and SOPInstanceUID of a file whose elements reach to its end.

    Raises
    ------
    NotSegError, CorruptSegError
        It is no DICOM, ends within an element, or lacks the pixels of its frames.
    """
    structure = open_whole(map_file(path))
    series, sop = structure.uid(_SERIES), structure.uid(_SOP_INSTANCE)
    if not series or not sop:
        missing = "SOPInstanceUID (0008,0018)" if series else "SeriesInstanceUID (0020,000E)"
        raise CorruptSegError("missing-attribute", f"{missing} is absent or empty.")
    return series, sop
