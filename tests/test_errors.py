"""Errors: every class survives pickle, every code is sane."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

import segtools
from segtools.codes import CODES, Severity
from segtools.errors import (
    DatasetError,
    EnvironmentProblem,
    FetchError,
    MissingError,
    RunError,
    SegError,
    SegtoolsError,
    SelectError,
    Transient,
    TransientFetchError,
    UsageError,
    WriteError,
)
from segtools.finding import Finding

PACKAGE = Path(segtools.__file__).parent
STAGES = {"usage", *(path.name for path in PACKAGE.iterdir() if path.is_dir())}


def tree(cls=SegtoolsError):
    return [cls, *(below for child in cls.__subclasses__() for below in tree(child))]


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_errors_survive_pickle(cls, protocol):
    error = cls("truncated", "PixelData (7FE0,0010) has 3 bytes, 4 are needed.", tag="(7FE0,0010)", value=3)
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(twin) is cls
        assert (twin.code, twin.message, twin.hint) == (error.code, error.message, error.hint)
        assert twin.attrs == {"tag": "(7FE0,0010)", "value": 3}
        assert str(twin) == str(error)
        assert twin.exit_code == cls.exit_code


def test_a_pickled_error_keeps_its_own_hint():
    error = SegError("truncated", "It ends.", hint="")
    assert pickle.loads(pickle.dumps(error)).hint == ""
    assert str(error) == "It ends."


@pytest.mark.parametrize(
    ("cls", "builtin", "exit_code"),
    [
        (UsageError, ValueError, 2),
        (MissingError, LookupError, 2),
        (DatasetError, ValueError, 2),
        (SelectError, Exception, 2),
        (EnvironmentProblem, OSError, 4),
        (SegError, ValueError, 1),
        (FetchError, OSError, 1),
        (WriteError, OSError, 4),
        (RunError, RuntimeError, 1),
    ],
)
def test_errors_are_also_the_fitting_builtin(cls, builtin, exit_code):
    error = cls("internal", "x")
    assert isinstance(error, builtin)
    assert error.exit_code == exit_code


def test_only_transient_errors_are_retried():
    assert isinstance(TransientFetchError("throttled", "429"), Transient)
    assert not isinstance(FetchError("access-denied", "403"), Transient)


def test_the_message_says_what_to_do():
    error = DatasetError("dataset-locked", "It is held.")
    assert str(error) == f"It is held. {CODES['dataset-locked'].remedy}"
    assert error.with_attrs(path="a").with_attrs(pid=3).attrs == {"path": "a", "pid": 3}


def test_undeclared_and_mistaken_codes_are_defects():
    with pytest.raises(AssertionError):
        SegtoolsError("no-such-code", "x")
    with pytest.raises(AssertionError):
        SegtoolsError("spacing-assumed", "a finding is no error")
    with pytest.raises(AssertionError):
        Finding("truncated", "an error is no finding")


@pytest.mark.parametrize("code", CODES)
def test_codes_are_sane(code):
    entry = CODES[code]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
    assert entry.stage in STAGES
    assert entry.severity is None or isinstance(entry.severity, Severity)
    for text in (entry.meaning, entry.remedy):
        assert text.endswith(".")
        assert text == " ".join(text.split())
        assert len(text) < 160


def test_no_code_is_declared_twice():
    """A dict would keep the last one silently."""
    source = ast.parse((PACKAGE / "codes.py").read_text())
    names = [
        keyword.arg
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("_errors", "_findings")
        for keyword in call.keywords
    ]
    assert len(names) == len(set(names)) == len(CODES)


def used_codes():
    """Literal codes in the sources: first argument of an error's or a finding's construction."""
    classes = {cls.__name__ for cls in tree()}
    for path in sorted(PACKAGE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = getattr(call.func, "id", getattr(call.func, "attr", ""))
            first = call.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                if name in classes:
                    yield path.name, first.value, False
                elif name == "Finding":
                    yield path.name, first.value, True


def test_codes_in_the_sources_are_declared():
    used = list(used_codes())
    assert len(used) > 30
    wrong = [
        (path, code)
        for path, code, is_finding in used
        if code not in CODES or (CODES[code].severity is not None) != is_finding
    ]
    assert wrong == []
