"""Text from files, wherever it is shown: no terminal, reader or spreadsheet obeys it."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.console import note, print_json, print_rows, summary_lines
from segtools.dataset.documents import citations, licenses
from segtools.errors import CorruptSegError
from segtools.finding import Finding
from segtools.report.text import plain
from segtools.showable import json_text, showable, tsv_cell
from segtools.write.sidecars import tsv_sidecar
from tests.factories.case import masks
from tests.factories.seg import SegFactory

CONTROLS = {
    "escape": "\x1b[2J",
    "delete": "\x7f",
    "C1": "\x9b31m",
    "bell": "\a",
    "backspace": "\b",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "mark": "\u200f",
    "arabic mark": "\u061c",
    "line separator": "\u2028",
    "return": "\r",
    "new line": "\n",
    "next line": "\x85",
    "invisible": "\u200b",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "lone surrogate": "\udc9b",
    "noncharacter": "\uffff",
}
OBEYED = [char for text in CONTROLS.values() for char in text if not char.isprintable()]


def is_safe(text: str) -> bool:
    return not any(char in text for char in OBEYED)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_controls_are_spelled_or_blank(control):
    assert is_safe(showable(f"a{control}b"))
    assert showable(f"a{control}b").startswith("a")
    assert is_safe(tsv_cell(f"a{control}b"))
    assert is_safe(plain(f"a{control}b"))


@pytest.mark.parametrize("text", ["Leber", "肝脏", "كبد أيمن", "می\u200cخواهم", "👩\u200d⚕️", "T1 – 3 × 4 mm"])
def test_what_people_write_stays(text):
    assert showable(text) == text
    assert json.loads(json_text([text])) == [text]
    assert text in json_text([text])


@given(st.text())
def test_any_text_is_one_printable_line(text):
    shown = showable(text)
    assert all(char.isprintable() or char in "\u200c\u200d" for char in shown)
    assert showable(shown) == shown


@given(st.text())
def test_json_says_the_same_and_holds_no_control(text):
    made = json_text({"a": text})
    assert json.loads(made) == {"a": text}
    assert is_safe(made.replace("\n", ""))


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_errors_and_findings(control):
    error = CorruptSegError("codec-failed", f"a{control}b", hint=f"c{control}d", value=f"a{control}b")
    assert is_safe(str(error))
    assert is_safe(str(error.args))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert error.attrs["value"] == f"a{control}b"  # a value is a value
    finding = Finding("trailing-bytes", f"a{control}b", observed=control, expected=control)
    assert is_safe(finding.message + str(finding.observed) + str(finding.expected))


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_the_console(control, capsys):
    name = f"a{control}b"
    note(f"wrote {name}")
    print_json([{name: name}])
    print_rows([{"label": name, name: 1}], ["label", name], title=f"{name}: BINARY")
    summary_lines([(name, name)])
    shown = capsys.readouterr()
    assert is_safe(shown.err.replace("\n", ""))
    assert is_safe(shown.out.replace("\n", ""))
    assert shown.err.count("\n") == 1
    assert json.loads(shown.out[: shown.out.index("]") + 1]) == [{name: name}] if "]" not in control else True


FORMULAS = ["=cmd|'/c calc'!A1", "+1+1|x", "-2+3|x", "@SUM(A1)", "\t=1+1", " =1+1", "\x1b=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_spreadsheets_calculate_nothing(text):
    assert tsv_cell(text)[0] not in "=+-@\t\r\x1b"
    rows = licenses([(text, text, 1, 2)]).decode().splitlines()
    assert rows[1].split("\t") == [tsv_cell(text)] * 2 + ["1", "2"]


@pytest.mark.parametrize("value", [-1, -1.5, "-1.5e-3", "+2", "n/a", None, 0])
def test_numbers_stay_numbers(value):
    assert tsv_cell(value) == ("n/a" if value is None else str(value))


@pytest.mark.parametrize("hostile", ["=cmd|x", "\x1b[31m", "\u202e", "a}\n@misc{b"])
def test_citations(hostile):
    text = citations([(f"10.5281/zenodo.1{hostile}", 3)]).decode()
    assert is_safe(text.replace("\n", ""))
    assert [line[:6] for line in text.splitlines() if line.startswith("@")] == ["@misc{"]
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("label", ["=cmd|x", "\x1b[31mred", "a\tb\nc"])
def test_look_up_tables(label):
    names = ["segment_number", "structure", "color_hex", "label_index", "layer", "label", "laterality"]
    codes = [
        f"{what}_{part}" for what in ("category", "type", "region") for part in ("scheme", "code", "meaning")
    ]
    row = dict.fromkeys((*names, *codes)) | {"segment_number": 1, "structure": "liver", "label": label}
    lines = tsv_sidecar([row]).decode().splitlines()
    assert len(lines) == 2
    assert len(lines[1].split("\t")) == len(lines[0].split("\t"))
    assert is_safe(lines[1])
    assert not any(cell.startswith(("=", "@", "+")) for cell in lines[1].split("\t"))


def test_a_class_uid_with_escapes():
    """It stood in the error's text as it was."""
    from segtools.decode import read
    from segtools.errors import NotSegError

    uid = b"1.2.840.10008.5.1.4.1.1.66.4"
    data = SegFactory.of_masks(masks()).build().replace(uid, b"\x1b[2J" + uid[4:])
    with pytest.raises(NotSegError) as caught:
        read(data)
    assert r"\x1b" in str(caught.value)
    assert is_safe(str(caught.value))
