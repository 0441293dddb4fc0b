"""What earlier commits left: kept for a while, then removed.

Whoever opened the dataset before a commit reads on, so what only that earlier state names is kept:
its ``dataset.json`` as ``runs/replaced/<UTC of the next commit>.json``, its pages below
``tables/.replaced``, its volumes where they are. A later run removes all three when they are older than
the grace (``write.keep_replaced_hours``, a day by default). What no commit ever named goes at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from segtools.bounded_json import load_json
from segtools.dataset.layout import Layout, is_volume_file
from segtools.dataset.pages import REPLACED_PAGES, entries, find
from segtools.dataset.run_record import STAMP, utc_stamp
from segtools.dataset.stage import staged
from segtools.errors import DatasetError
from segtools.schema import DATASET_TABLES, FILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from segtools.dataset.place import Place
    from segtools.dataset.reader import Dataset

GRACE = timedelta(days=1)


def keep(place: Place, committed: bytes) -> None:
    """Keep the manifest that a commit is about to replace; before it does."""
    layout = place.layout
    place.put(layout.relative(layout.replaced / f"{utc_stamp()}.json"), committed)


def arrange(
    place: Place,
    manifest: Mapping[str, Any] | None,
    grace: timedelta | None = None,
    merged: Collection[str] = (),
) -> None:
    """Put pages where they belong, and remove what no commit that is kept names.

    Parameters
    ----------
    place : Place
    manifest : mapping or None
        What is committed.
    grace : timedelta, optional
        How long replaced commits are kept; default: as long as they are there, and so is all below volumes/.
    merged : collection of str
        Staged parts that went into `manifest`: what only they name is not waited for.
    """
    layout = place.layout
    kept = list(_kept(place, grace))
    own = _pages([manifest] if manifest else [])
    theirs = _pages(kept)
    doomed = []
    there = {
        path
        for table in DATASET_TABLES
        for path in place.list(f"{layout.relative(layout.table(table.name))}/")
    }
    away = set(place.list(f"{REPLACED_PAGES}/"))
    for path in sorted(there - own):
        if path in theirs:
            place.move(path, _away(path))
        else:
            doomed.append(path)
    for path in sorted(away):
        page = path.replace(REPLACED_PAGES, "tables", 1)
        if page in own and page not in there:
            place.move(path, page)
        elif page not in theirs or page in own:
            doomed.append(path)
    place.delete(doomed)
    if grace is not None:
        place.delete(_strays(place, [*([manifest] if manifest else []), *kept], merged))


def kept_files(dataset: Dataset) -> set[str]:
    """Files below volumes/ that commits before this state name and that are kept for their readers."""
    folder = Layout(dataset.root).replaced
    prefix = f"{Layout(dataset.root).relative(folder)}/"
    if dataset.origin is None:
        manifests = [path.read_bytes() for path in sorted(folder.glob("*.json"))]
    else:
        manifests = [dataset.origin.get_bytes(key) or b"" for key in sorted(dataset.origin.list(prefix))]
    found: set[str] = set()
    for manifest in map(load_json, filter(None, manifests)):
        for entry in entries(manifest, FILES.name):
            found |= set(_named(dataset.page(entry["path"])))
    return found


def _away(page: str) -> str:
    return page.replace("tables", REPLACED_PAGES, 1)


def _kept(place: Place, grace: timedelta | None) -> Iterator[dict[str, Any]]:
    """Manifests that were replaced less than `grace` ago; the others are removed."""
    layout = place.layout
    now = datetime.now(UTC)
    for path in sorted(place.list(f"{layout.relative(layout.replaced)}/")):
        try:
            moment = datetime.strptime(path.rpartition("/")[2], f"{STAMP}.json").replace(tzinfo=UTC)
            manifest = load_json(place.get(path) or b"")
            _pages([manifest])
        except (ValueError, KeyError, TypeError):  # not one of ours
            continue
        if grace is not None and now - moment >= grace:
            place.delete([path])
        else:
            yield manifest


def _pages(manifests: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        entry["path"]
        for manifest in manifests
        for table in DATASET_TABLES
        for entry in entries(manifest, table.name)
    }


def _strays(place: Place, manifests: Iterable[Mapping[str, Any]], merged: Collection[str]) -> list[str]:
    """Volumes and sidecars that neither a kept commit names nor a part that waits."""
    layout = place.layout
    there = set(filter(is_volume_file, place.list(f"{layout.relative(layout.volumes)}/")))
    pages = {entry["path"] for manifest in manifests for entry in entries(manifest, FILES.name)}
    for page in sorted(pages):
        path = place.bring(page) if find(layout.root, page) is None else find(layout.root, page)
        if path is None:  # a page of a commit that is kept was lost: what it named is not known
            return []
        there -= set(_named(path))
    for part in set(staged(layout)) - set(merged):
        there -= set(_named(layout.part(part, FILES.name)))
    return sorted(there)


def _named(path: Any) -> list[str]:
    try:
        return pq.ParquetFile(path).read(columns=["path"])["path"].to_pylist()  # type: ignore[no-any-return]
    except (OSError, pa.ArrowException) as error:
        raise DatasetError("dataset-invalid", f"{path} cannot be read: {error}.", path=str(path)) from error
