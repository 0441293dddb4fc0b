"""Which files a table is made of: its pages, as ``dataset.json`` lists them.

The series of a dataset are cut, in their order, into pages; each page has one Parquet file per table,
named by the hash of its bytes. A page keeps its name while its place may change::

    tables/<table>/<hash>.parquet                  named by the last commit
    tables/.replaced/<table>/<hash>.parquet        by earlier ones only
    tables/.staging/pages/<table>/<hash>.parquet   by the next one only

So whoever looks for a page looks in all three. Only the standard library is imported here.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from segtools.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MANIFEST = "dataset.json"
REPLACED_PAGES = "tables/.replaced"
STAGED_PAGES = "tables/.staging/pages"
CHECKS = "checks"
"""`origin` of the page that holds the findings of the stage `check`; all others hold series."""

_LOOKS = 3
"""A commit may move a page between two looks; it moves once."""


def entries(manifest: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """The files of a table, each once: path, rows, bytes, sha256."""
    found: dict[str, dict[str, Any]] = {}
    for entry in manifest["tables"][table]["files"]:
        found.setdefault(entry["path"], entry)
    return list(found.values())


def is_listing(tables: object) -> bool:
    """Whether `tables` is what a manifest says of its tables."""
    return isinstance(tables, dict) and all(
        isinstance(table, dict)
        and isinstance(table.get("rows"), int)
        and isinstance(table.get("files"), list)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("path"), str)
            and isinstance(entry.get("rows"), int)
            and isinstance(entry.get("bytes"), int)
            for entry in table["files"]
        )
        for table in tables.values()
    )


def places(relative: str) -> tuple[str, ...]:
    """Where the page `relative` may lie, the usual place first.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: the path leads out of the dataset.
    """
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError("dataset-invalid", f"Path {relative!r} leads out of the dataset.", path=relative)
    if parts.parts[:1] != ("tables",):
        return (relative,)
    rest = PurePosixPath(*parts.parts[1:])
    return relative, str(PurePosixPath(REPLACED_PAGES, rest)), str(PurePosixPath(STAGED_PAGES, rest))


def find(root: Path, relative: str, *, merged_first: bool = False) -> Path | None:
    """The page `relative` of the dataset in `root`, wherever it lies; None if it is not there.

    With `merged_first`, a page that waits for the commit counts more than one of the same name that was
    committed: that one may be damaged, and the other its replacement.
    """
    order = slice(None, None, -1 if merged_first else 1)
    for _ in range(_LOOKS):
        for place in places(relative)[order]:
            if (path := root / place).is_file():
                return path
    return None


def find_all(root: Path, manifest: Mapping[str, Any], tables: Iterable[str]) -> dict[str, list[Path]]:
    """The files of some tables.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: one is not there.
    """
    return {table: [_found(root, entry) for entry in entries(manifest, table)] for table in tables}


def _found(root: Path, entry: Mapping[str, Any]) -> Path:
    path = find(root, entry["path"])
    if path is None:
        raise gone(str(root), entry["path"])
    return path


def gone(dataset: str, relative: str) -> DatasetError:
    """The error for a page that is nowhere: lost, or of a commit that is no longer kept."""
    return DatasetError(
        "dataset-invalid",
        f"{relative} is not there: it was removed, or a later commit replaced it long ago.",
        hint="Open the dataset again; if that fails too, re-run the cohort on this folder.",
        path=f"{dataset}/{relative}",
    )
