"""From staged parts to the next commit: merge, record checks, publish.

The merge writes new pages beside the committed ones and describes them in a manifest that is not public
yet (`Candidate`). `publish` puts the pages in their places and replaces ``dataset.json``: that is the
commit. Whoever is killed before it leaves the staging, so the next run does it all again; after it, at
most what `segtools.dataset.replaced.arrange` puts in order next time. Tables hold no clock and no host:
the same rows give the same bytes, in one run or in many, in a folder or in a bucket.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segtools.dataset import documents, labels
from segtools.dataset.merge import Merge
from segtools.dataset.pages import CHECKS, MANIFEST, entries, find_all
from segtools.dataset.replaced import GRACE, arrange, keep
from segtools.dataset.stage import staged
from segtools.dataset.verify import Base
from segtools.dataset.write_pages import write_page, write_pages
from segtools.errors import DatasetError
from segtools.files import TEMPORARY_PREFIX, dump_json, sweep, write_error
from segtools.schema import (
    DATASET_TABLES,
    FINDINGS,
    FORMAT_VERSION,
    SEGMENTS,
    SELECTION,
    SERIES,
)
from segtools.version import DECODER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    import pyarrow as pa

    from segtools.dataset.layout import DocumentName, Layout
    from segtools.dataset.place import Place

_OURS = frozenset(
    {"dataset.json", "cohort.yaml", "README.md", "CITATIONS.bib", "LICENSES.tsv", "tables", "volumes"}
    | {"report", "runs", ".lock", ".DS_Store"}
)


@dataclass(frozen=True)
class Cohort:
    """What a dataset shall hold, and what is said of it.

    Attributes
    ----------
    text : str
        The cohort file; kept as ``cohort.yaml``.
    selection : pyarrow.Table
        See `segtools.schema.SELECTION`. Series it lacks are retired: their row stays as a tombstone, the
        rest goes. Those it has get its release, licence and citation.
    name : str
    idc_version : int or None
        Release of the selection.
    provenance : mapping
        JSON values without clock or host.
    label_index : mapping of str to int, optional
        Labels that the cohort file gives; default: those of the last commit, and the next numbers.
    """

    text: str
    selection: pa.Table
    name: str = ""
    idc_version: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    label_index: Mapping[str, int] | None = None

    def described(self) -> dict[str, Any]:
        """What ``dataset.json`` says of it, as JSON reads it back."""
        described = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "cohort_sha256": hashlib.sha256(self.text.encode()).hexdigest(),
            "selection_sha256": _digest(self.selection),
            "idc_version": self.idc_version,
            "decoder": DECODER,
            "label_index": None if self.label_index is None else dict(self.label_index),
            "provenance": dict(self.provenance),
        }
        parsed: dict[str, Any] = json.loads(json.dumps(described))
        return parsed


@dataclass
class Candidate:
    """A merged state that is not committed yet.

    Attributes
    ----------
    manifest : dict
        Its ``dataset.json``.
    parts : list of str
        What went into it.
    documents : dict of str to bytes or Path
        By relative path; a file given as a path is moved there.
    is_new : bool
        It differs from the last commit, or that was damaged.
    """

    manifest: dict[str, Any]
    parts: list[str] = field(default_factory=list)
    documents: dict[str, bytes | Path] = field(default_factory=dict)
    is_new: bool = True

    @property
    def is_checked(self) -> bool:
        """Whether the findings of the stage `check` are in it."""
        return bool(self.manifest["is_checked"])


def refuse_foreign(where: str, names: Collection[str]) -> None:
    """Refuse a place that holds other things and no dataset; `names` are those at its top.

    Raises
    ------
    DatasetError
        ``output-not-ours``.
    """
    foreign = sorted(name for name in names if name not in _OURS and not name.startswith(TEMPORARY_PREFIX))
    if foreign and MANIFEST not in names:
        raise DatasetError("output-not-ours", f"{where} holds {foreign[0]!r} and no {MANIFEST}.", path=where)


def prepare(layout: Layout) -> None:
    """Make sure the folder is ours to write to, and remove what a crash left half-written.

    Raises
    ------
    DatasetError
        ``output-not-ours``: the folder has other things in it.
    WriteError, EnvironmentProblem
        The folder cannot be made.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in layout.root.iterdir()}
    except OSError as error:
        raise write_error(error, layout.root) from error
    refuse_foreign(str(layout.root), names)
    try:
        layout.staging.mkdir(parents=True, exist_ok=True)
        homes = (layout.columns, layout.report, layout.ledger, layout.replaced / "x")
        for folder in (layout.root, layout.staging, *(path.parent for path in homes)):
            sweep(folder)
        shutil.rmtree(layout.merged_pages, ignore_errors=True)
        complete = set(layout.parts())
        for path in layout.staging.glob("*.parquet"):  # of parts whose series table was never written
            if path.name.rsplit(".", 2)[0] not in complete:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, layout.staging) from error


def merge(layout: Layout, base: Base, cohort: Cohort, memory_limit: str = "2GB") -> Candidate:
    """Merge what is committed and what is staged.

    Parameters
    ----------
    layout : Layout
    base : Base
    cohort : Cohort
    memory_limit : str
        Of the merge of series, as DuckDB writes it.

    Returns
    -------
    Candidate
        The last commit itself where nothing is staged, damaged or said otherwise: nothing is written then.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a committed or staged table cannot be read.
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    manifest, parts = base.manifest, staged(layout)
    described = cohort.described()
    is_whole = manifest and not parts and not base.is_damaged
    if manifest and is_whole and described == {name: manifest.get(name) for name in described}:
        return Candidate(manifest, is_new=False)
    committed = _committed(layout, manifest)
    with Merge(
        layout, committed[SERIES.name], parts, cohort.selection, cohort.idc_version, memory_limit
    ) as merged:
        if cohort.label_index is not None:
            numbers = dict(cohort.label_index)
        else:
            # Of committed pages only where labels may be missing: they name no new structure otherwise.
            asked = () if labels.covers_all(manifest) else committed[SEGMENTS.name]
            numbers = labels.extended(labels.committed_labels(manifest), merged.structures(asked))
        pages = write_pages(
            layout,
            merged.series,
            manifest,
            parts,
            committed,
            numbers,
            is_relabeled=labels.changes_rows(manifest, numbers),
        )
        tables = {name: _listing(files) for name, files in pages.items()}
        texts: dict[DocumentName, bytes] = {
            "cohort.yaml": cohort.text.encode(),
            "README.md": documents.readme(
                cohort.name or layout.root.name,
                cohort.idc_version,
                {**merged.counts(), "segments": tables[SEGMENTS.name]["rows"]},
            ),
            "CITATIONS.bib": documents.citations(merged.dois()),
            "LICENSES.tsv": documents.licenses(merged.licenses()),
        }
    written: dict[str, bytes | Path] = {}
    for name, text in texts.items():
        written[layout.relative(layout.document(name))] = text
    written[layout.relative(layout.columns)] = documents.columns()
    described |= {"labels": numbers, "tables": tables, "is_checked": False}
    return Candidate(described, parts, written)


def record_checks(layout: Layout, candidate: Candidate, findings: pa.Table) -> None:
    """Put the findings of the stage `check` into a candidate; those of an earlier check go.

    Parameters
    ----------
    layout : Layout
    candidate : Candidate
    findings : pyarrow.Table
        With the schema `segtools.schema.FINDINGS`.

    Raises
    ------
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    tables = candidate.manifest["tables"]
    files = [entry for entry in tables[FINDINGS.name]["files"] if entry.get("origin") != CHECKS]
    if findings.num_rows:
        files.append(write_page(layout, FINDINGS, findings) | {"origin": CHECKS})
    candidate.manifest = candidate.manifest | {
        "tables": tables | {FINDINGS.name: _listing(files)},
        "is_checked": True,
    }
    candidate.is_new = True


def publish(place: Place, candidate: Candidate, grace: timedelta = GRACE) -> None:
    """Make a candidate the committed state; what it replaces is kept for `grace`.

    Raises
    ------
    EnvironmentProblem, WriteError
        A file cannot be written.
    """
    layout = place.layout
    content = dump_json(candidate.manifest)
    before = place.get(MANIFEST)
    for relative, text in candidate.documents.items():
        place.put(relative, text)
    if candidate.is_new:
        if before is not None and before != content:
            keep(place, before)
        _put_pages(place, candidate.manifest)
        if before != content:
            place.put(MANIFEST, content)
    if candidate.is_new or place.list(f"{layout.relative(layout.replaced)}/"):
        arrange(place, candidate.manifest, grace, candidate.parts)
    clear_staging(place, candidate.parts)


def _put_pages(place: Place, manifest: Mapping[str, Any]) -> None:
    """Put merged pages in their places; a damaged one of the same name is replaced."""
    layout = place.layout
    merged = {
        layout.relative(layout.table(path.parent.name) / path.name): path
        for path in layout.merged_pages.glob("*/*.parquet")
    }
    named = {entry["path"] for table in DATASET_TABLES for entry in entries(manifest, table.name)}
    place.all(lambda page: place.put(page, merged[page]), sorted(merged.keys() & named))


def clear_staging(place: Place, parts: Iterable[str]) -> None:
    """Remove the committed parts; one staged meanwhile stays, what is of no part goes.

    Raises
    ------
    EnvironmentProblem
        A bucket cannot be written.
    """
    layout = place.layout
    series = [layout.relative(layout.part(part, SERIES.name)) for part in parts]
    place.delete(series)  # first: without it there is no part
    suffix = f".{SERIES.name}.parquet"
    there = set(place.list(f"{layout.relative(layout.staging)}/")) - set(series)
    newer = {path.removesuffix(suffix) for path in there if path.endswith(suffix)}
    place.delete(path for path in there if path.removesuffix(".parquet").rpartition(".")[0] not in newer)
    for folder in (layout.spill, layout.merged_pages):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.staging.rmdir()


def _committed(layout: Layout, manifest: Mapping[str, Any] | None) -> dict[str, list[Path]]:
    """Files of the committed pages, by table and number of the page."""
    if manifest is None:
        return {table.name: [] for table in DATASET_TABLES}
    pages = {
        table.name: {
            "files": [e for e in manifest["tables"][table.name]["files"] if e.get("origin") != CHECKS]
        }
        for table in DATASET_TABLES
    }
    found = find_all(layout.root, {"tables": pages}, pages)
    by_path = {path.name: path for paths in found.values() for path in paths}
    return {
        name: [by_path[entry["path"].rpartition("/")[2]] for entry in own["files"]]
        for name, own in pages.items()
    }


def _listing(files: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": sum(entry["rows"] for entry in files), "files": files}


def _digest(current: pa.Table) -> str:
    """SHA-256 of a selection, whatever its order."""
    rows = current.sort_by("seg_series_uid")
    digest = hashlib.sha256()
    for column in SELECTION.names:
        digest.update(json.dumps(rows[column].to_pylist()).encode())
    return digest.hexdigest()
