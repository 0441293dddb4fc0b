"""YAML and JSON from outside: whatever they hold, a value or the format's own error, at once."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.settings import load_settings
from segtools.bounded_json import load_json
from segtools.bounded_yaml import DEEPEST, load_yaml
from segtools.errors import SpecError
from segtools.select.cohort_file import parse_spec

HEX = "0x" + "f" * 5000
PAIRS = list(zip("abcdefghi", "bcdefghij", strict=True))


def chained(layer: str) -> str:
    """Anchors, each made of the one before."""
    later = [f"{name}: &{name} {layer.replace('@', '*' + last)}" for last, name in PAIRS]
    return "\n".join(["a: &a [x]", *later])


BAD_YAML = {
    "hex": HEX,
    "negative hex": "-" + HEX,
    "binary": "0b" + "1" * 5000,
    "octal": "0" + "7" * 5000,
    "decimal": "9" * 5000,
    "65 bits": str(2**64),
    "sexagesimal": "1" + ":59" * 2000,
    "underscores": "1" + "_0" * 5000,
    "flow sequences": "[" * 5000 + "]" * 5000,
    "flow mappings": "{a: " * 5000 + "}" * 5000,
    "unclosed": "[" * 20_000,
    "blocks": "\n".join(" " * n + "a:" for n in range(500)),
    "dashes": "- " * 5000 + "x",
    "just too deep": "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    "date": "2024-99-99",
    "time": "2024-01-01 99:99:99",
    "binary text": "!!binary é",
    "object": "!!python/object/apply:os.system [ls]",
    "billions by aliases": chained("[@, @, @, @, @, @, @, @, @, @]"),
    "deep by aliases": chained("[" * 20 + "@" + "]" * 20),
    "in itself": "a: &x [*x]",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_must_not_be_built(text):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_cohort_files_and_settings_say_so(text, tmp_path):
    nested = "idc_version: " + text if "\n" not in text else text
    with pytest.raises(SpecError) as caught:
        parse_spec(nested)
    assert caught.value.code in ("spec-unreadable", "spec-invalid")
    assert len(str(caught.value)) < 2000
    path = tmp_path / "settings.yaml"
    path.write_text("run: {workers: " + text + "}" if "\n" not in text else text)
    with pytest.raises(SpecError) as caught:
        load_settings(path)
    assert caught.value.code == "settings-invalid"
    if "\n" not in text:
        with pytest.raises(SpecError):
            load_settings(overrides=["run.workers=" + text])


def test_yaml_as_people_write_it():
    text = "a: [1, 0x1f, 1.5, true, null, 2024-01-31, 'x']\nb: &b {c: d}\ne: *b\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None
    assert load_yaml("[" * DEEPEST + "]" * DEEPEST)


BAD_JSON = {
    "sequences": "[" * 100_000 + "]" * 100_000,
    "mappings": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "unclosed": "[" * 100_000,
    "digits": "9" * 5000,
    "few digits too many": str(2**64),
    "not utf-8": b"\xff\xfe\xfa",
    "empty": "",
}


@pytest.mark.parametrize("text", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_must_not_be_built(text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - whatever json says
        load_json(text)
    assert str(caught.value)


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()


@given(st.recursive(LEAVES, st.lists, max_leaves=20))
def test_json_as_machines_write_it(value):
    assert load_json(json.dumps(value)) == value
