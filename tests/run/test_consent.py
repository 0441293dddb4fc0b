"""What a run does only when it was asked to: delete volumes, download very much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segtools.errors import UsageError
from segtools.run.consent import Consent
from tests.run.whole import COHORT, complete, content, make_place

ONE = COHORT + "patients: [P0]\n"
OTHER = COHORT + "patients: [P1]\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("consent"))


def with_consent(run, **choices):
    run.config = replace(run.config, consent=Consent(**choices))
    return run


def refused(run, code):
    with pytest.raises(UsageError) as caught:
        complete(run)
    assert caught.value.code == code
    return caught.value


def test_another_cohort_deletes_nothing_unasked(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset, cohort=ONE))
    before = content(dataset)
    error = refused(place.run(dataset, cohort=OTHER), "deletion-not-confirmed")
    assert "another cohort file" in error.message
    assert "1.2.3.0" in error.message  # what would go
    assert "--replace" in error.hint
    assert content(dataset) == before
    complete(place.run(dataset, cohort=ONE))  # nothing was left behind that stops the right one
    assert content(dataset) == before


def test_it_is_done_when_asked(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset, cohort=ONE))
    complete(with_consent(place.run(dataset, cohort=OTHER), replace=True))
    assert not [path for path in content(dataset) if "volumes" in path and "1.2.3.0" in path]


def test_a_cohort_that_only_grows_needs_no_consent(place, tmp_path):
    dataset = tmp_path / "dataset"
    complete(place.run(dataset, cohort=ONE))
    complete(place.run(dataset, cohort=COHORT))
    complete(place.run(tmp_path / "fresh"))
    assert content(dataset) == content(tmp_path / "fresh")


def rows(*uids):
    return [{"seg_series_uid": uid, "collection_id": "c", "volume_count": 2} for uid in uids]


class Committed:
    """The two things that consent asks of a dataset."""

    name = "d"

    def __init__(self, uids, sha256="another"):
        self.uids, self.manifest = uids, {"cohort_sha256": sha256}

    def series(self, where, columns):
        import pyarrow as pa

        return pa.Table.from_pylist(rows(*self.uids))


@pytest.mark.parametrize(
    ("selected", "is_refused"),
    [("abcd", False), ("abc", False), ("ab", False), ("a", True), ("", True), ("xyz", True)],
)
def test_the_same_cohort_may_lose_half(selected, is_refused):
    """A release retires some series; when most are gone, the index may be another archive's."""
    import hashlib

    text = "patients: [P0]\n"
    dataset = Committed("abcd", hashlib.sha256(text.encode()).hexdigest())
    if is_refused:
        with pytest.raises(UsageError, match=r"of 4 series") as caught:
            Consent().deletion(dataset, text, frozenset(selected))
        assert "another cohort" not in caught.value.message
    else:
        Consent().deletion(dataset, text, frozenset(selected))
    Consent(replace=True).deletion(dataset, text, frozenset(selected))


def test_the_examples_are_few():
    with pytest.raises(UsageError) as caught:
        Consent().deletion(Committed([f"1.{n}" for n in range(500)]), "", frozenset())
    assert "500 of 500" in caught.value.message
    assert "1,000 volumes" in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("limit", "size", "is_refused"), [(None, 10**15, False), (100, 100, False), (100, 101, True)]
)
def test_downloads_above_the_limit(limit, size, is_refused):
    consent = Consent(confirm_above_bytes=limit)
    if is_refused:
        with pytest.raises(UsageError) as caught:
            consent.download(size, 7)
        assert caught.value.code == "download-not-confirmed"
        assert "--yes" in caught.value.hint
    else:
        consent.download(size, 7)


def test_nothing_moves_before_a_large_download_is_confirmed(place, tmp_path):
    dataset = tmp_path / "dataset"
    refused(with_consent(place.run(dataset), confirm_above_bytes=10), "download-not-confirmed")
    assert not [path for path in content(dataset) if "volumes" in path]
    complete(place.run(dataset))
    complete(with_consent(place.run(dataset), confirm_above_bytes=10))  # nothing new to download
