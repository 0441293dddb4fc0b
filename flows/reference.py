"""Reference pages written from the declarations: `python -m flows.reference` rewrites `docs/`.

A test compares the pages with what is declared, so they cannot drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools import schema
from segtools.codes import CODES
from segtools.resources import folder
from segtools.select.cohort_file import json_schema_text

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"


def columns_page() -> str:
    """Every column of the dataset's tables: type, unit, meaning."""
    lines = ["# Columns", "", "Made from `segtools/schema/` by `make docs`.", ""]
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


def cohort_keys_page() -> str:
    """Every key of a cohort file: what it takes, what it means."""
    from segtools.select import json_schema

    made = json_schema()
    lines = [
        "# Keys of a cohort file",
        "",
        "Made from `segtools/select/filters.py` and `cohort_spec.py` by `make docs`.",
        "`config/cohorts/cohort.schema.json` says the same for editors.",
        "",
        "All keys are optional. Keys must all hold; the values of one key are alternatives.",
        "A key about series or segments takes one value, a list of values, or the values of a file:",
        "`{file: patients.csv, column: PatientID}`.",
        "",
    ]
    parts = [("", made)] + [
        (name, made["$defs"][str(reference)])
        for name, entry in made["properties"].items()
        if (reference := _reference(entry)) not in (None, "Code", "FromFile")
        and name != "exclude"
        and "properties" in made["$defs"][str(reference)]
    ]
    for name, part in parts:
        lines += [f"## {name}", "", part.get("description", "").partition("\n")[0], ""] if name else []
        lines += ["| key | takes | meaning |", "|---|---|---|"]
        for key, entry in part["properties"].items():
            text = entry.get("description") or made["$defs"].get(_reference(entry) or "", {}).get(
                "description", ""
            )
            lines.append(f"| `{key}` | {_takes(entry, made['$defs'])} | {text.partition(chr(10))[0]} |")
        lines.append("")
    return "\n".join(lines)


def tables_page() -> str:
    """Every table that a query may read."""
    from segtools.select import Library
    from segtools.select.discover import BASE_TABLES
    from segtools.select.engines.schema_drift import google_type

    library = Library()
    lines = [
        "# Tables of selection",
        "",
        "Made from `queries/` and `segtools/schema/` by `make docs`.",
        "",
        "`idcseg query SQL` and a cohort's own query read these tables, in GoogleSQL, on both engines.",
        "The first ones are IDC's, under IDC's names; the others are queries that read them.",
        "",
    ]
    for table in BASE_TABLES:
        lines += [f"## {table.name}", "", table.description, ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            lines.append(f"| `{column.name}` | {google_type(column.type)} | {column.description} |")
        lines.append("")
    known = {table.name for table in BASE_TABLES}
    for name in library:
        query = library[name]
        if name in known or name == "chosen":
            continue
        lines += [f"## {name}", "", query.description, "", "| column | type |", "|---|---|"]
        lines += [f"| `{column}` | {kind} |" for column, kind in query.columns.items()]
        lines.append("")
    return "\n".join(lines)


def _reference(entry: dict[str, Any]) -> str | None:
    """Name of the definition that a property refers to."""
    for part in (entry, *entry.get("anyOf", ())):
        if "$ref" in part:
            return str(part["$ref"]).rpartition("/")[2]
    return None


def _takes(entry: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a property takes, in words."""
    if "anyOf" in entry:
        parts = [part for part in entry["anyOf"] if part.get("type") not in ("null", "array")]
        kinds = [_takes(part, definitions) for part in parts]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in entry:
        if entry["$ref"].endswith("/FromFile"):
            return "`{file, column}`"
        if entry["$ref"].endswith("/Code"):
            return "code"
        made = definitions[_reference(entry) or ""]
        if "properties" not in made:
            return _takes(made, definitions)
        return "mapping of " + ", ".join(f"`{key}`" for key in list(made["properties"])[:6])
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{value}`" for value in entry.get("enum", [entry.get("const")]))
    if entry.get("type") == "array":
        return f"list of {_takes(entry['items'], definitions)}"
    return {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}.get(
        str(entry.get("type")), "mapping"
    )


def pages() -> Iterator[tuple[Path, str]]:
    """Path and text of every generated page."""
    yield DOCS / "columns.md", columns_page()
    yield DOCS / "codes.md", codes_page()
    yield DOCS / "commands.md", commands_page()
    yield DOCS / "cohort-keys.md", cohort_keys_page()
    yield DOCS / "tables.md", tables_page()
    yield folder("config") / "cohorts" / "cohort.schema.json", json_schema_text()


if __name__ == "__main__":
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
