"""What worker processes are asked for; a module of its own, since spawned ones import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.errors import MissingError

if TYPE_CHECKING:
    from segtools.dataset.reader import Dataset

Answers = dict[str, tuple[dict[str, Any], int | None, list[int] | None]]


def answers(dataset: Dataset) -> Answers:
    """By segment_id: its row, the voxels of its mask, the sums of its label maps."""
    found: Answers = {}
    for row in dataset.segments().to_pylist():
        try:
            voxels = int(dataset.mask(row["segment_id"]).sum())
        except MissingError:
            voxels = None
        layers = None
        if row["volume_path"]:
            layers = [int(layer.sum()) for layer in dataset.volume(row).layers]
        found[row["segment_id"]] = (row, voxels, layers)
    return found


def answers_of(dataset: Dataset) -> Answers:
    return answers(dataset)
