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


def parse(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels (k, j, i) and the sform's three rows, straight from the bytes.

    Raises
    ------
    ValueError, OSError, EOFError, zlib.error, struct.error
        It is no NIfTI as this project writes them.
    """
    with gzip.open(path) as file:
        head = file.read(544)
        (size,) = struct.unpack_from("<i", head)
        if size == 348:
            dim = struct.unpack_from("<8h", head, 40)
            (datatype,) = struct.unpack_from("<h", head, 70)
            offset = int(struct.unpack_from("<f", head, 108)[0])
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
        # Deflate expands at most 1032 times: nothing is read for a claim above.
        if needed > 1040 * path.stat().st_size:
            raise ValueError(f"{needed} bytes are claimed")
        content = head + file.read(needed - len(head) + 1)
        if len(content) != needed:
            raise ValueError(f"{len(content)} bytes, where the header says {needed}")
    array: npt.NDArray[Any] = np.frombuffer(content, dtype, offset=offset).reshape(shape)
    return array, np.array(sform, np.float64).reshape(3, 4)
