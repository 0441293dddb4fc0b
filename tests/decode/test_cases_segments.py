"""Edge cases of SEG: every row of the section segments."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases_segments import segment_cases
from tests.factories.cases_terms import term_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", [*segment_cases(), *term_cases()], ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)
