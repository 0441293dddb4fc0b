"""BIDS tables (``_dseg.tsv``): index and name, and codes where they are given, as our own datasets do.

A row without codes is looked up by its name among TotalSegmentator's structures, where laterality is
coded; a name that is none of them needs codes.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from segtools.decode.volume import Segment
from segtools.encode.metadata.description import SIDES, Description, invalid, parse_color
from segtools.encode.metadata.totalsegmentator import segment_of, structures
from segtools.terminology.color import srgb_to_cielab
from segtools.terminology.concepts import Concept
from segtools.terminology.names import close_matches, slug

if TYPE_CHECKING:
    from pathlib import Path

_EMPTY = frozenset({"", "n/a", "N/A"})


def read_table(path: Path) -> Description:
    """Read a table; without a ``layer`` column all labels are in layer 0.

    Raises
    ------
    UsageError
        ``metadata-invalid``, with line and column.
    OSError
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(path, f"it is not UTF-8 at byte {error.start}") from error
    reader = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = set(reader.fieldnames or ())
    if not {"index", "name"} <= columns:
        raise invalid(path, "a BIDS table has the columns 'index' and 'name'", line=1)
    segments: dict[tuple[int, int], Segment] = {}
    for line, row in enumerate(reader, start=2):
        cells = {
            key: value.strip() for key, value in row.items() if key and value and value.strip() not in _EMPTY
        }
        label, layer = _whole(path, line, cells, "index"), _whole(path, line, cells, "layer", 0)
        if label == 0:
            continue  # background
        if (layer, label) in segments:
            raise invalid(path, f"the index {label} is there twice", line=line, key="index")
        segments[layer, label] = _segment(path, line, cells, label)
    if not segments:
        raise invalid(path, "it describes no label")
    return Description((segments,))


def _whole(path: Path, line: int, cells: dict[str, str], name: str, default: int | None = None) -> int:
    text = cells.get(name, "" if default is None else str(default))
    if not text.isdigit() or int(text[:9]) > 65_535:
        raise invalid(
            path, f"it is {text[:40]!r}; a whole number from 0 to 65535 is needed", line=line, key=name
        )
    return int(text)


def _segment(path: Path, line: int, cells: dict[str, str], label: int) -> Segment:
    name = cells.get("name")
    if name is None:
        raise invalid(path, "it is empty", line=line, key="name")
    rgb = parse_color(cells["color"]) if "color" in cells else None
    if "color" in cells and rgb is None:
        raise invalid(
            path, f"{cells['color'][:20]!r} is not a colour; write it as #RRGGBB", line=line, key="color"
        )
    category, of_type, region = (_code(cells, kind) for kind in ("category", "type", "region"))
    cielab = srgb_to_cielab(rgb) if rgb else None
    if category is None or of_type is None:
        known = segment_of(slug(name), label)
        if known is None:
            close = close_matches(name, structures())
            hint = f"; near: {', '.join(close[:3])}" if close else ""
            raise invalid(
                path,
                f"{name!r} has no codes (columns category_scheme, category_code, category_meaning …) "
                f"and is not a structure known by name{hint}",
                line=line,
                key="name",
            )
        return known if cielab is None else _colored(known, cielab)
    side = SIDES.get(cells.get("laterality", "").lower())
    return Segment(
        label,
        cells.get("label", name),
        category=category,
        type=of_type,
        type_modifiers=(side,) if side else (),
        regions=(region,) if region else (),
        cielab=cielab,
    )


def _colored(segment: Segment, cielab: tuple[int, int, int]) -> Segment:
    from dataclasses import replace

    return replace(segment, cielab=cielab)


def _code(cells: dict[str, str], kind: str) -> Concept | None:
    parts = [cells.get(f"{kind}_{part}") for part in ("code", "scheme", "meaning")]
    return Concept(*(part or "" for part in parts)) if all(parts) else None
