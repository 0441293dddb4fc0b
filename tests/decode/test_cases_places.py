"""Edge cases of SEG: positions far apart, and frames that share one."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases_places import place_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", place_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)
