"""Cohort-wide labels: the number of each structure in the whole dataset.

A number once given stays its structure's: new structures get the next ones, and one that vanished keeps
its own for when it comes back. So masks exported last year mean today what they meant then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def extended(committed: Mapping[str, int], structures: Iterable[str]) -> dict[str, int]:
    """`committed` labels, and the next numbers for the other `structures`, in the order of their names.

    Examples
    --------
    >>> extended({"liver": 1, "spleen": 2}, ["spleen", "kidney_left", "aorta"])
    {'liver': 1, 'spleen': 2, 'aorta': 3, 'kidney_left': 4}
    """
    first = 1 + max(committed.values(), default=0)
    new = sorted(set(structures) - committed.keys())
    return dict(committed) | {name: number for number, name in enumerate(new, first)}


def committed_labels(manifest: Mapping[str, Any] | None) -> dict[str, int]:
    """The labels of a commit."""
    return dict((manifest or {}).get("labels") or {})


def covers_all(manifest: Mapping[str, Any] | None) -> bool:
    """Whether every structure of a commit has a label: not where the cohort file names them itself."""
    return manifest is not None and manifest.get("label_index") is None


def changes_rows(manifest: Mapping[str, Any] | None, labels: Mapping[str, int]) -> bool:
    """Whether rows of a commit may get other labels than they have."""
    before = committed_labels(manifest)
    is_extended = all(labels.get(name) == number for name, number in before.items())
    return manifest is not None and not (labels == before or (covers_all(manifest) and is_extended))
