"""Edge cases of SEG: how many frames there are, and none."""

from __future__ import annotations

import pytest

from tests.factories.case import Case
from tests.factories.cases_frames import frame_cases
from tests.factories.judge import judge


@pytest.mark.parametrize("case", frame_cases(), ids=lambda case: case.id)
def test_case(case: Case) -> None:
    judge(case)
