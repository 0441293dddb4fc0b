"""Measures counted again from stored voxels, by another way than `segtools.decode.measure`.

There, rows are cut into runs; here, the voxels of each slice are sorted by their label. Components come
from cc3d, on a copy with an empty border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    Stored = npt.NDArray[Any]

_RELATIVE = 1e-6
_ABSOLUTE_MM = 1e-4


def label_measures(stored: Stored) -> dict[int, dict[str, Any]]:
    """Measures of each label of a (k, j, i) array but 0, as columns of the segments table.

    ``volume_ml`` and the centroid need the grid: `mean_ijk` stands in for them. Memory follows one slice,
    then one label's box: a table of all voxels would take fifty bytes for each.
    """
    tallies: dict[int, _Tally] = {}
    for k, plane in enumerate(stored):
        j, i = np.nonzero(plane)
        labels, which = np.unique(plane[j, i], return_inverse=True)
        counts = np.bincount(which, minlength=len(labels)).tolist()
        sums = [np.bincount(which, axis, len(labels)).tolist() for axis in (i, j)]
        order = np.argsort(which, kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
        ends = [
            extreme.reduceat(axis[order], starts).tolist() if len(labels) else []
            for axis in (i, j)
            for extreme in (np.minimum, np.maximum)
        ]
        for n, label in enumerate(labels.tolist()):
            tally = tallies.setdefault(label, _Tally(k))
            tally.add(k, counts[n], [column[n] for column in sums], [column[n] for column in ends])
    return {label: _measures(label, tallies[label], stored) for label in sorted(tallies)}


class _Tally:
    """Voxels of a label, slice after slice: their number, sums and bounds along i, j and k."""

    def __init__(self, first_slice: int) -> None:
        self.count, self.slices, self.sums = 0, 0, [0.0, 0.0, 0.0]
        self.low, self.high = [2**62, 2**62, first_slice], [-1, -1, -1]

    def add(self, k: int, count: int, sums: list[float], ends: list[int]) -> None:
        """Add a slice: sums along i and j, then the least and largest i, the least and largest j."""
        self.count, self.slices = self.count + count, self.slices + 1
        self.sums = [a + b for a, b in zip(self.sums, (*sums, k * count), strict=True)]
        self.low[:2] = [min(self.low[0], ends[0]), min(self.low[1], ends[2])]
        self.high = [max(self.high[0], ends[1]), max(self.high[1], ends[3]), k]


def overlap_counts(label_maps: Iterable[Stored], fractions: Mapping[int, Stored]) -> dict[int, int]:
    """Voxels of each segment that another segment of the instance has too."""
    maps = list(label_maps)
    everything = [array != 0 for array in [*maps, *fractions.values()]]
    if len(everything) < 2:
        return {}
    holders = np.sum(everything, axis=0, dtype=np.uint16)
    shared = holders > 1
    counts: dict[int, int] = {}
    for array in maps:
        numbers, times = np.unique(array[shared], return_counts=True)
        counts |= dict(zip(numbers.tolist(), times.tolist(), strict=True))
    counts |= {number: int(np.count_nonzero(array[shared])) for number, array in fractions.items()}
    return counts


def differences(row: Mapping[str, Any], measured: Mapping[str, Any] | None) -> Iterator[tuple[str, Any, Any]]:
    """Columns of a segment's row that are not as measured: name, measured value, stated value.

    Parameters
    ----------
    row : mapping
        Of the segments table.
    measured : mapping or None
        See `label_measures`, with ``overlap_voxel_count``, and ``fraction_sum`` of a FRACTIONAL segment;
        None where it has no voxels.
    """
    for name, value in _columns(row, measured).items():
        stated = row[name]
        if isinstance(value, float) and isinstance(stated, float):
            slack = _ABSOLUTE_MM if name.endswith("_mm") else 0.0
            is_same = abs(value - stated) <= slack + _RELATIVE * max(abs(value), abs(stated))
        else:
            is_same = value == stated
        if not is_same:
            yield name, value, stated


def _columns(row: Mapping[str, Any], measured: Mapping[str, Any] | None) -> dict[str, Any]:
    box = [f"bbox_{end}_{axis}" for axis in "ijk" for end in ("min", "max")]
    centroid = [f"centroid_{axis}_mm" for axis in "ras"]
    if measured is None:
        return {
            **dict.fromkeys((*box, *centroid, "largest_component_fraction")),
            **dict.fromkeys(("voxel_count", "slice_count", "component_count", "overlap_voxel_count"), 0),
            "volume_ml": 0.0,
            "touches_border": False,
            **_spacing(row),
        }
    own = {name: value for name, value in measured.items() if name not in ("mean_ijk", "fraction_sum")}
    if row["affine_ras_mm"] is None:  # part of it is unknown: what is known of it cannot be counted again
        unknown = {"volume_ml": None} if None in _spacings(row) else {}
        return {**own, **unknown}
    affine = np.array(row["affine_ras_mm"], np.float64).reshape(4, 4)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    amount = measured.get("fraction_sum", measured["voxel_count"])
    position = (affine @ np.array([*measured["mean_ijk"], 1.0]))[:3].tolist()
    return {
        **own,
        **dict(zip(centroid, position, strict=True)),
        "volume_ml": amount * voxel_ml,
        **_spacing(row),
    }


def _spacings(row: Mapping[str, Any]) -> list[float | None]:
    return [row[f"spacing_{axis}_mm"] for axis in "ijk"]


def _spacing(row: Mapping[str, Any]) -> dict[str, float]:
    """Spacing columns by the row's affine; none where it has no affine."""
    if row["affine_ras_mm"] is None:
        return {}
    affine = np.array(row["affine_ras_mm"], np.float64).reshape(4, 4)
    lengths = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return {f"spacing_{axis}_mm": length for axis, length in zip("ijk", lengths, strict=True)}


def _measures(label: int, tally: _Tally, stored: Stored) -> dict[str, Any]:
    (i0, j0, k0), (i1, j1, k1) = tally.low, tally.high
    box = stored[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
    inside = np.zeros([size + 2 for size in box.shape], bool)  # an empty border: cc3d miscounts single lines
    np.equal(box, label, out=inside[1:-1, 1:-1, 1:-1])
    sizes = _component_sizes(inside)
    last = [size - 1 for size in reversed(stored.shape)]
    return {
        "voxel_count": tally.count,
        **dict(zip(("bbox_min_i", "bbox_max_i"), (i0, i1), strict=True)),
        **dict(zip(("bbox_min_j", "bbox_max_j"), (j0, j1), strict=True)),
        **dict(zip(("bbox_min_k", "bbox_max_k"), (k0, k1), strict=True)),
        "mean_ijk": [total / tally.count for total in tally.sums],
        "slice_count": tally.slices,
        "component_count": len(sizes),
        "largest_component_fraction": float(np.float32(sizes.max() / tally.count)),
        "touches_border": 0 in tally.low or any(a == b for a, b in zip(tally.high, last, strict=True)),
    }


def _component_sizes(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    from cc3d import connected_components

    image, count = connected_components(inside, connectivity=26, return_N=True)
    sizes = np.zeros(count + 1, np.int64)
    for plane in image:  # bincount makes eight bytes of each voxel
        sizes += np.bincount(plane.reshape(-1), minlength=count + 1)
    return sizes[1:]
