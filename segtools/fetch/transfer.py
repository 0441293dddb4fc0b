"""From selected series to checked files: plan, list, transfer, check, retry what may heal."""

from __future__ import annotations

import logging
import random
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from segtools.errors import (
    EnvironmentProblem,
    FetchError,
    SegtoolsError,
    Transient,
    TransientFetchError,
    WriteError,
)
from segtools.fetch.plan import complete, plan_series
from segtools.files import md5_of, write_error
from segtools.objectstore.s5cmd import S5cmd
from segtools.objectstore.urls import is_remote
from segtools.series import WEAKEST_FIRST, FetchedSeries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from threading import Event

    from segtools.fetch.plan import DownloadPlan, Item
    from segtools.objectstore.s5cmd import FetchOptions
    from segtools.series import RemoteObject, SelectedSeries, Verified

_log = logging.getLogger(__name__)

Inspect = Callable[[Path], tuple[str, str]]
"""SeriesInstanceUID and SOPInstanceUID of a file that is DICOM to its end; else a `SegtoolsError`."""

_STRAY = re.compile(r".+\.dcm\d+")
_LONGEST_PAUSE_S = 60.0
_HASHERS = 2
_FILE_SLACK_BYTES = 1 << 16
"""Disk blocks that a file may take beyond its bytes."""
_LIMITS = {
    "network-unavailable": 2,
    "size-mismatch": 2,
    "checksum-mismatch": 2,
    "content-mismatch": 2,
    "transfer-stalled": 2,
}
"""Transfers of an object per cause, where fewer than `FetchOptions.attempts` are worth it."""


def plan_batch(
    series: Sequence[SelectedSeries], folder: Path, options: FetchOptions, cancel: Event | None = None
) -> list[DownloadPlan]:
    """What each series consists of, with all sizes known before a byte is transferred.

    Parameters
    ----------
    series : sequence of SelectedSeries
    folder : Path
        The batch's own folder.
    options : FetchOptions
    cancel : threading.Event, optional

    Raises
    ------
    EnvironmentProblem
        ``network-unavailable``, ``s5cmd-missing``.
    """
    plans = [plan_series(one, folder / f"{n:05d}", options.endpoint) for n, one in enumerate(series)]
    wanted = sorted({url for plan in plans for url in plan.to_list if plan.error is None})
    listings: dict[str, list[RemoteObject] | SegtoolsError] = {}
    for attempt in _attempts(options, cancel):
        listings |= S5cmd(options, cancel).list(wanted) if wanted else {}
        errors = {url: found for url, found in listings.items() if not isinstance(found, list)}
        wanted = [url for url, error in errors.items() if _may_heal(error, attempt, options)]
        _raise_environment(error for url, error in errors.items() if url not in wanted)
        if not wanted:
            break
    for plan in plans:
        if plan.error is None and plan.to_list:
            complete(plan, listings)
    return plans


def transfer(
    plans: Sequence[DownloadPlan],
    options: FetchOptions,
    cancel: Event | None = None,
    inspect: Inspect | None = None,
) -> list[FetchedSeries]:
    """Bring every planned object here and check it; errors are per series.

    Parameters
    ----------
    plans : sequence of DownloadPlan
    options : FetchOptions
    cancel : threading.Event, optional
    inspect : callable, optional
        Reads a file that came without a known MD5 as DICOM, to its end; its UIDs are compared with the
        plan's. Without it only the size of such a file is checked.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``, ``network-unavailable``, ``s5cmd-missing``: not the fault of any series.
    WriteError
        ``write-failed``: the plans' folder cannot be written.
    """
    transfers = _Transfers(options, cancel, inspect)
    try:
        for plan in plans:
            if any(is_remote(item.source.url) for item in plan.items):
                shutil.rmtree(plan.folder, ignore_errors=True)  # an older file must not pass for a new one
                plan.folder.mkdir(parents=True)
        for attempt in _attempts(options, cancel):
            if not transfers.round([plan for plan in plans if plan.error is None], attempt):
                break
    except OSError as error:
        if isinstance(error, FetchError):
            raise
        raise write_error(error, plans[0].folder.parent) from error
    finally:
        for plan in plans:
            sweep_strays(plan.folder)
    return [transfers.result(plan) for plan in plans]


def fetch_batch(
    series: Sequence[SelectedSeries],
    folder: Path,
    options: FetchOptions,
    cancel: Event | None = None,
    inspect: Inspect | None = None,
) -> list[FetchedSeries]:
    """Fetch a batch of series into `folder`; in the order given, errors per series.

    Every file is checked by number, size and MD5, or where none is known by `inspect` (see `transfer`);
    whatever s5cmd claims. `FetchedSeries.verified` says which check was made. Files of a source here
    are checked and read in place.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``, ``network-unavailable``, ``s5cmd-missing``: not the fault of any series.
    WriteError
        ``write-failed``: `folder` cannot be written.
    """
    return transfer(plan_batch(series, folder, options, cancel), options, cancel, inspect)


def sweep_strays(folder: Path) -> int:
    """Remove the partial ``*.dcm<digits>`` that a killed s5cmd leaves in a series folder."""
    strays = [path for path in folder.glob("*.dcm*") if _STRAY.fullmatch(path.name)]
    for stray in strays:
        stray.unlink(missing_ok=True)
    return len(strays)


class _Transfers:
    """State of a batch's transfer: what is checked, how often each object was tried."""

    def __init__(self, options: FetchOptions, cancel: Event | None, inspect: Inspect | None) -> None:
        self.options = options
        self.inspect = inspect
        self.verified: dict[Path, Verified] = {}
        self.s5cmd = S5cmd(options, cancel)
        self.md5s: dict[Path, str | None] = {}
        self.hashing: dict[Path, Future[str]] = {}
        self.attempts: dict[str, int] = {}

    def round(self, plans: Sequence[DownloadPlan], attempt: int) -> bool:
        """Transfer and check once what is still to be had; whether another round may heal some."""
        open_items = [(plan, item) for plan in plans for item in plan.items if item.path not in self.md5s]
        remote = [item for _, item in open_items if is_remote(item.source.url)]
        said = self._copy(remote) if remote else {}
        for uid in {plan.series.seg_series_uid for plan, _ in open_items}:
            self.attempts[uid] = attempt
        errors: dict[int, SegtoolsError] = {}
        for plan, item in open_items:
            error = self._check(plan, item)
            if error is None:
                continue
            error = said.get(item.path) or error
            if isinstance(error, EnvironmentProblem | WriteError) and not isinstance(error, Transient):
                raise error
            if not _may_heal(error, attempt, self.options):
                _raise_environment([error])
                plan.error = error.with_attrs(seg_series_uid=plan.series.seg_series_uid, attempts=attempt)
            errors[id(plan)] = error
        for error in errors.values():
            _log.info("attempt %d: %s", attempt, error.message)
        return any(plan.error is None for plan in plans if id(plan) in errors)

    def _copy(self, items: Sequence[Item]) -> dict[Path, SegtoolsError | None]:
        """Copy; where more arrives than promised, ask the bucket which objects are to blame."""
        limit = sum((item.source.size_bytes or 0) + _FILE_SLACK_BYTES for item in items)
        pairs = [(item.source.url, item.path) for item in items]
        with ThreadPoolExecutor(_HASHERS, "md5") as pool:
            self.hashing = {}

            def arrived(path: Path) -> None:
                if self.options.verify_md5:
                    self.hashing[path] = pool.submit(md5_of, path)

            said = self.s5cmd.copy(pairs, limit, arrived)
        suspects = [item for item in items if getattr(said[item.path], "code", "") == "size-mismatch"]
        listings = self.s5cmd.list([item.source.url for item in suspects]) if suspects else {}
        for item in suspects:
            listing = listings[item.source.url]
            if isinstance(listing, list) and listing[0].size_bytes != item.source.size_bytes:
                promised = f"{listing[0].size_bytes} bytes, {item.source.size_bytes} were promised."
                said[item.path] = FetchError(
                    "size-mismatch", f"{item.source.url} holds {promised}", url=item.source.url
                )
        return said

    def _check(self, plan: DownloadPlan, item: Item) -> SegtoolsError | None:
        source, path = item.source, item.path
        kind = TransientFetchError if is_remote(source.url) else FetchError
        try:
            found = path.stat()
            size = found.st_size
            if not stat.S_ISREG(found.st_mode):  # a pipe or a device has no end
                return FetchError("unsafe-url", f"{source.url}: this is not a file.", url=source.url)
            if source.size_bytes is not None and size != source.size_bytes:
                message = f"{source.url}: {size} bytes arrived, {source.size_bytes} were promised."
                return kind("size-mismatch", message, url=source.url)
            md5 = self._md5(path)
        except FileNotFoundError:
            code = "transfer-failed" if is_remote(source.url) else "object-missing"
            return kind(code, f"{source.url}: there is no file.", url=source.url)
        except (PermissionError, IsADirectoryError) as error:
            return kind("access-denied", f"{source.url}: {error.strerror}.", url=source.url)
        if md5 is not None and source.md5 is not None and md5 != source.md5:
            message = f"{source.url}: MD5 is {md5}, the table or ETag says {source.md5}."
            return kind("checksum-mismatch", message, url=source.url)
        verified: Verified = "size" if source.md5 is None or not self.options.verify_md5 else "md5"
        if verified == "size" and self.inspect is not None and is_remote(source.url):
            if (said := self._inspected(self.inspect, plan, item)) is not None:
                return kind("content-mismatch", f"{source.url}: {said}", url=source.url)
            verified = "dicom"
        self.md5s[path], self.verified[path] = md5, verified
        return None

    @staticmethod
    def _inspected(inspect: Inspect, plan: DownloadPlan, item: Item) -> str | None:
        """What is wrong with a file as DICOM; None if it is the object that was planned."""
        try:
            series_uid, sop_uid = inspect(item.path)
        except SegtoolsError as error:
            return error.message
        if series_uid != plan.series.seg_series_uid:
            return f"it is of series {series_uid[:64]!r}, not {plan.series.seg_series_uid!r}."
        if item.source.sop_uid is not None and sop_uid != item.source.sop_uid:
            return f"it is the instance {sop_uid[:64]!r}, not {item.source.sop_uid!r}."
        return None

    def _md5(self, path: Path) -> str | None:
        """MD5 of a file that is here; None where nobody asked for it: half of a large series' time."""
        if path in self.hashing:
            return self.hashing[path].result()
        if self.options.verify_md5:
            return md5_of(path)
        with path.open("rb"):  # it can be read
            return None

    def result(self, plan: DownloadPlan) -> FetchedSeries:
        """The whole series, or its error; never a part of it."""
        attempts = self.attempts.get(plan.series.seg_series_uid, 1)
        if plan.error is None and any(item.path not in self.md5s for item in plan.items):
            plan.error = TransientFetchError("transfer-failed", f"{plan.series.series_url}: canceled.")
        if plan.error is not None:
            shutil.rmtree(plan.folder, ignore_errors=True)
            return FetchedSeries(plan.series, attempts=attempts, error=plan.error)
        distinct = _distinct([item.path for item in plan.items], self.md5s)
        if len(distinct) < len(plan.items):
            _log.info("%s: the same bytes under several URLs; read once", plan.series.seg_series_uid)
        files = sorted(distinct)
        made = {self.verified[item.path] for item in plan.items}
        return FetchedSeries(
            plan.series,
            tuple(files),
            tuple(self.md5s[file] for file in files),
            attempts,
            verified=next((weakest for weakest in WEAKEST_FIRST if weakest in made), None),
        )


def _distinct(paths: Sequence[Path], md5s: Mapping[Path, str | None]) -> list[Path]:
    """The first of all files with the same bytes; those of a size of its own are not hashed for it."""
    sizes = {path: path.stat().st_size for path in paths}
    often = Counter(sizes.values())
    first: dict[tuple[int, str], Path] = {}
    for path, size in sizes.items():
        digest = (md5s[path] or md5_of(path)) if often[size] > 1 else ""
        first.setdefault((size, digest), path)
    return list(first.values())


def _may_heal(error: SegtoolsError, attempt: int, options: FetchOptions) -> bool:
    limit = min(options.attempts, _LIMITS.get(error.code, options.attempts))
    return isinstance(error, Transient) and attempt < limit


def _attempts(options: FetchOptions, cancel: Event | None) -> Iterator[int]:
    """1, 2, 3, … with a growing, jittered pause between; ends at the limit or when canceled."""
    for attempt in range(1, options.attempts + 1):
        if attempt > 1:
            pause = min(options.backoff_s * 2 ** (attempt - 2), _LONGEST_PAUSE_S)
            pause *= random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
            if cancel is None:
                time.sleep(pause)
            elif cancel.wait(pause):
                return
        yield attempt


def _raise_environment(errors: Iterator[SegtoolsError] | Sequence[SegtoolsError]) -> None:
    for error in errors:
        if isinstance(error, EnvironmentProblem | WriteError):
            raise error
