"""The NIfTI-1 and NIfTI-2 headers as NumPy types, and a fast reader of ``.nii`` and ``.nii.gz``.

Arrays are ``(k, j, i)`` C-order here: the file's bytes, as they are. Layouts after nifti1.h and
nifti2.h (https://nifti.nimh.nih.gov).
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from segtools.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

# fmt: off
NIFTI1 = [
    ("sizeof_hdr", "i4"), ("data_type", "S10"), ("db_name", "S18"), ("extents", "i4"),
    ("session_error", "i2"), ("regular", "S1"), ("dim_info", "u1"), ("dim", "i2", 8), ("intent_p", "f4", 3),
    ("intent_code", "i2"), ("datatype", "i2"), ("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8),
    ("vox_offset", "f4"), ("scl_slope", "f4"), ("scl_inter", "f4"), ("slice_end", "i2"),
    ("slice_code", "u1"), ("xyzt_units", "u1"), ("cal_max", "f4"), ("cal_min", "f4"),
    ("slice_duration", "f4"), ("toffset", "f4"), ("glmax", "i4"), ("glmin", "i4"), ("descrip", "S80"),
    ("aux_file", "S24"), ("qform_code", "i2"), ("sform_code", "i2"), ("quatern", "f4", 3),
    ("qoffset", "f4", 3), ("srow", "f4", (3, 4)), ("intent_name", "S16"), ("magic", "S4"),
]
NIFTI2 = [
    ("sizeof_hdr", "i4"), ("magic", "S8"), ("datatype", "i2"), ("bitpix", "i2"), ("dim", "i8", 8),
    ("intent_p", "f8", 3), ("pixdim", "f8", 8), ("vox_offset", "i8"), ("scl_slope", "f8"),
    ("scl_inter", "f8"), ("cal_max", "f8"), ("cal_min", "f8"), ("slice_duration", "f8"), ("toffset", "f8"),
    ("slice_start", "i8"), ("slice_end", "i8"), ("descrip", "S80"), ("aux_file", "S24"),
    ("qform_code", "i4"), ("sform_code", "i4"), ("quatern", "f8", 3), ("qoffset", "f8", 3),
    ("srow", "f8", (3, 4)), ("slice_code", "i4"), ("xyzt_units", "i4"), ("intent_code", "i4"),
    ("intent_name", "S16"), ("dim_info", "u1"), ("unused", "S15"),
]
# fmt: on
DATATYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
"""NIfTI datatype codes and their NumPy types, as far as label maps and fractions need them."""

_HEADER_BYTES = 544
_MAX_RATIO = 1040
"""Deflate expands at most 1032 times (RFC 1951: 258 bytes from 2 bits); a claim above is a lie."""
_FREE_BYTES, _TRUSTED_RATIO = 1 << 30, 256
"""Bytes that a file may become without a question; beyond, so many for each byte that is there."""

INTENT_LABEL = 1002
UNITS_MM = 2
SCANNER = 1


@dataclass(frozen=True)
class NiftiImage:
    """What a file holds.

    Attributes
    ----------
    array : (k, j, i) ndarray
        Stored values, unscaled. Further axes come first.
    affine_ras_mm : (4, 4) float64 ndarray, mm
        The sform; the scaled diagonal where the file has none.
    slope, intercept : float
        ``value = slope * stored + intercept``; 1 and 0 where the file says nothing.
    header : mapping of str to Any
    """

    array: npt.NDArray[Any]
    affine_ras_mm: npt.NDArray[np.float64]
    slope: float
    intercept: float
    header: dict[str, Any]


def read(path: Path, *, shape: tuple[int, ...] | None = None, max_bytes: int | None = None) -> NiftiImage:
    """Read a ``.nii`` or ``.nii.gz``.

    Parameters
    ----------
    path : Path
    shape : (k, j, i) tuple of int, optional
        What it must be; another one is refused before anything is unpacked.
    max_bytes : int, optional
        Voxels to unpack at most. Default: 1 GiB, or 256 times the file's size where that is more: label
        maps of zeros shrink a thousandfold, so a small file of a stranger's may ask for a large memory.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: not NIfTI, another `shape`, a datatype that is none of `DATATYPES`, or too few
        bytes; ``memory-limit``: more than `max_bytes`.
    FileNotFoundError
    """
    import numpy as np
    from isal import igzip_lib

    size = path.stat().st_size
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    available = size * _MAX_RATIO if packed else size
    try:
        with _opened(path, packed=packed) as file:
            start = file.read(_HEADER_BYTES)
            header, dtype, there = _header(start, path)
            if shape is not None and tuple(shape) != there:
                raise _invalid(path, f"its shape is {there}, the tables say {tuple(shape)} (k, j, i)")
            offset = int(header["vox_offset"])
            needed = math.prod(there) * dtype.itemsize
            if offset < header["sizeof_hdr"] or offset + needed > available:
                raise _invalid(path, f"{size} bytes cannot hold {needed} bytes of voxels at {offset}")
            limit = max(_FREE_BYTES, _TRUSTED_RATIO * size) if max_bytes is None else max_bytes
            if packed and offset + needed > limit:
                raise DatasetError(
                    "memory-limit",
                    f"{path.name} has {size} bytes and would unpack to {needed}; {limit} are allowed.",
                    hint="If you trust it, read it with segtools.nifti.reader.read(path, max_bytes=…).",
                    path=str(path),
                )
            array = np.empty(there, dtype)
            _fill(array.data.cast("B"), start, offset, file, path)
    except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc] # stub: an instance
        raise _invalid(path, f"its gzip stream is broken ({error})") from error
    slope = float(header["scl_slope"])
    scaled = math.isfinite(slope) and slope != 0
    intercept = float(header["scl_inter"]) if scaled else 0.0
    return NiftiImage(array, _affine(header), slope if scaled else 1.0, intercept, header)


def read_grid(path: Path) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    """Shape (k, j, i) and affine to RAS+ of a file, from its header alone; errors as in `read`."""
    from isal import igzip_lib

    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with _opened(path, packed=packed) as file:
            header, _, shape = _header(file.read(_HEADER_BYTES), path)
    except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc] # stub: an instance
        raise _invalid(path, f"its gzip stream is broken ({error})") from error
    return shape, _affine(header)


def _opened(path: Path, *, packed: bool) -> IO[bytes]:
    if not packed:
        return path.open("rb")
    from isal import igzip

    file: IO[bytes] = igzip.IGzipFile(path, "rb")  # type: ignore[no-untyped-call, assignment]
    return file


def _fill(target: memoryview, start: bytes, offset: int, file: IO[bytes], path: Path) -> None:
    """Fill `target` with the bytes from `offset` on, and read to the end, where gzip keeps its CRC."""
    ahead = start[offset : offset + len(target)]
    target[: len(ahead)] = ahead
    filled = len(ahead)
    skip = offset - len(start)
    while skip > 0 and (passed := len(file.read(min(skip, 1 << 20)))):
        skip -= passed
    while filled < len(target):
        got = file.readinto(target[filled:])  # type: ignore[attr-defined]
        if not got:
            raise _invalid(path, f"it ends {len(target) - filled} bytes early")
        filled += got
    file.read(1)


def _header(start: bytes, path: Path) -> tuple[dict[str, Any], np.dtype[Any], tuple[int, ...]]:
    import numpy as np

    orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
    for order in orders:
        for layout in (NIFTI1, NIFTI2):
            record_type = np.dtype(layout).newbyteorder(order)
            if len(start) < record_type.itemsize:
                continue
            record = np.frombuffer(start, record_type, 1)[0]
            if record["sizeof_hdr"] == record_type.itemsize and record["magic"][:2] == b"n+":
                header = {name: record[name] for name in record_type.names or ()}
                code = int(header["datatype"])
                if code not in DATATYPES:
                    raise _invalid(path, f"datatype is {code}, one of {sorted(DATATYPES)} is readable")
                dim = [int(size) for size in header["dim"]]
                if not math.isfinite(header["vox_offset"]):
                    raise _invalid(path, f"vox_offset is {header['vox_offset']}")
                if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
                    raise _invalid(path, f"dim is {dim}")
                shape = tuple(reversed(dim[1 : dim[0] + 1]))
                return header, np.dtype(DATATYPES[code]).newbyteorder(order), shape
    raise _invalid(path, "it has no single-file NIfTI-1 or NIfTI-2 header")


def _affine(header: dict[str, Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    affine = np.eye(4)
    if header["sform_code"] > 0:
        affine[:3] = header["srow"]
    elif header["qform_code"] > 0:
        affine = quaternion_affine(header["quatern"], header["pixdim"], header["qoffset"])
    else:
        affine[:3, :3] = np.diag(header["pixdim"][1:4])
    return affine


HALF_TURN = 1e-7
"""Where 1 - b² - c² - d² is less, a is 0 (nifti1_io.c, `nifti_quatern_to_mat44`).

Three float32 of a half turn square to 1 with an error of some 6e-8: taken for a², that would turn the
volume by 5e-4 rad, an eighth of a voxel at the far end of 512.
"""


def quaternion_affine(
    quatern: npt.NDArray[Any],
    pixdim: npt.NDArray[Any],
    qoffset: npt.NDArray[Any],
    half_turn: float = HALF_TURN,
) -> npt.NDArray[np.float64]:
    """(4, 4) float64, mm: the qform (nifti1.h, method 2) of a unit quaternion's b, c, d.

    Parameters
    ----------
    quatern, pixdim, qoffset : ndarray
        As in the header.
    half_turn : float
        Bound of a² below which it is 0 and b, c, d are made a unit vector.
    """
    import numpy as np

    b, c, d = (float(part) for part in quatern)
    vector = b * b + c * c + d * d
    a = math.sqrt(max(0.0, 1.0 - vector))
    if 1.0 - vector < half_turn:
        a, length = 0.0, math.sqrt(vector)
        b, c, d = b / length, c / length, d / length
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scale = np.asarray(pixdim[1:4], np.float64) * (1, 1, -1 if pixdim[0] < 0 else 1)
    affine = np.eye(4)
    affine[:3, :3] = rotation * scale
    affine[:3, 3] = qoffset
    return affine


def _invalid(path: Path, what: str) -> DatasetError:
    return DatasetError("dataset-invalid", f"{path.name} is not a valid NIfTI file: {what}.", path=str(path))
