"""Edge cases of SEG: every row of the section structure."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases import ROWS, all_cases
from tests.factories.cases_structure import structure_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", structure_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)


def test_every_row_has_a_case() -> None:
    assert {case.id.split(":")[0] for case in all_cases()} == set(ROWS)
    assert len(ROWS) == 106


def test_case_ids_are_unique() -> None:
    ids = [case.id for case in all_cases()]
    assert len(set(ids)) == len(ids)
