"""Label maps seen from the front and from below, as a radiologist expects them.

Each segment is drawn from its thickness along the line of sight, large segments first: a lesion
shows inside its organ, as in a maximum intensity projection. The work is done in slabs of the box
that holds segments; nothing of the volume's size is allocated.
"""

from __future__ import annotations

import io
import itertools
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtools import native
from segtools.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    import numpy.typing as npt

    Layer = npt.NDArray[np.uint8 | np.uint16]

VIEWS = {"coronal": (2, 0, "RLSI"), "axial": (1, 0, "RLAP")}
"""Patient axes (R, A, S = 0, 1, 2) of rows and columns; letters at left, right, top and bottom."""

SIDE = 256
"""Pixels of a picture's side."""

MAXIMUM_PNG_BYTES = 20_000

MAXIMUM_SEGMENTS = 127
"""Segments drawn; more would not be told apart."""

_BORDER = 20
_MARGIN_MM = 12.0
_SPACING_MINIMUM_MM, _SPACING_MAXIMUM_MM = 1e-6, 1e6
_SLAB_VOXELS = 1 << 20
_PLATE = (11, 14, 20)
_INK = (176, 186, 200)
_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def project(
    layers: Sequence[Layer],
    affine_ras: npt.NDArray[np.float64],
    colors: Mapping[int, tuple[int, int, int]],
) -> dict[str, bytes]:
    """Draw a segmentation in each of `VIEWS`; the patient's right is on the left.

    An oblique grid is drawn along its own axes, named after the nearest patient axes.

    Parameters
    ----------
    layers : sequence of (k, j, i) uint8 or uint16 ndarray
        Label maps of one grid; the value is the SegmentNumber.
    affine_ras : (4, 4) float64 ndarray, mm
        Maps (i, j, k, 1) to RAS+.
    colors : mapping of int to (3,) tuple of int
        SegmentNumber to sRGB, 0-255; the first `MAXIMUM_SEGMENTS` of them are drawn.

    Returns
    -------
    dict of str to bytes
        PNG by view, `SIDE` pixels square, `MAXIMUM_PNG_BYTES` at most; empty if no voxel is set.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: the layers are no label maps of one grid, or the affine is singular.
    """
    if len({layer.shape for layer in layers}) != 1 or any(
        layer.ndim != 3 or layer.dtype.kind != "u" or layer.dtype.itemsize > 2 for layer in layers
    ):
        raise DatasetError("dataset-invalid", "The volume's layers are not label maps on one grid.")
    spacing, facing = _face(layers, affine_ras)
    box = _box(facing, spacing)
    if box is None:
        return {}
    facing = [layer[box] for layer in facing]
    extent = spacing * facing[0].shape
    pixel_mm = float(extent.max()) / (SIDE - 2 * _BORDER)
    numbers = list(itertools.islice(colors, MAXIMUM_SEGMENTS))
    rgb = np.array([_PLATE, *(colors[number] for number in numbers)], np.float32)
    step = np.clip(np.floor(pixel_mm / spacing), 1, facing[0].shape).astype(int)
    pictures = {}
    for view, depths in _thickness(facing, numbers, step).items():
        row, column, letters = VIEWS[view]
        size = [max(1, round(float(extent[axis]) / pixel_mm)) for axis in (column, row)]
        image = Image.fromarray(_paint(depths, rgb)).resize((size[0], size[1]), Image.Resampling.BICUBIC)
        pictures[view] = _png(_plate(image, letters, pixel_mm))
    return pictures


def _face(
    layers: Sequence[Layer], affine_ras: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], list[Layer]]:
    """Turn the layers (views) so that their axes run R to L, A to P, S to I; with their spacing."""
    columns = affine_ras[:3, :3]
    if not np.abs(columns).max() < _SPACING_MAXIMUM_MM:  # nan as well
        raise DatasetError("dataset-invalid", f"The volume's affine is {affine_ras.tolist()}: no picture.")
    spacing = np.linalg.norm(columns, axis=0)
    if spacing.min() < _SPACING_MINIMUM_MM:
        raise DatasetError("dataset-invalid", f"The volume's spacing is {spacing.tolist()} mm: no picture.")
    cosines = columns / spacing
    axes = max(
        itertools.permutations(range(3)),
        key=lambda order: sum(abs(cosines[world, voxel]) for world, voxel in enumerate(order)),
    )
    flips = tuple(slice(None, None, -1 if cosines[w, v] > 0 else 1) for w, v in enumerate(axes))
    facing = [layer.transpose([2 - voxel for voxel in axes])[flips] for layer in layers]
    return spacing[list(axes)], facing


def _box(facing: Sequence[Layer], spacing: npt.NDArray[np.float64]) -> tuple[slice, ...] | None:
    """Find the box that holds all segments, with a margin; None if there are no voxels."""
    shape = facing[0].shape
    used = [np.zeros(size, bool) for size in shape]
    for layer in facing:
        flat = layer.max(axis=1, initial=0)
        used[0] |= flat.any(axis=1)
        used[2] |= flat.any(axis=0)
        used[1] |= layer.max(axis=2, initial=0).any(axis=0)
    if not used[0].any():
        return None
    margin = np.ceil(_MARGIN_MM / spacing).astype(int)
    ends = [np.flatnonzero(mask)[[0, -1]] for mask in used]
    return tuple(
        slice(max(0, int(first) - pad), min(size, int(last) + 1 + pad))
        for (first, last), pad, size in zip(ends, margin, shape, strict=True)
    )


def _thickness(
    facing: Sequence[Layer], numbers: Sequence[int], step: npt.NDArray[np.int_]
) -> dict[str, npt.NDArray[np.int64]]:
    """Voxels along the line of sight: by view (number, row, column), `step` voxels to a bin."""
    bins = [-(-size // int(by)) for size, by in zip(facing[0].shape, step, strict=True)]
    shapes = {view: (len(numbers) + 1, bins[row], bins[column]) for view, (row, column, _) in VIEWS.items()}
    counts = {view: np.zeros(int(np.prod(shape)), np.int64) for view, shape in shapes.items()}
    index_of = np.zeros(np.iinfo(np.uint16).max + 1, np.int32)
    index_of[list(numbers)] = np.arange(1, len(numbers) + 1)
    core = native.core()
    count = _count_with_numpy if core is None else partial(_count_natively, core)
    for layer in facing:
        order = np.argsort(-np.abs(layer.strides), kind="stable")  # as it lies in memory
        forwards = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in layer.strides)
        stored = layer[forwards].transpose(order)
        # Bin of each voxel along each axis, then what it adds to a pixel's index.
        along = [
            (np.arange(size) // by)[way] for size, by, way in zip(layer.shape, step, forwards, strict=True)
        ]
        for view, (row, column, _) in VIEWS.items():
            place = [np.zeros(size, np.int64) for size in layer.shape]
            place[row] += along[row] * bins[column]
            place[column] += along[column]
            places = [place[axis] for axis in order.tolist()]
            thick = max(1, _SLAB_VOXELS * stored.shape[0] // stored.size)
            for start in range(0, stored.shape[0], thick):
                slab = np.ascontiguousarray(stored[start : start + thick])
                pixels = bins[row] * bins[column]
                count(slab, index_of, pixels, [places[0][start : start + thick], *places[1:]], counts[view])
    return {view: count.reshape(shapes[view]) for view, count in counts.items()}


def _count_with_numpy(
    slab: Layer,
    index_of: npt.NDArray[np.int32],
    pixels: int,
    places: Sequence[npt.NDArray[np.int64]],
    counts: npt.NDArray[np.int64],
) -> None:
    """Add the voxels of a slab to the pixels they are seen at, label by label."""
    flat = np.flatnonzero(slab != 0)
    index = index_of[slab.reshape(-1)[flat]].astype(np.int64) * pixels
    for place, at in zip(places, np.unravel_index(flat, slab.shape), strict=True):
        index += place[at]
    np.add.at(counts, index, 1)  # not bincount: that is as long as all of the counts


def _count_natively(
    core: ModuleType,
    slab: Layer,
    index_of: npt.NDArray[np.int32],
    pixels: int,
    places: Sequence[npt.NDArray[np.int64]],
    counts: npt.NDArray[np.int64],
) -> None:
    core.project(slab, slab.itemsize, index_of, pixels, *places, counts)


def _paint(depths: npt.NDArray[np.int64], rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(row, column, 3) uint8: segments over each other, the largest first, denser where thicker."""
    canvas = np.broadcast_to(rgb[0], (*depths.shape[1:], 3)).copy()
    totals = depths.sum(axis=(1, 2))
    for index in sorted(range(1, len(rgb)), key=lambda n: (-totals[n], n)):
        if not totals[index]:
            continue
        rows, columns = (np.flatnonzero(depths[index].any(axis=axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        depth = depths[index][box].astype(np.float32)
        relative = depth / depth.max()
        alpha = np.where(depth > 0, 0.35 + 0.55 * np.sqrt(relative), 0)[..., None]
        shade = 0.62 + 0.38 * relative[..., None]
        canvas[box] += alpha * (shade * rgb[index] - canvas[box])
    painted: npt.NDArray[np.uint8] = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return painted


def _plate(image: Image.Image, letters: str, pixel_mm: float) -> Image.Image:
    """Centre the image on a dark square, with orientation letters and a scale bar."""
    plate = Image.new("RGB", (SIDE, SIDE), _PLATE)
    plate.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    draw = ImageDraw.Draw(plate)
    font = ImageFont.load_default(15)
    edge, middle = _BORDER // 2, SIDE // 2
    spots = ((edge, middle), (SIDE - edge, middle), (middle, edge), (middle, SIDE - edge))
    for letter, spot in zip(letters, spots, strict=True):
        draw.text(spot, letter, _INK, font, anchor="mm")
    bar = max((mm for mm in _BARS_MM if mm / pixel_mm <= SIDE / 4), default=None)
    if bar is not None:
        right, y = SIDE - edge, SIDE - edge
        draw.line((right - bar / pixel_mm, y, right, y), _INK, 1)
        draw.text((right, y - 3), f"{bar} mm", _INK, ImageFont.load_default(13), anchor="rb")
    return plate


def _png(plate: Image.Image) -> bytes:
    """PNG with as many colours as fit into `MAXIMUM_PNG_BYTES`."""
    for count in (256, 128, 64, 32, 16, 8, 4, 2):
        file = io.BytesIO()
        plate.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            file, "PNG", optimize=True
        )
        if file.tell() <= MAXIMUM_PNG_BYTES:
            break
    return file.getvalue()
