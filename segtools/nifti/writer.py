"""Write `(k, j, i)` arrays as NIfTI: our header, then the raw buffer through isal.

The buffer of a C-order `(k, j, i)` array is NIfTI's Fortran-order `(i, j, k)`, so nothing is
transposed or copied; that is where others lose most of their time, not in gzip. The bytes are
deterministic: the gzip header carries no time and no name.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib

from segtools.files import replacing
from segtools.nifti.reader import (
    DATATYPES,
    HALF_TURN,
    INTENT_LABEL,
    NIFTI1,
    NIFTI2,
    SCANNER,
    UNITS_MM,
    quaternion_affine,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

_MAX_NIFTI1_DIM = 32767
_CODES = {np.dtype(name): code for code, name in DATATYPES.items()}
_GZIP = 31
_CHUNK = 1 << 24
_HALF_TURNS = (HALF_TURN, 3 * float(np.finfo(np.float32).eps))
"""Bounds of a² below which readers take it for 0: nifti1_io.c and ITK, nibabel."""
_QFORM_TOLERANCE_VOXELS = 0.05
"""A corner that the float32 quaternion misplaces by more is left to the sform alone."""


def write_volume(
    path: Path,
    array: npt.NDArray[np.uint8 | np.uint16 | np.int16 | np.float32],
    affine_ras: npt.NDArray[np.float64],
    *,
    description: str = "",
    is_label_map: bool = True,
    slope: float = 1.0,
    compression_level: int = 1,
) -> int:
    """Write one ``.nii.gz``, all or nothing.

    Parameters
    ----------
    path : Path
    array : (k, j, i) uint8, uint16, int16 or float32 ndarray
    affine_ras : (4, 4) float64 ndarray, mm
        (i, j, k, 1) to RAS+.
    description : str
        `descrip`, cut to 79 bytes.
    is_label_map : bool
        Sets intent 1002 (NIFTI_INTENT_LABEL).
    slope : float
        `scl_slope`: 1 / MaximumFractionalValue for fractions.
    compression_level : int
        Of isal, 0 to 3.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``.
    WriteError
        ``write-failed``.
    """
    start = header(
        array.shape, array.dtype, affine_ras, description=description, is_label_map=is_label_map, slope=slope
    )
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    voxels = stored.reshape(-1).view(np.uint8).data
    packer = isal_zlib.compressobj(compression_level, wbits=_GZIP)
    with replacing(path) as file:
        file.write(packer.compress(start))
        for begin in range(0, len(voxels), _CHUNK):
            file.write(packer.compress(voxels[begin : begin + _CHUNK]))
        file.write(packer.flush())
        return file.tell()


def header(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    affine_ras: npt.NDArray[np.float64],
    *,
    description: str = "",
    is_label_map: bool = True,
    slope: float = 1.0,
) -> bytes:
    """Header and the empty extension flag; NIfTI-1, or NIfTI-2 where a side exceeds int16.

    Parameters
    ----------
    shape : (3,) tuple of int
        (k, j, i).
    dtype, affine_ras, description, is_label_map, slope
        As in `write_volume`.
    """
    large = max(shape) > _MAX_NIFTI1_DIM
    record = np.zeros((), np.dtype(NIFTI2 if large else NIFTI1).newbyteorder("<"))
    record["sizeof_hdr"] = record.dtype.itemsize
    record["magic"] = b"n+2\0\r\n\x1a\n" if large else b"n+1"
    record["vox_offset"] = record.dtype.itemsize + 4
    record["dim"] = [3, *reversed(shape), 1, 1, 1, 1]
    record["datatype"] = _CODES[dtype.newbyteorder("=")]
    record["bitpix"] = dtype.itemsize * 8
    record["scl_slope"] = slope
    record["xyzt_units"] = UNITS_MM
    record["intent_code"] = INTENT_LABEL if is_label_map else 0
    record["descrip"] = description.encode("ascii", "replace")[:79]
    _orient(record, shape, affine_ras)
    return record.tobytes() + bytes(4)


def _orient(record: npt.NDArray[np.void], shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> None:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    qfac = -1.0 if np.linalg.det(affine[:3, :3]) < 0 else 1.0
    record["pixdim"] = [qfac, *spacing, 1, 1, 1, 1]
    record["sform_code"] = SCANNER
    record["srow"] = affine[:3]
    record["qoffset"] = affine[:3, 3]
    corners = np.array(np.meshgrid(*((0, size - 1) for size in reversed(shape)))).reshape(3, -1)
    most = _QFORM_TOLERANCE_VOXELS * spacing.min()
    for quatern in _stored(_quaternion(affine[:3, :3] / spacing * (1, 1, qfac)), record["quatern"].dtype):
        record["quatern"] = quatern
        if _miss(record, affine, corners) <= most:
            record["qform_code"] = SCANNER
            return
    record["quatern"] = record["qoffset"] = (
        0  # sheared, or an angle float32 cannot hold: the sform speaks alone
    )


def _miss(
    record: npt.NDArray[np.void], affine: npt.NDArray[np.float64], corners: npt.NDArray[np.intp]
) -> float:
    """Distance by which readers misplace the worst corner by the quaternion, mm."""
    return max(
        float(
            np.linalg.norm(
                (
                    quaternion_affine(record["quatern"], record["pixdim"], record["qoffset"], half_turn)
                    - affine
                )[:3, :3]
                @ corners,
                axis=0,
            ).max()
        )
        for half_turn in _HALF_TURNS
    )


def _stored(vector: tuple[float, float, float], dtype: np.dtype[Any]) -> Iterator[npt.NDArray[np.floating]]:
    """b, c, d as the header's numbers: rounded, then with neighbours that keep a² better.

    a is what is left of 1, so the rounding of the three decides about it: near a half turn, where a² is a
    few 1e-7, one step of 6e-8 in the largest of them is a tenth of it.
    """
    nearest = np.array(vector, dtype)
    yield nearest
    rest = 1.0 - float(np.dot(vector, vector))
    around = [
        np.array(
            [
                np.nextafter(part, dtype.type(np.sign(step)) * 2) if step else part
                for part, step in zip(nearest, steps, strict=True)
            ],
            dtype,
        )
        for steps in itertools.product((-1, 0, 1), repeat=3)
    ]
    yield from sorted(
        around, key=lambda each: abs(1.0 - float(np.dot(each.astype(float), each.astype(float))) - rest)
    )


def _quaternion(rotation: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """b, c, d of the unit quaternion with a >= 0 (Shepperd's method: divide by the largest part)."""
    trace = float(np.trace(rotation))
    diagonal = np.append(np.diag(rotation), trace)
    largest = int(np.argmax(diagonal))
    if largest == 3:
        a = 0.5 * np.sqrt(1.0 + trace)
        vector = np.array(
            [
                rotation[2, 1] - rotation[1, 2],
                rotation[0, 2] - rotation[2, 0],
                rotation[1, 0] - rotation[0, 1],
            ]
        ) / (4 * a)
    else:
        n, m = (largest + 1) % 3, (largest + 2) % 3
        main = 0.5 * np.sqrt(1.0 + 2.0 * rotation[largest, largest] - trace)
        vector = np.empty(3)
        vector[largest] = main
        vector[n] = (rotation[n, largest] + rotation[largest, n]) / (4 * main)
        vector[m] = (rotation[m, largest] + rotation[largest, m]) / (4 * main)
        if rotation[m, n] < rotation[n, m]:  # a < 0: -q is the same rotation
            vector = -vector
    b, c, d = (float(part) for part in vector)
    return b, c, d
