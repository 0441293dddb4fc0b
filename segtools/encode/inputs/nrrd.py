"""NRRD files (https://teem.sourceforge.net/nrrd/format.html), and Slicer's ``.seg.nrrd``."""

from __future__ import annotations

import bz2
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.encode.inputs.mask import MaskFile, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_TYPES = {
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i1": ("char", "signed char", "int8", "int8_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPE = {name: dtype for dtype, names in _TYPES.items() for name in names}
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
"""Signs that turn a space into LPS."""
_MAX_HEADER = 1 << 22
_MAX_BYTES = 1 << 35
_MAX_RATIO = 1040
_SEGMENT = re.compile(r"Segment(\d+)_(\w+)")


@dataclass(frozen=True)
class _Nrrd:
    """A parsed header."""

    path: Path
    fields: Mapping[str, str]
    keys: Mapping[str, str]
    data_at: int

    def field(self, name: str) -> str:
        value = self.fields.get(name)
        if value is None:
            raise unreadable(self.path, f"the NRRD field {name!r} is absent")
        return value


def read_nrrd(path: Path) -> MaskFile:
    """Read an NRRD of 3 dimensions, or of 4 whose first are layers.

    Raises
    ------
    UsageError
        ``mask-unreadable``.
    OSError
    """
    nrrd = _header(path)
    sizes = [int(part) for part in nrrd.field("sizes").split() if part.isdigit()]
    if len(sizes) not in (3, 4) or min(sizes) < 1:
        raise unreadable(
            path, f"its sizes are {nrrd.field('sizes')!r}; 3 dimensions, or 4 with layers, are read"
        )
    array = _voxels(nrrd, sizes)
    directions = _vectors(nrrd, "space directions")
    layered = len(sizes) == 4
    if layered:
        if directions[0] is not None:
            raise unreadable(path, "its first axis has a direction; layers have none")
        directions = directions[1:]
        layers = tuple(np.ascontiguousarray(array[..., n]) for n in range(sizes[0]))
    else:
        layers = (array,)
    return MaskFile(path.name, layers, _affine(nrrd, directions), named=_segments(nrrd))


def _header(path: Path) -> _Nrrd:
    with path.open("rb") as file:
        start = file.read(_MAX_HEADER)
    if not re.match(rb"NRRD000[1-5]\r?\n", start):
        raise unreadable(path, "it does not start with NRRD0001 to NRRD0005")
    end = re.search(rb"\r?\n\r?\n", start)
    text = (start[: end.start()] if end else start).decode("utf-8", "replace")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        if line.startswith("#"):
            continue
        if ":=" in line:
            key, _, value = line.partition(":=")
            keys[key.strip()] = value.replace("\\n", "\n").replace("\\\\", "\\")
        elif ": " in line or line.endswith(":"):
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
    return _Nrrd(path, fields, keys, end.end() if end else len(start))


def _voxels(nrrd: _Nrrd, sizes: list[int]) -> npt.NDArray[Any]:
    kind = _DTYPE.get(nrrd.field("type").lower())
    if kind is None:
        raise unreadable(nrrd.path, f"its type is {nrrd.field('type')!r}, which holds no labels")
    order = ">" if nrrd.fields.get("endian", "little") == "big" else "<"
    dtype = np.dtype(f"{order}{kind}")
    needed = math.prod(sizes) * dtype.itemsize
    raw = _inflated(nrrd, needed)
    if len(raw) < needed:
        raise unreadable(nrrd.path, f"it has {len(raw)} bytes of voxels, {needed} are described")
    array: npt.NDArray[Any] = np.frombuffer(raw, dtype, math.prod(sizes)).reshape(sizes[::-1])
    return array.astype(dtype.newbyteorder("="), copy=False)


def _inflated(nrrd: _Nrrd, needed: int) -> bytes:
    """Bytes of the voxels, never more than `needed`."""
    packed = _data(nrrd)
    encoding = nrrd.field("encoding").lower()
    if needed > _MAX_BYTES or (encoding in ("gzip", "gz") and needed > _MAX_RATIO * len(packed)):
        raise unreadable(nrrd.path, f"{len(packed)} bytes cannot hold the {needed} bytes of voxels described")
    try:
        if encoding == "raw":
            return packed
        if encoding in ("gzip", "gz"):
            return zlib.decompressobj(wbits=31).decompress(packed, needed)
        if encoding in ("bzip2", "bz2"):
            return bz2.BZ2Decompressor().decompress(packed, needed)
    except (zlib.error, OSError, EOFError) as error:
        raise unreadable(nrrd.path, f"its compressed voxels are broken ({error})") from error
    raise unreadable(nrrd.path, f"its encoding is {encoding!r}; raw, gzip and bzip2 are read")


def _data(nrrd: _Nrrd) -> bytes:
    name = nrrd.fields.get("data file") or nrrd.fields.get("datafile")
    if name is None:
        return nrrd.path.read_bytes()[nrrd.data_at :]
    beside = Path(name)
    if beside.name != name or name.upper().startswith("LIST"):
        raise unreadable(nrrd.path, f"its voxels are in {name!r}; one file beside the header is read")
    file = nrrd.path.with_name(name)
    if not file.is_file():
        raise unreadable(nrrd.path, f"its voxels should be in {name!r}, which is not there")
    return file.read_bytes()


def _vectors(nrrd: _Nrrd, name: str) -> list[tuple[float, ...] | None]:
    found: list[tuple[float, ...] | None] = []
    for part in re.findall(r"\([^)]*\)|none", nrrd.field(name)):
        try:
            vector = None if part == "none" else tuple(float(number) for number in part[1:-1].split(","))
        except ValueError:
            raise unreadable(nrrd.path, f"its {name} are {nrrd.field(name)[:80]!r}") from None
        found.append(vector)
    return found


def _affine(nrrd: _Nrrd, directions: list[tuple[float, ...] | None]) -> npt.NDArray[np.float64]:
    space = nrrd.field("space").lower()
    signs = _SPACES.get(space)
    if signs is None:
        raise unreadable(
            nrrd.path, f"its space is {space!r}; one of {', '.join(_SPACES)} says where the patient is"
        )
    origin = _vectors(nrrd, "space origin")
    columns = [*directions, *origin]
    if len(columns) != 4 or any(column is None or len(column) != 3 for column in columns):
        raise unreadable(nrrd.path, "it has no three space directions and a space origin of three numbers")
    affine = np.eye(4)
    affine[:3] = np.array(columns, np.float64).T * np.array(signs)[:, None]
    if not np.all(np.isfinite(affine)):
        raise unreadable(nrrd.path, "its space directions or origin are not numbers")
    return affine


def _segments(nrrd: _Nrrd) -> dict[tuple[int, int], dict[str, str]]:
    """Fields of Slicer's segments by layer and label."""
    found: dict[int, dict[str, str]] = {}
    for key, value in nrrd.keys.items():
        if match := _SEGMENT.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    named: dict[tuple[int, int], dict[str, str]] = {}
    for number, fields in sorted(found.items()):
        label, layer = fields.get("LabelValue", str(number + 1)), fields.get("Layer", "0")
        if not (label.strip().isdigit() and layer.strip().isdigit()):
            raise unreadable(
                nrrd.path, f"Segment{number} has LabelValue {label[:20]!r} and Layer {layer[:20]!r}"
            )
        named[int(layer), int(label)] = fields
    return named
