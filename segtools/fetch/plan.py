"""What to fetch from where, and under which local names.

Tables come from strangers: a URL is checked before s5cmd or the file system sees it, and no UID, key
or PatientID ever becomes a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from segtools.errors import FetchError, SegtoolsError
from segtools.objectstore.urls import is_remote, local_path, safe_url, unsafe_url
from segtools.series import RemoteObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from segtools.series import SelectedSeries


SIZE_SLACK_BYTES = 10_000
"""IDC's series index states sizes in MB with two decimals, so sums are compared with this slack."""

_WILDCARDS = re.compile(r"[*?]")


@dataclass(frozen=True, slots=True)
class Item:
    """One object and the file it becomes (or already is)."""

    source: RemoteObject
    path: Path


@dataclass
class DownloadPlan:
    """The items of one series, or why there are none.

    Attributes
    ----------
    series : SelectedSeries
    folder : Path
        Of its own, where its files will be; named by us, never after a UID.
    items : list of Item
    to_list : list of str
        Prefixes whose objects must be listed first.
    error : SegtoolsError or None
    """

    series: SelectedSeries
    folder: Path
    items: list[Item] = field(default_factory=list)
    to_list: list[str] = field(default_factory=list)
    error: SegtoolsError | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes that its transfer will take on disk; 0 for files read in place."""
        return sum(item.source.size_bytes or 0 for item in self.items if is_remote(item.source.url))


def plan_series(series: SelectedSeries, folder: Path, endpoint: str | None) -> DownloadPlan:
    """The plan of one series with its own `folder`; what its table does not say is left in `to_list`."""
    plan = DownloadPlan(series, folder)
    try:
        if series.objects:
            known = [_mapped(source, endpoint) for source in series.objects]
            plan.to_list = [_listable(s.url) for s in known if s.size_bytes is None and is_remote(s.url)]
            plan.items = _items(known, plan.folder)
            return plan
        url = safe_url(series.series_url, endpoint)
        if is_remote(url):
            plan.to_list = [_listable(url)]
        else:
            plan.items = _items(_local_objects(url), plan.folder)
            check_total(plan)
    except FetchError as error:
        plan.error = error.with_attrs(seg_series_uid=series.seg_series_uid)
    return plan


def complete(plan: DownloadPlan, listings: dict[str, list[RemoteObject] | SegtoolsError]) -> None:
    """Fill a plan with what the listing of its `to_list` gave; sets its error where it gave none."""
    found: dict[str, RemoteObject] = {}
    for url in plan.to_list:
        listing = listings[url]
        if isinstance(listing, SegtoolsError):
            plan.error = listing.with_attrs(seg_series_uid=plan.series.seg_series_uid)
            return
        found.update((source.url, source) for source in listing)
    if plan.series.objects:
        plan.items = [
            Item(_merged(item.source, found.get(item.source.url)), item.path) for item in plan.items
        ]
        return
    plan.items = _items([found[url] for url in sorted(found)], plan.folder)
    try:
        for item in plan.items:
            safe_url(item.source.url)
        check_total(plan)
    except FetchError as error:
        plan.error = error.with_attrs(seg_series_uid=plan.series.seg_series_uid)


def check_total(plan: DownloadPlan) -> None:
    """Compare objects that were listed, not taken from a table, with the series' own row.

    Raises
    ------
    FetchError
        ``object-missing``: fewer than the table says; ``size-mismatch``: more, or other bytes.
    """
    series, count = plan.series, len(plan.items)
    total = sum(item.source.size_bytes or 0 for item in plan.items)
    says = f"{series.series_url} holds {count} objects of {total} bytes, the table says"
    stated = f"{series.instance_count} of {series.size_bytes}."
    if count < series.instance_count:
        raise FetchError("object-missing", f"{says} {stated}", url=series.series_url)
    if count > series.instance_count or abs(total - series.size_bytes) > SIZE_SLACK_BYTES:
        raise FetchError("size-mismatch", f"{says} {stated}", url=series.series_url)


def _mapped(source: RemoteObject, endpoint: str | None) -> RemoteObject:
    md5 = source.md5.lower() if source.md5 else None
    url = safe_url(source.url, endpoint)
    if url.endswith("/"):
        raise unsafe_url(source.url, "an object's URL does not end with '/'")
    return RemoteObject(url, source.size_bytes, md5, source.sop_uid)


def _merged(table: RemoteObject, listed: RemoteObject | None) -> RemoteObject:
    if table.size_bytes is not None or listed is None:
        return table
    return RemoteObject(table.url, listed.size_bytes, table.md5 or listed.md5, table.sop_uid)


def _items(sources: Iterable[RemoteObject], folder: Path) -> list[Item]:
    """One item per distinct URL; a table that names an object twice gets it once."""
    distinct: Sequence[RemoteObject] = list({source.url: source for source in sources}.values())
    return [
        Item(source, folder / f"{n:06d}.dcm" if is_remote(source.url) else local_path(source.url))
        for n, source in enumerate(distinct)
    ]


def _local_objects(url: str) -> list[RemoteObject]:
    path = local_path(url)
    if path.is_file():
        return [RemoteObject(url, path.stat().st_size)]
    if not path.is_dir():
        raise FetchError("object-missing", f"{url}: no such file or folder.", url=url)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return [RemoteObject(file.as_uri(), file.stat().st_size) for file in files]


def _listable(url: str) -> str:
    if _WILDCARDS.search(url):
        raise unsafe_url(url, "s5cmd would read its wildcards as a pattern")
    return url
