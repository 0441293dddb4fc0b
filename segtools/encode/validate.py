"""Before anything is written: whether a mask fits its description, and looks like one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segtools.encode.frames.masks import values_in
from segtools.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from segtools.encode.frames.masks import Masks

_ISLAND = 10
"""Voxels below which a component counts as an island."""
_SHOWN = 10


def check_labels(
    name: str, layers: Sequence[npt.NDArray[Any]], described: Collection[tuple[int, int]]
) -> list[Finding]:
    """Labels without a description, and descriptions without a voxel.

    Parameters
    ----------
    name : str
        Of the mask file.
    layers : sequence of (k, j, i) uint8 or uint16 ndarray
    described : collection of (int, int)
        Layers and labels.

    Returns
    -------
    list of Finding
        ``label-undescribed`` (an error), ``label-unused``, ``mask-empty``.
    """
    used = {(n, value) for n, layer in enumerate(layers) for value in values_in(layer) if value}
    findings = []
    if not used:
        findings.append(Finding("mask-empty", f"{name} has no labelled voxel."))
    if unknown := sorted(used - set(described)):
        labels = _listed([label for _, label in unknown])
        findings.append(
            Finding(
                "label-undescribed",
                f"{name} has {len(unknown)} labels that are not described: {labels}.",
                observed=labels,
            )
        )
    if unused := sorted(set(described) - used):
        labels = _listed([label for _, label in unused])
        findings.append(
            Finding(
                "label-unused",
                f"{len(unused)} labels described have no voxel in {name}: {labels}.",
                observed=labels,
            )
        )
    return findings


def check_islands(masks: Masks, numbers: Sequence[int]) -> list[Finding]:
    """Segments that have small components beside a large one: noise, more often than not."""
    import cc3d

    findings = []
    number_of = {place: number for number, place in masks.place.items()}
    for n, layer in enumerate(masks.layers):
        own = layer if layer.flags.writeable else layer.copy()  # cc3d takes no read-only memory
        components, count = cc3d.connected_components(own, connectivity=26, return_N=True)
        if count <= 1:
            continue
        sizes = np.bincount(components.reshape(-1), minlength=count + 1)[1:]
        _, first = np.unique(components, return_index=True)
        first = first[1:] if not components.reshape(-1)[first[0]] else first
        values = layer.reshape(-1)[first]
        for value in np.unique(values):
            of_value = sizes[values == value]
            islands = int((of_value < _ISLAND).sum())
            number = number_of.get((n, int(value)))
            if number in numbers and islands and int(of_value.max()) >= 10 * _ISLAND:
                message = (
                    f"Segment {number} has {islands} islands of fewer than {_ISLAND} voxels beside its body."
                )
                findings.append(Finding("mask-fragments", message, "segment", number, observed=str(islands)))
    return findings


def _listed(labels: Sequence[int]) -> str:
    shown = ", ".join(map(str, labels[:_SHOWN]))
    return shown if len(labels) <= _SHOWN else f"{shown} and {len(labels) - _SHOWN} more"
