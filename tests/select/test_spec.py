from __future__ import annotations

import json
from pathlib import Path

import pytest

from segtools.errors import EnvironmentProblem, MissingError, SpecError
from segtools.resources import folder
from segtools.select import Sources, json_schema, load_spec, parse_spec
from segtools.select.cohort_file import json_schema_text
from segtools.select.cohort_spec import CohortCode


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        ("collections: [a]\nlicenses: x\ncollections: b\n", 3, "collections", "first in line 1"),
        ("description: x\ncolections: [a]\n", 2, "colections", "did you mean 'collections'"),
        ("sample:\n  sed: 1\n  series: 2\n", 2, "sample.sed", "did you mean 'seed'"),
        ("sample: {series: 3, patients: 2}", 1, "sample", "either patients or series"),
        ("patients:\n  - a\n  - 0123\n", 3, "patients.1", "quotes"),
        ("structures: []", 1, "structures", "empty"),
        ("structures:", 1, "structures", "empty"),
        ("laterality:\n- left\n- lefty", 3, "laterality.1", "'left', 'right' or 'bilateral'"),
        ("collections: a\nexclude: {collections: [a]}", 1, "", "also excluded"),
        ("structures: SCT:64033007/left\nlaterality: right", 1, "", "contradicts"),
        ("idc_version: 25\nsource: {idc: false}", 1, "", "pinned"),
        ("source: {idc: false}\nanalysis_results: x", 1, "", "only in IDC"),
        ("output: {volumes: none, grid: source}", 1, "", "grid"),
        ("series_uids: [../../etc]", 1, "series_uids.0", "pattern"),
        ("name: x", 1, "name", "named by its file"),
        ("- a\n- b\n", 1, "", "mapping"),
        ("? [a, b]\n: 1\n", 1, "", "plain text"),
        ("collections: [a, a]", 1, "collections", "twice"),
        ("output: {labels: {liver: 0}}", 1, "output.labels.liver", "greater than or equal to 1"),
    ],
)
def test_complaints_name_line_and_key(text: str, line: int, key: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert caught.value.code == "spec-invalid"
    assert caught.value.attrs["line"] == line
    assert caught.value.attrs["key"] == key
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &x [*x]", "[" * 3000, "\tx: 1", "a: !!python/object/apply:os.system [ls]", "a: \x00"],
)
def test_unreadable_yaml(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert caught.value.code == "spec-unreadable"


def test_aliases_cannot_explode() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert caught.value.code == "spec-unreadable"


def test_short_and_long_codes_are_one() -> None:
    short = parse_spec('structures: ["SCT:64033007/left"]')
    long = parse_spec('structures: [{scheme: SCT, value: "64033007", laterality: left}]')
    assert short == long
    assert short.structures == (CohortCode(scheme="SCT", value="64033007", laterality="left"),)


def test_hash_ignores_name_text_and_places() -> None:
    one = parse_spec("collections: a\ndescription: x\nsource: {index: here}", "one")
    two = parse_spec("collections: [a]", "two")
    assert one.sha256 == two.sha256 != parse_spec("collections: b").sha256


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("source: {index: archive}\n")
    spec = load_spec(tmp_path / "c.yaml")
    assert spec.name == "c"
    assert spec.source.index == (str(tmp_path / "archive"),)


def test_a_datasets_copy_cannot_tell_relative_to_what(tmp_path: Path) -> None:
    """An index given at run time stands in for each; an absolute path is as good as ever."""
    (tmp_path / "cohort.yaml").write_text("source: {index: [../a, /data/b, c]}\n")
    assert load_spec(tmp_path / "cohort.yaml").source.index[0] == str(tmp_path / "../a")
    (tmp_path / "dataset.json").touch()
    spec = load_spec(tmp_path / "cohort.yaml")
    with pytest.raises(EnvironmentProblem) as caught:
        Sources.of(spec, indexes=(Path("x"),))
    assert caught.value.code == "source-missing"
    assert "--index FOLDER/../a --index FOLDER/c" in str(caught.value)
    sources = Sources.of(spec, indexes=(Path("x"), Path("y")))
    assert sources.indexes == (Path("x"), Path("y"), Path("/data/b"))
    assert not sources.idc


def test_unknown_cohort_has_near_matches() -> None:
    with pytest.raises(MissingError, match="lidc-nodules"):
        load_spec("lidc-nodule")


def test_shipped_cohorts_load_and_the_schema_is_current() -> None:
    cohorts = folder("config") / "cohorts"
    for path in cohorts.glob("*.yaml"):
        assert load_spec(path).description
    assert (cohorts / "cohort.schema.json").read_text() == json_schema_text()
    assert "name" not in json_schema()["properties"]
    assert json.dumps(json_schema())
