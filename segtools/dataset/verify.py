"""The last commit, looked at before a run builds on it.

What can be made again is: a series whose page or volume is lost, cut or altered counts as never done. What
cannot be read is refused: a dataset.json that is no JSON, or of another format.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from segtools.bounded_json import load_json
from segtools.dataset.pages import (
    CHECKS,
    MANIFEST,
    entries,
    find,
    is_listing,
)
from segtools.dataset.write_pages import write_page
from segtools.errors import DatasetError
from segtools.files import sha256_of
from segtools.schema import DATASET_TABLES, FILES, FINDINGS, FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segtools.dataset.layout import Layout
    from segtools.dataset.place import Place, Stored
    from segtools.schema import Table

_log = logging.getLogger(__name__)
_SHOWN = 3


@dataclass(frozen=True)
class Base:
    """What the next commit builds on.

    Attributes
    ----------
    manifest : dict or None
        The last commit without its damaged pages; None if there is none.
    redo : frozenset of str
        Series whose volumes or sidecars are damaged, by SeriesInstanceUID.
    is_damaged : bool
        Something has to be written anew, if only a page.
    """

    manifest: dict[str, Any] | None = None
    redo: frozenset[str] = frozenset()
    is_damaged: bool = False


def read_manifest(content: bytes | None, name: str) -> dict[str, Any] | None:
    """What a ``dataset.json`` says; None if there is none.

    Parameters
    ----------
    content : bytes or None
    name : str
        Of the dataset, for messages.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: it is no description of a dataset. ``dataset-incompatible``: of another format.
    """
    if content is None:
        return None
    path = f"{name}/{MANIFEST}"
    hint = "It is left as it is. Restore it from a copy, or choose another folder."
    try:
        manifest = load_json(content)
    except ValueError as error:
        raise DatasetError(
            "dataset-invalid", f"{path} is not valid JSON: {error}.", hint=hint, path=path
        ) from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise DatasetError("dataset-invalid", f"{path} does not describe a dataset.", hint=hint, path=path)
    if version != FORMAT_VERSION:
        what = "a newer" if version > FORMAT_VERSION else "an older"
        todo = "Update this program" if version > FORMAT_VERSION else "Make the dataset anew"
        raise DatasetError(
            "dataset-incompatible",
            f"{path} has format version {version}, {what} one than the {FORMAT_VERSION} of this program.",
            hint=f"{todo}, or choose another folder.",
            path=path,
        )
    tables = manifest.get("tables")
    if not is_listing(tables) or {table.name for table in DATASET_TABLES} - tables.keys():
        raise DatasetError("dataset-invalid", f"{path} lists no tables.", hint=hint, path=path)
    return manifest  # type: ignore[no-any-return]


def verify(place: Place, name: str) -> Base:
    """Compare the last commit with its files.

    Pages are hashed. Files below volumes/ are compared by their size, and hashed where they were changed
    after the commit; `segtools.check.audit` hashes them all.

    Parameters
    ----------
    place : Place
        With all tables here.
    name : str
        Of the dataset, for messages.

    Raises
    ------
    DatasetError
        As `read_manifest`.
    EnvironmentProblem
        A bucket cannot be read.
    """
    manifest = read_manifest(place.get(MANIFEST), name)
    if manifest is None:
        return Base()
    healthy, damaged = _healthy(place.layout, manifest)
    redo = _series_of_damaged_files(place, healthy)
    if damaged:
        _log.warning("%s: made again, with the series of these pages: %s", name, _some(damaged))
    if redo:
        _log.warning("%s: made again, since their files are damaged: series %s", name, _some(sorted(redo)))
    is_damaged = bool(damaged) or any(place.layout.merged_pages.glob("*/*"))
    return Base(healthy, frozenset(redo), is_damaged)


def _some(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _healthy(layout: Layout, manifest: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The manifest without damaged pages, and their names: a page is lost in all tables together."""
    verdicts: dict[str, bool] = {}
    for table in DATASET_TABLES:
        for entry in entries(manifest, table.name):
            is_whole = _is_whole(layout, entry)
            if not is_whole and (is_whole := _is_empty_again(layout, table, entry)):
                _log.warning("%s, which has no rows, is made again", entry["path"])
            verdicts[entry["path"]] = is_whole
    damaged = [path for path, is_whole in verdicts.items() if not is_whole]
    if not damaged:
        return manifest, []
    pages = {table.name: _page_entries(manifest, table.name) for table in DATASET_TABLES}
    count = min(map(len, pages.values()))
    good = [number for number in range(count) if all(verdicts[own[number]["path"]] for own in pages.values())]
    tables = {}
    for table in DATASET_TABLES:
        files = [pages[table.name][number] for number in good]
        files = files or [write_page(layout, table, table.empty())]  # a table has at least one file
        tables[table.name] = {"rows": sum(entry["rows"] for entry in files), "files": files}
    checks = [entry for entry in manifest["tables"][FINDINGS.name]["files"] if entry.get("origin") == CHECKS]
    if checks and all(verdicts[entry["path"]] for entry in checks):
        tables[FINDINGS.name]["files"] += checks
    return manifest | {"tables": tables}, damaged


def _page_entries(manifest: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    return [entry for entry in manifest["tables"][table]["files"] if entry.get("origin") != CHECKS]


def _is_whole(layout: Layout, entry: Mapping[str, Any]) -> bool:
    path = find(layout.root, entry["path"])
    try:
        return (
            path is not None and path.stat().st_size == entry["bytes"] and sha256_of(path) == entry["sha256"]
        )
    except (OSError, KeyError):
        return False


def _is_empty_again(layout: Layout, table: Table, entry: Mapping[str, Any]) -> bool:
    """Write a page without rows anew: many pages share it, and its content is known."""
    return bool(entry["rows"] == 0 and write_page(layout, table, table.empty())["path"] == entry["path"])


def _series_of_damaged_files(place: Place, manifest: Mapping[str, Any]) -> set[str]:
    """Series of which a file below volumes/ is not as the files table says."""
    layout = place.layout
    there = place.list(f"{layout.relative(layout.volumes)}/")
    committed = place.changed_s(MANIFEST)
    redo: set[str] = set()
    doubtful: dict[str, tuple[str, str]] = {}
    for path, uid, size, sha256 in _files(layout, manifest):
        found = there.get(path)
        if found is None or found.size_bytes != size:
            redo.add(uid)
        elif _may_differ(found, committed):
            doubtful[path] = (uid, sha256)

    def compare(path: str) -> None:
        uid, sha256 = doubtful[path]
        if place.digest(path) != sha256:
            redo.add(uid)

    place.all(compare, doubtful)
    return redo


def _may_differ(found: Stored, committed_s: float) -> bool:
    return found.changed_s > committed_s


def _files(layout: Layout, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    columns = ["path", "seg_series_uid", "size_bytes", "sha256"]
    for entry in entries(manifest, FILES.name):
        path = find(layout.root, entry["path"])
        assert path is not None  # noqa: S101 - it is whole
        table = pq.ParquetFile(path).read(columns=columns)
        yield from zip(*(table[name].to_pylist() for name in columns), strict=True)
