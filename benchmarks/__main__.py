"""`python -m benchmarks [NAME ...]`: run benchmarks, print one table, write `benchmarks/out/results.json`.

A benchmark is a module of this folder with `run() -> list[dict]`; its rows' keys are columns.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.timing import OUT

NAMES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if "\ndef run(" in path.read_text(encoding="utf-8")
)
COLUMNS = (
    *("benchmark", "what", "who", "seconds", "ratio", "best_s", "cpu_s"),
    *("limit", "peak_mb", "own_mb", "note"),
)
_PACKAGES = ("numpy", "pydicom", "highdicom", "nibabel", "SimpleITK", "dcmqi", "duckdb", "isal")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; what is no column of its own goes to the notes."""
    lines = []
    for row in rows:
        cells = {key: row[key] for key in COLUMNS if row.get(key) not in (None, "")}
        others = [f"{key} {value}" for key, value in row.items() if key not in COLUMNS]
        if others:
            cells["note"] = ", ".join([*others, *([cells["note"]] if "note" in cells else [])])
        lines.append([str(cells.get(key, "")) for key in COLUMNS])
    used = [n for n, _ in enumerate(COLUMNS) if any(line[n] for line in lines)]
    widths = {n: max(len(COLUMNS[n]), *(len(line[n]) for line in lines)) for n in used}
    text = [[COLUMNS[n].ljust(widths[n]) for n in used], ["-" * widths[n] for n in used]]
    text += [[line[n].ljust(widths[n]) for n in used] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in text)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "missing"
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "packages": packages,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Run the benchmarks named, or all."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Us and the peers, side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    about = machine()
    rows = []
    for name in names:
        rows += [{"benchmark": name, **row} for row in importlib.import_module(f"benchmarks.{name}").run()]
    print(table(rows))
    OUT.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"machine": about, "rows": rows}, indent=1, ensure_ascii=False) + "\n"
    (OUT / "results.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
