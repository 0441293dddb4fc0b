"""Read a mask file of any kind, by its name."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from segtools.decode.volume import LPS_TO_RAS
from segtools.encode.inputs.mask import MaskFile, unreadable
from segtools.encode.inputs.nrrd import read_nrrd
from segtools.errors import DatasetError, MissingError, UsageError
from segtools.nifti.reader import read as read_nifti

if TYPE_CHECKING:
    import numpy.typing as npt

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".npz", ".npy")
_NO_ARRAY = (ValueError, EOFError, KeyError, MemoryError, NotImplementedError, BadZipFile, zlib.error)
"""What NumPy and zipfile raise on a file that is broken or lies about its size."""


def read_mask(path: Path, affine_ras: npt.NDArray[np.float64] | None = None) -> MaskFile:
    """Read NIfTI, NRRD, seg.nrrd, or NumPy.

    An ``.npz`` has the labels, indexed (i, j, k), and ``affine``, (4, 4), (i, j, k, 1) to RAS+ in mm:
    what nibabel calls data and affine. An ``.npy`` has the labels only.

    Parameters
    ----------
    path : Path
    affine_ras : (4, 4) float64 ndarray, mm, optional
        Of an ``.npy``.

    Raises
    ------
    MissingError
        ``not-found``.
    UsageError
        ``mask-unreadable``.
    """
    name = path.name.lower()
    if not path.is_file():
        raise MissingError("not-found", f"There is no mask file {path}.", path=str(path))
    try:
        if name.endswith((".nii", ".nii.gz")):
            return _nifti(path)
        if name.endswith((".nrrd", ".nhdr")):
            return read_nrrd(path)
        if name.endswith((".npz", ".npy")):
            return _numpy(path, affine_ras)
    except OSError as error:
        raise unreadable(path, f"it cannot be opened ({error.strerror or error})") from error
    raise unreadable(path, f"its name ends in none of {', '.join(SUFFIXES)}")


def _nifti(path: Path) -> MaskFile:
    try:
        image = read_nifti(path)
    except DatasetError as error:
        raise unreadable(
            path, error.message.removeprefix(f"{path.name} is not a valid NIfTI file: ").rstrip(".")
        ) from None
    array = image.array
    if image.slope != 1 or image.intercept != 0:
        array = array * image.slope + image.intercept
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    while array.ndim < 3:
        array = array[None]
    if array.ndim > 4:
        raise unreadable(path, f"it has {array.ndim} dimensions; 3, or 4 with time, are read")
    temporal = array.ndim == 4
    layers = tuple(array) if temporal else (array,)
    return MaskFile(path.name, layers, LPS_TO_RAS @ image.affine_ras_mm, is_temporal=temporal)


def _numpy(path: Path, affine: npt.NDArray[np.float64] | None) -> MaskFile:
    with path.open("rb") as file:  # ours to close: NumPy leaves a broken archive open
        try:
            array, own = _arrays(path, np.load(file, allow_pickle=False))
        except UsageError:
            raise  # it is a ValueError, too
        except _NO_ARRAY as error:
            raise unreadable(path, f"it is not a NumPy array ({error})") from error
    affine = affine if own is None else own
    if array.dtype.kind not in "buif":
        raise unreadable(path, f"its array has the type {array.dtype}; labels are numbers")
    if affine is None or affine.shape != (4, 4) or affine.dtype.kind not in "uif":
        raise unreadable(path, "it has no (4, 4) 'affine' from (i, j, k, 1) to RAS+ mm; an .npz holds one")
    if not np.isfinite(affine).all():
        raise unreadable(path, "its 'affine' has values that are not numbers")
    if array.ndim != 3:
        raise unreadable(path, f"it has {array.ndim} dimensions; 3 are read: (i, j, k)")
    return MaskFile(path.name, (np.ascontiguousarray(array.T),), LPS_TO_RAS @ np.asarray(affine, np.float64))


def _arrays(path: Path, loaded: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Labels, and the affine of an ``.npz``."""
    if isinstance(loaded, np.ndarray):
        return loaded, None
    names = [name for name in loaded.files if name != "affine"]
    if len(names) != 1:
        raise unreadable(path, f"it has the arrays {names}; one, and 'affine', are read")
    return loaded[names[0]], loaded["affine"] if "affine" in loaded.files else None
