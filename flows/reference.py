"""Reference pages written from the declarations: `python -m flows.reference` rewrites `docs/`.

A test compares the pages with what is declared, so they cannot drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segtools import schema
from segtools.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"


def columns_page() -> str:
    """Every column of the dataset's tables: type, unit, meaning."""
    lines = ["# Columns", "", "Made from `segtools/schema.py` by `make docs`.", ""]
    for table in schema.DATASET_TABLES:
        lines += [f"## {table.name}", "", table.description, ""]
        lines += [f"Key: `{', '.join(table.key)}`. Rows are sorted by {', '.join(table.order)}.", ""]
        lines += ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
        for column in table.columns:
            values = f" One of {', '.join(column.values)}." if column.values else ""
            null = "yes" if column.nullable else ""
            lines.append(
                f"| `{column.name}` | {column.type} | {column.unit} | {null} | {column.description}{values} |"
            )
        lines.append("")
    return "\n".join(lines)


def codes_page() -> str:
    """Every code of an error or a finding: meaning, remedy."""
    lines = ["# Codes", "", "Made from `segtools/codes.py` by `make docs`.", ""]
    lines += ["## Errors", "", "| code | stage | what is the case | what to do |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {code.stage} | {code.meaning} | {code.remedy} |"
        for name, code in CODES.items()
        if code.severity is None
    ]
    lines += ["", "## Findings", "", "| code | stage | severity | what is the case | what follows |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {code.stage} | {code.severity.name.lower()} | {code.meaning} | {code.remedy} |"
        for name, code in CODES.items()
        if code.severity is not None
    ]
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Every command of `idcseg` with its arguments."""
    from flows.cli import app

    text = app.generate_docs(output_format="markdown", recursive=True)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Path and text of every generated page."""
    yield DOCS / "columns.md", columns_page()
    yield DOCS / "codes.md", codes_page()
    yield DOCS / "commands.md", commands_page()


if __name__ == "__main__":
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
