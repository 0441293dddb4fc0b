"""What is written is what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.cli import COMMANDS
from flows.reference import pages

CHECKOUT = Path(__file__).resolve().parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [path for path, _ in pages()], ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    expected = dict(pages())[path]
    assert path.read_text(encoding="utf-8") == expected, "run `make docs`"


def test_readme_names_existing_commands_only() -> None:
    named = set(re.findall(r"idcseg ([a-z]+)", README))
    assert named
    assert named <= COMMANDS.keys()


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert not [target for target in targets if not (CHECKOUT / target).exists()]


def test_make_targets_named_in_readme_exist() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = {
        name
        for pair in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", README, re.MULTILINE)
        for name in pair
    }
    assert {"demo", "test"} <= named
    assert named - {""} <= targets


def test_lock_files_are_hashed_and_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-oracle.lock", "requirements-docs.lock"):
        text = (CHECKOUT / name).read_text()
        pins = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
        assert len(pins) > 20
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
        assert "--index-url" not in text
