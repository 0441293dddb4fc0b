"""TotalSegmentator's structures as coded segments, sides as coded modifiers.

The table is made from ``totalsegmentator_snomed_mapping.csv`` and the label numbers of the task
``total`` in TotalSegmentator 2.18 (https://github.com/wasserth/TotalSegmentator, Apache-2.0). Its own
DICOM writer keeps the side in the label's text only; here it is a modifier of the type or the region.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from segtools.decode.volume import Segment
from segtools.encode.metadata.description import parse_code, parse_color
from segtools.terminology.color import srgb_to_cielab
from segtools.terminology.concepts import Concept

ALGORITHM = "TotalSegmentator"


class StructureRow(NamedTuple):
    """A structure.

    Attributes
    ----------
    label : int or None
        In label maps of the task ``total``.
    """

    label: int | None
    category: Concept
    type: Concept
    type_modifiers: tuple[Concept, ...]
    regions: tuple[Concept, ...]
    region_modifiers: tuple[Concept, ...]
    rgb: tuple[int, int, int] | None


@cache
def structures() -> dict[str, StructureRow]:
    """Structures by TotalSegmentator's name, as ``kidney_left``."""
    text = files("segtools.encode.metadata").joinpath("totalsegmentator.csv").read_text("utf-8")
    return {row["structure"]: _row(row) for row in csv.DictReader(text.splitlines())}


def _row(row: dict[str, str]) -> StructureRow:
    category, of_type = parse_code(row["category"]), parse_code(row["type"])
    assert category is not None  # noqa: S101 - a table of ours, held by a test
    assert of_type is not None  # noqa: S101
    modifier, region, of_region = (
        parse_code(row[name]) for name in ("type_modifier", "region", "region_modifier")
    )
    return StructureRow(
        int(row["total_label"]) if row["total_label"] else None,
        category,
        of_type,
        (modifier,) if modifier else (),
        (region,) if region else (),
        (of_region,) if of_region else (),
        parse_color(row["rgb"]),
    )


def segment_of(name: str, number: int) -> Segment | None:
    """Segment of a structure's name; None if TotalSegmentator knows no such structure."""
    row = structures().get(name)
    if row is None:
        return None
    return Segment(
        number,
        name,
        category=row.category,
        type=row.type,
        type_modifiers=row.type_modifiers,
        regions=row.regions,
        region_modifiers=row.region_modifiers,
        algorithm_type="AUTOMATIC",
        algorithm_name=ALGORITHM,
        cielab=srgb_to_cielab(row.rgb) if row.rgb else None,
    )


def total_segments() -> dict[tuple[int, int], Segment]:
    """Segments of a label map of the task ``total``, by layer 0 and label."""
    found = {}
    for name, row in structures().items():
        segment = segment_of(name, row.label or 0)
        if row.label is not None and segment is not None:
            found[0, row.label] = segment
    return dict(sorted(found.items()))
