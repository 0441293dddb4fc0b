"""Tables that fit a terminal, and consoles that know few characters."""

from __future__ import annotations

import codecs
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import console
from flows.console import cell_width, fitted
from tests.factories.case import masks
from tests.factories.seg import SegFactory
from tests.flows.prefect_server import environment

COLUMNS = st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1, max_size=12)


@given(columns=COLUMNS, available=st.integers(1, 400))
def test_a_table_fits_if_it_can(columns: list[tuple[int, bool]], available: int) -> None:
    widths, numeric = [width for width, _ in columns], [is_number for _, is_number in columns]
    got = fitted(widths, numeric, available)
    assert 1 <= len(got) <= len(widths)
    assert len(got) == 1 or sum(got) + 2 * (len(got) - 1) <= available
    for before, after, is_number in zip(widths, got, numeric, strict=False):
        assert after == before or (not is_number and after >= 8)
    if sum(widths) + 2 * (len(widths) - 1) <= available:
        assert got == widths


def test_the_widest_text_is_shortened_first() -> None:
    assert fitted([10, 60, 20, 5], [False, False, False, True], 80) == [10, 39, 20, 5]
    assert fitted([30, 30], [False, False], 42) == [20, 20]


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seg") / "a.dcm"
    path.write_bytes(SegFactory.of_masks(masks()).build())
    return path


def on_a_terminal(columns: int, *arguments: object) -> str:
    """What `idcseg` writes to a terminal of some width."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        stdin=slave, stdout=slave, stderr=slave, env=environment(COLUMNS=str(columns)),
    )  # fmt: skip
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 4096):
            said += chunk
    except OSError:  # Linux says so when the last writer has gone
        pass
    os.close(master)
    assert process.wait(60) == 0
    return said.decode()


def test_no_line_is_wider_than_the_terminal(seg: Path) -> None:
    wide = on_a_terminal(300, "decode", seg)
    for columns in (60, 30):
        narrow = on_a_terminal(columns, "decode", seg)
        table = [line for line in narrow.splitlines() if "─" in line]
        assert table
        assert all(cell_width(line) <= columns for line in table)
    assert max(map(cell_width, wide.splitlines())) > 60


def run(encoding: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        env=environment(**encoding), capture_output=True, timeout=60, check=False,
    )  # fmt: skip


ENCODINGS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "shift_jis"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: "-".join(e.values()))
def test_any_console(seg: Path, encoding: dict[str, str], tmp_path: Path) -> None:
    strange = tmp_path / "leber-\N{LATIN SMALL LETTER U WITH DIAERESIS}-\N{CJK UNIFIED IDEOGRAPH-809D}.dcm"
    strange.write_bytes(seg.read_bytes())
    for arguments in (("--help",), ("decode", "--help"), ("decode", seg), ("decode", strange, "--json")):
        ran = run(encoding, *arguments)
        assert ran.returncode == 0, ran.stderr
        assert b"Traceback" not in ran.stderr
        assert ran.stdout
    parsed = json.loads(ran.stdout.decode(encoding.get("PYTHONIOENCODING", "utf-8")))
    assert parsed["file"] == str(strange)
    missing = run(encoding, "decode", tmp_path / "\N{CJK UNIFIED IDEOGRAPH-809D}.dcm")
    assert missing.returncode == 2
    assert b"error [not-found]" in missing.stderr
    assert b"Traceback" not in missing.stderr


def test_a_file_name_that_is_not_utf8(seg: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/leber-\xfc.dcm"
    Path(os.fsdecode(path)).write_bytes(seg.read_bytes())
    ran = run({}, "decode", os.fsdecode(path), "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["file"] == f"{tmp_path}/leber-\\xfc.dcm"


def test_plain_twins() -> None:
    console.adapt_streams()
    handler = console._HANDLER
    assert "a─b … ∞".encode("ascii", handler) == rb"a-b ... \u221e"
    with pytest.raises(UnicodeDecodeError):
        codecs.decode(b"\xff", "utf-8", handler)
