"""`idcseg status` and `idcseg retry`, as people call them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from segtools.dataset.layout import Layout
from tests.flows.conftest import idcseg
from tests.run.whole import Place, complete, make_place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An archive with one broken file, and the dataset `dataset` made from it."""
    place = make_place(tmp_path_factory.mktemp("status"), 3)
    complete(place.run(place.root / "dataset"))
    return place


def test_status_of_a_finished_dataset(place: Place) -> None:
    ran = idcseg("status", place.root / "dataset")
    assert ran.code == 0, ran.err
    assert ran.out.split()[:2] == ["state", "idle"]
    assert "truncated 1" in ran.out
    assert "failed 1, ok 2" in ran.out


def test_status_while_a_run_holds_it(place: Place, tmp_path: Path) -> None:
    with place.run(tmp_path / "dataset") as run:
        run.process(run.plan()[:2])
        ran = idcseg("status", tmp_path / "dataset", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["state"] == "running"
    assert found["holder"]["pid"] > 0
    assert (found["committed_series"], found["staged_series"], found["pending_series"]) == (0, 2, 1)
    assert found["outcomes"] == {"ok": 2}
    assert found["eta_s"] > 0


def test_status_of_nothing(tmp_path: Path) -> None:
    ran = idcseg("status", tmp_path)
    assert ran.code == 2
    assert "[not-found]" in ran.err


def test_retry_after_the_cause_was_mended(place: Place) -> None:
    dataset = place.root / "dataset"
    wrong = idcseg("retry", dataset, "--code", "truncatd", "--direct")
    assert wrong.code == 2
    assert "'truncated'" in wrong.err
    again = idcseg("retry", dataset, "--code", "truncated", "--direct", "--index", place.index)
    assert again.code == 3, again.err
    assert "1 to do" in again.err
    place.series(2)
    place.reindex()
    mended = idcseg("retry", dataset, "--direct", "--index", place.index, "--json")
    assert mended.code == 0, mended.err
    assert json.loads(mended.out)["outcomes"]["ok"] == 3
    assert json.loads(Layout(dataset).manifest.read_bytes())["name"] == "tiny"
    none = idcseg("retry", dataset, "--direct", "--index", place.index)
    assert none.code == 0
    assert "no series" in none.err


@pytest.mark.slow
def test_retry_where_the_cohort_named_its_index_relative_to_itself(place: Place, tmp_path: Path) -> None:
    """The dataset's copy of the cohort file lies elsewhere; a folder beside it is not the index."""
    dataset = tmp_path / "dataset"
    place.series(2, keep=0.97)
    place.reindex()
    complete(place.run(dataset, cohort="collections: [tiny]\nsource: {index: index}\n"))
    (dataset / "index").mkdir()
    ran = idcseg("retry", dataset, "--direct")
    assert ran.code == 4
    (line,) = ran.err.splitlines()
    assert line.startswith("error [source-missing] Cohort 'tiny'")
    assert "Add --index FOLDER/index," in line
    again = idcseg("retry", dataset, "--direct", "--index", place.index)
    assert again.code == 3, again.err
    assert "3 series selected, 1 to do" in again.err
    assert str(tmp_path) not in Layout(dataset).manifest.read_text()


def test_retry_of_what_was_never_committed(place: Place, tmp_path: Path) -> None:
    with place.run(tmp_path / "dataset") as run:
        run.process(run.plan())
    ran = idcseg("retry", tmp_path / "dataset", "--direct", "--index", place.index)
    assert ran.code == 2
    assert "never committed" in ran.err
