"""All edge cases, by row."""

from __future__ import annotations

from functools import cache

from tests.factories.case import Case
from tests.factories.cases_encoding import encoding_cases
from tests.factories.cases_frames import frame_cases
from tests.factories.cases_geometry import geometry_cases
from tests.factories.cases_pixels import pixel_cases
from tests.factories.cases_places import place_cases
from tests.factories.cases_segments import segment_cases
from tests.factories.cases_structure import structure_cases
from tests.factories.cases_terms import term_cases

ROWS = [f"E{n}" for n in range(1, 114)] + ["E28b", "E28c", "E28d", "E28e", "E28f"]
"""The rows there must be a case of."""


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, ordered by row."""
    cases = [
        *pixel_cases(),
        *geometry_cases(),
        *segment_cases(),
        *term_cases(),
        *structure_cases(),
        *frame_cases(),
        *place_cases(),
        *encoding_cases(),
    ]
    order = {row: i for i, row in enumerate(sorted(ROWS, key=_row_key))}
    return tuple(sorted(cases, key=lambda c: order[c.id.split(":")[0]]))


def _row_key(row: str) -> tuple[int, str]:
    digits = row[1:].rstrip("bcdef")
    return int(digits), row[1 + len(digits) :]
