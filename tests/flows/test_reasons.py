"""Every reason to run is told in words."""

from __future__ import annotations

import pytest

from flows.pipeline import _REASONS, _phrase
from segtools.run.staleness import RunReason, Staleness


def test_every_reason_has_words_of_its_own():
    assert set(_REASONS) == set(RunReason)
    assert len({_phrase(Staleness(reason, 24, 25)) for reason in RunReason}) == len(RunReason)


@pytest.mark.parametrize(
    ("committed", "words"), [(24, "the dataset has v24"), (None, "the dataset has none")]
)
def test_a_release_is_named(committed, words):
    said = _phrase(Staleness(RunReason.NEW_RELEASE, committed, 25))
    assert said == f"IDC v25 is out, {words}"
