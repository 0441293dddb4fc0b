"""NIfTI taken apart from its bytes: shares no code with `segtools.nifti`, so agreement means something."""

from __future__ import annotations

import gzip
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


_FREE_BYTES, _TRUSTED_RATIO, _PIECE = 1 << 30, 256, 1 << 24
"""Bytes that a file may become in any case, and more for each that is there; how many are read at once."""


def parse(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels (k, j, i) and the sform's three rows, straight from the bytes.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error, struct.error
        It is no NIfTI as this project writes them, or asks for far more memory than it has bytes.
    """
    with gzip.open(path) as file:
        head = file.read(544)
        (size,) = struct.unpack_from("<i", head)
        if size == 348:
            dim = struct.unpack_from("<8h", head, 40)
            (datatype,) = struct.unpack_from("<h", head, 70)
            (start,) = struct.unpack_from("<f", head, 108)
            offset = int(start) if math.isfinite(start) else -1
            sform = struct.unpack_from("<12f", head, 280)
        elif size == 540:
            dim = struct.unpack_from("<8q", head, 16)
            (datatype,) = struct.unpack_from("<h", head, 12)
            (offset,) = struct.unpack_from("<q", head, 168)
            sform = struct.unpack_from("<12d", head, 400)
        else:
            raise ValueError(f"sizeof_hdr is {size}")
        dtype = {2: "<u1", 512: "<u2"}.get(datatype)
        if dtype is None or dim[0] != 3 or min(dim[1:4]) < 1 or offset < size:
            raise ValueError(f"datatype {datatype}, dim {list(dim)}, vox_offset {offset}")
        shape = (dim[3], dim[2], dim[1])
        needed = offset + math.prod(shape) * np.dtype(dtype).itemsize
        packed = path.stat().st_size
        allowed = max(_FREE_BYTES, _TRUSTED_RATIO * packed)
        # Deflate expands at most 1032 times: nothing is read for a claim above.
        if needed > min(1040 * packed, allowed):
            raise ValueError(f"{needed} bytes are claimed in {packed}; {allowed} are allowed")
        content: npt.NDArray[np.uint8] = np.zeros(max(needed, len(head)), np.uint8)
        view, filled = content.data, len(head)
        view[:filled] = head
        while filled < needed and (got := file.readinto(view[filled : filled + _PIECE])):
            filled += got
        if filled != needed or file.read(1):
            raise ValueError(f"it has not the {needed} bytes that its header says")
    array: npt.NDArray[Any] = content[offset:].view(dtype).reshape(shape)
    return array, np.array(sform, np.float64).reshape(3, 4)
