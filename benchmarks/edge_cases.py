"""``python -m benchmarks.edge_cases`` writes docs/edge-cases.md: every case through us, highdicom, dcmqi."""

from __future__ import annotations

import re
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from segtools.decode import DecodeOptions, read
from segtools.errors import SegError
from tests.factories.case import Case
from tests.factories.cases import all_cases
from tests.factories.judge import judge
from tests.factories.peers import dcmqi_binary, read_with_dcmqi, read_with_highdicom, verdict

PAGE = Path(__file__).parents[1] / "docs" / "edge-cases.md"

HEAD = """\
# Edge cases

How this project, highdicom {highdicom} and dcmqi {dcmqi} read files that are odd, old or broken in one way
each. Written by `python -m benchmarks.edge_cases`; do not edit. Files and right answers come from
`tests/factories`, which knows no reader; every row is also a test (`tests/decode/test_cases_*.py`).

Voxels are compared by their place in space. *right*: every voxel of every segment. *refused*: an error that
the caller notices (where the file makes no volume, that is right too, and marked so). **wrong**: a result, no
error, other voxels or places. **crash**: the process died. dcmqi is `segimage2itkimage` with its defaults;
highdicom is `segread` and `get_volume`; –: an option that only this project has. Our cell names the error
code, or the findings recorded beside the result. Only voxels count here, for the peers: not the metadata they
give, nor whether they warn.

{summary}

| case | what | this project | highdicom | dcmqi |
|---|---|---|---|---|
"""


def ours(case: Case) -> str:
    """Our cell; "**wrong**" where the case's test would fail."""
    try:
        judge(case)
    except (AssertionError, SegError) as failure:
        return f"**wrong**: {str(failure).splitlines()[0][:80]}"
    if case.error is not None:
        parts = f", {len(case.parts)} parts" if case.parts else ""
        return f"right (refused: `{case.error}`{parts})"
    volume = read(case.build(), segments=case.segments, options=DecodeOptions(**case.options))
    findings = sorted({f.code for f in volume.findings})
    return "right" + "".join(f", `{code}`" for code in findings)


def cell(case: Case, told: str) -> str:
    """A peer's verdict, shortened."""
    if told == "ok":
        return "right"
    kind, _, why = told.partition(": ")
    why = re.sub(r"(/[\w.-]+)+", "…", why.replace("|", "/").replace("\n", " ")).strip()
    if kind == "refused":
        return "right (refused)" if case.answer is None else f"refused: {why[:70]}"
    return f"**{kind.lower()}**: {why[:70]}"


def row(case: Case) -> tuple[str, str, str]:
    """All three cells."""
    if case.options:  # an option that only we have
        return ours(case), "–", "–"
    data = case.build()
    by_highdicom = cell(case, verdict(case, read_with_highdicom(data, case.segments)))
    by_dcmqi = cell(case, verdict(case, read_with_dcmqi(data, case.segments)))
    return ours(case), by_highdicom, by_dcmqi


def tally(cells: list[str]) -> str:
    """How many cells of each kind, in words."""
    words = [re.match(r"\W*(\w*)", text) for text in cells]
    kinds = Counter(word[1] for word in words if word)
    named = {"right": "right", "refused": "refused though readable", "wrong": "wrong", "crash": "crashed"}
    return ", ".join(f"{kinds[kind]} {name}" for kind, name in named.items() if kinds[kind])


def page(cases: tuple[Case, ...], rows: list[tuple[str, str, str]]) -> str:
    """The whole page."""
    readers = ("this project", "highdicom", "dcmqi")
    summary = "\n".join(f"- {name}: {tally([r[n] for r in rows])}" for n, name in enumerate(readers))
    summary = f"Of {len(cases)} files ({len({c.id.split(':')[0] for c in cases})} rows):\n\n{summary}"
    head = HEAD.format(highdicom=version("highdicom"), dcmqi=version("dcmqi"), summary=summary)
    lines = [f"| {c.id} | {c.title} | {' | '.join(r)} |" for c, r in zip(cases, rows, strict=True)]
    return head + "\n".join(lines) + "\n"


def main() -> int:
    """Write the page; 1 if we are wrong anywhere, 2 without dcmqi."""
    if dcmqi_binary() is None:
        print("segimage2itkimage is not installed (dependency group `oracle`)", file=sys.stderr)
        return 2
    cases = all_cases()
    rows = [row(case) for case in cases]
    text = page(cases, rows)
    PAGE.write_text(text, encoding="utf-8")
    print(text[text.index("Of ") : text.index("| case")])
    return int(any("**wrong**" in by_us for by_us, *_ in rows))


if __name__ == "__main__":
    raise SystemExit(main())
