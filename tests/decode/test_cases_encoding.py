"""Edge cases of SEG: elements, delimiters and encodings that break the rules."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases_encoding import encoding_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", encoding_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)
