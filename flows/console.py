"""What people see on the terminal: tables, progress, sizes in words.

stdout carries data only; progress and log lines go to stderr. On a terminal progress is a bar, elsewhere
one plain line now and then. Consoles that know few characters get the nearest plain ones.
"""

from __future__ import annotations

import codecs
import json
import os
import shutil
import sys
import time
import unicodedata
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from segtools.showable import json_text, showable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

_PLAIN_INTERVAL_S = 5.0
_NARROWEST = 8
"""Columns that a shortened text keeps; a table that needs more than there is loses whole columns."""

_PLAIN = dict(zip("─–—·×�", "----x?", strict=True)) | {"…": "...", "→": "->"}
_HANDLER = "idcseg-plain"


def adapt_streams() -> None:
    """Let stdout and stderr take any text, whatever their encoding: cp1252, ASCII, a C locale.

    What an encoding lacks becomes its plain twin, as ``-`` of ``─``, or Python's escape of its number.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (
        _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode("ascii")
        for character in text
    )
    return "".join(escaped), error.end


def print_json(value: object) -> None:
    """Write `value` to stdout as JSON, non-finite numbers and unknown types as text."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json_text(value, default=str)
    # ASCII only where the console knows no more; JSON has an escape for every character.
    if not is_unicode:
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    sys.stdout.write(text + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str = "") -> None:
    """Write rows to stdout as an aligned table; numbers to the right.

    On a terminal, columns of text are shortened to fit; what still does not fit is left out, and named
    on stderr. Made by hand: importing a library for it would cost more than decoding a file.
    """
    cells = [[cell(row.get(column)) for column in columns] for row in rows]
    heads = [showable(column) for column in columns]  # as --columns takes them
    widths = [max(map(cell_width, texts)) for texts in zip(heads, *cells, strict=True)]
    numeric = [
        bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows)
        for column in columns
    ]
    if sys.stdout.isatty():
        widths = fitted(widths, numeric, shutil.get_terminal_size().columns)
    lines = [showable(title)] if title else []
    lines += [_aligned(heads, widths, numeric), "  ".join("─" * width for width in widths)]
    lines += [_aligned(texts, widths, numeric) for texts in cells]
    sys.stdout.write("\n".join(lines) + "\n\n")
    if left_out := columns[len(widths) :]:
        note(f"too narrow for {', '.join(left_out)}; see them with --json")


def fitted(widths: Sequence[int], numeric: Sequence[bool], available: int) -> list[int]:
    """Widths that fit into `available` columns of a terminal, two blanks between them.

    The widest texts are shortened first; numbers never are. If that is not enough, the last columns go,
    but never the first.
    """
    widths = list(widths)
    while (excess := sum(widths) + 2 * (len(widths) - 1) - available) > 0:
        texts = [n for n, width in enumerate(widths) if not numeric[n] and width > _NARROWEST]
        if not texts:
            if len(widths) == 1:
                break
            widths.pop()
            continue
        widest = max(texts, key=lambda n: widths[n])
        second = max((widths[n] for n in texts if n != widest), default=_NARROWEST)
        cut = max(1, widths[widest] - max(second, _NARROWEST))
        widths[widest] -= min(excess, cut)
    return widths


def _shortened(text: str, width: int) -> str:
    if cell_width(text) <= width:
        return text
    while cell_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _aligned(texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    shown = [_shortened(text, width) for text, width in zip(texts, widths, strict=False)]
    padded = (
        " " * (width - cell_width(text)) + text if right else text + " " * (width - cell_width(text))
        for text, width, right in zip(shown, widths, numeric, strict=False)
    )
    return "  ".join(padded).rstrip()


def cell_width(text: str) -> int:
    """Columns of a terminal that `text` takes: East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def print_table(table: pa.Table, *, as_json: bool, limit: int | None = None) -> None:
    """Write an Arrow table to stdout, as JSON or for people."""
    rows = table.slice(0, limit).to_pylist() if limit is not None else table.to_pylist()
    if as_json:
        print_json(rows)
        return
    print_rows(rows, table.column_names)
    if limit is not None and table.num_rows > limit:
        note(f"… and {table.num_rows - limit:,} more rows")


def note(text: str) -> None:
    """Write a line to stderr; names and texts from files may stand in it as they are."""
    print(showable(text), file=sys.stderr)


def path_text(path: Path | str) -> str:
    """A path as text; bytes of a name that are no UTF-8 are shown as hex escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def agrees(question: str) -> bool:
    """Ask a person at the terminal; no where there is none, or the answer is anything but yes."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def cell(value: object) -> str:
    """A value as table text."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return showable(str(value))


def bytes_text(count: float) -> str:
    """``1_500_000`` as ``1.5 MB`` (decimal, as IDC counts)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def duration_text(seconds: float) -> str:
    """``5_400`` as ``1.5 h``."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def progress(label: str, total: int, unit: str = "series") -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr; yields a function taking (items done, bytes done) since the last call."""
    if total <= 0:
        yield lambda _items, _size: None
    elif sys.stderr.isatty():
        yield from _bar(label, total)
    else:
        yield from _lines(label, total, unit)


@contextmanager
def counting(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """As `progress`, for work that tells (done, total) as it goes; the total may come late."""
    shown: list[Callable[[int, int], None]] = []
    seen = 0
    with ExitStack() as stack:

        def tell(done: int, total: int) -> None:
            nonlocal seen
            if not shown:
                shown.append(stack.enter_context(progress(label, total, unit)))
            shown[0](done - seen, 0)
            seen = done

        yield tell


def _bar(label: str, total: int) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[size]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, size="")
        moved = 0

        def advance(items: int, size: int) -> None:
            nonlocal moved
            moved += size
            bar.update(task, advance=items, size=bytes_text(moved))

        yield advance


def _lines(label: str, total: int, unit: str) -> Iterator[Callable[[int, int], None]]:
    done = moved = 0
    start = last = time.monotonic()

    def advance(items: int, size: int) -> None:
        nonlocal done, moved, last
        done, moved = done + items, moved + size
        now = time.monotonic()
        if done >= total or now - last >= _PLAIN_INTERVAL_S:
            last = now
            rate = moved / max(now - start, 1e-9)
            pace = f", {bytes_text(moved)}, {bytes_text(rate)}/s" if moved else ""
            note(f"{label}: {done:,} of {total:,} {unit}{pace}")

    yield advance


def summary_lines(pairs: Iterable[tuple[str, object]]) -> None:
    """Write ``name  value`` lines to stdout, aligned."""
    pairs = list(pairs)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        sys.stdout.write(f"{showable(name):<{width}}  {cell(value)}\n")
