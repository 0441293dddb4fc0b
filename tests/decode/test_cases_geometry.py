"""Edge cases of SEG: every row of the section geometry."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases_geometry import geometry_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", geometry_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)
