"""Settings: every one documented, in rising order of precedence, nothing misspelt passes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.settings import Settings, load_settings
from segtools.errors import SpecError
from segtools.resources import folder

DEFAULT = folder("config") / "default.yaml"


def _declared() -> dict[str, set[str]]:
    sections = {}
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", None)
        assert fields is not None
        sections[name] = set(fields)
    return sections


def test_default_yaml_names_every_setting() -> None:
    content = yaml.safe_load(DEFAULT.read_text())
    assert {section: set(keys) for section, keys in content.items()} == _declared()


def test_default_yaml_gives_the_defaults() -> None:
    assert load_settings().model_dump() == Settings.model_construct().model_dump()


def test_every_setting_has_a_comment() -> None:
    lines = [line for line in DEFAULT.read_text().splitlines() if line.startswith("  ")]
    assert lines
    assert not [line for line in lines if "# " not in line]


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("fetch: {workers: 3, retries: 4, attempts: 5}\n")
    monkeypatch.setenv("IDCSEG_FETCH__RETRIES", "6")
    monkeypatch.setenv("IDCSEG_FETCH__ATTEMPTS", "6")
    fetch = load_settings(own, ["fetch.attempts=7"]).fetch
    assert (fetch.workers, fetch.retries, fetch.attempts) == (3, 6, 7)
    assert fetch.anonymous is True


@pytest.mark.parametrize(
    "override",
    ["fetch.workers=many", "fetch.wrkers=3", "fetsch.workers=3", "workers=3", "fetch.workers", "run.kind=x"],
)
def test_bad_overrides(override: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_settings(None, [override])
    assert caught.value.code == "settings-invalid"
    assert override.partition("=")[0].rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize("text", ["fetch: [", "- a\n", "fetch: {wrkers: 1}", "fetch: 3"])
def test_bad_files(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_settings(own)
    assert caught.value.code == "settings-invalid"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("fetch.wokers=3", "There is no setting fetch.wokers. Did you mean fetch.workers?"),
        ("run.kindd=serial", "Did you mean run.kind?"),
        ("ftch.workers=3", "Did you mean fetch.workers?"),
        ("run.zzz=1", "run has address,"),
        ("fetch.workers=0", "fetch.workers must be more than 0, not 0"),
        ("fetch.part_size_mib=-1", "fetch.part_size_mib must be more than 0"),
        ("fetch.stall_timeout_s=.nan", "fetch.stall_timeout_s must be more than 0, not nan"),
        ("fetch.retries=-1", "fetch.retries must be 0 or more"),
        ("decode.max_bytes=-1", "decode.max_bytes must be more than 0, not -1"),
    ],
)
def test_settings_that_are_none(override: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_settings(None, [override])
    assert caught.value.code == "settings-invalid"
    assert says in str(caught.value)


def test_zero_is_a_number_of_retries() -> None:
    assert load_settings(None, ["fetch.retries=0"]).fetch.retries == 0
