"""A copy of IDC's public Parquet export of `segmentations`: segments without a Google account.

IDC exports every BigQuery table to a public bucket with each release, one folder per release and table
(`segtools.objectstore.urls.IDC_EXPORT`). A mirror is one folder per release, ``idc_v25/segmentations/``
with the Parquet files and `mirror.json`; it gets its name only when every file has arrived and been
read, so a folder of that name is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from segtools import schema
from segtools.bounded_json import load_json
from segtools.errors import (
    EnvironmentProblem,
    FetchError,
    SegtoolsError,
    SelectError,
    Transient,
)
from segtools.files import TEMPORARY_PREFIX, md5_of, write_bytes, write_error
from segtools.objectstore.s5cmd import FetchOptions, S5cmd
from segtools.objectstore.urls import GOOGLE, IDC_EXPORT, IDC_INDEX_ARTIFACTS
from segtools.select.engines import image_indexes, schema_drift

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MANIFEST = "mirror.json"
TABLE = "segmentations"

_FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.parquet$")
_RELEASE = re.compile(r"idc_v([0-9]{1,3})/?$")


@dataclass(frozen=True)
class _Remote:
    name: str
    url: str
    size_bytes: int
    md5: str | None


def mirror(
    destination: Path,
    idc_version: int,
    options: FetchOptions | None = None,
    *,
    export_url: str = IDC_EXPORT,
) -> Path:
    """Copy `segmentations` of one release; what is there already is kept, what is half there goes on.

    Parameters
    ----------
    destination : Path
        Folder of all mirrors.
    idc_version : int
    options : FetchOptions, optional
        How to transfer; default: anonymously, from AWS.
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
        ``throttled``, ``disk-full``, ``transfer-failed``, ``transfer-stalled``, ``listing-limit``.
    WriteError
        ``write-failed``.
    """
    target = _folder(destination, idc_version)
    if target.is_dir() and not _damage(target):
        return target
    options = options or FetchOptions()
    s5cmd = S5cmd(options)
    try:
        files = _list(s5cmd, export_url, idc_version)
        partial = destination / f"{TEMPORARY_PREFIX}idc_v{idc_version}"
        partial.mkdir(parents=True, exist_ok=True)
        for stray in partial.iterdir():
            if stray.name not in {file.name for file in files}:
                stray.unlink()
        _copy(s5cmd, files, partial)
        entries = [_checked(partial / file.name, file) for file in files]
        _check_table(partial, files, idc_version)
        manifest = {"idc_version": idc_version, "url": export_url, "files": entries}
        write_bytes(partial / MANIFEST, json.dumps(manifest, indent=2).encode())
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    except FetchError as error:  # here it is not one series that fails, but the command
        raise EnvironmentProblem(error.code, error.message, hint=error.hint, **error.attrs) from error
    except OSError as error:
        raise write_error(error, target) from error
    return target


def mirror_indexes(
    destination: Path,
    idc_version: int,
    release: str,
    options: FetchOptions | None = None,
    *,
    artifacts_url: str = IDC_INDEX_ARTIFACTS,
) -> list[Path]:
    """Copy IDC's indexes of CT, MR, PT, contrast and geometry, for filters on the segmented images.

    Parameters
    ----------
    destination : Path
        Folder of all mirrors.
    idc_version : int
    release : str
        Release of idc-index-data whose artefacts they are, as ``25.0.5``.
    options : FetchOptions, optional
        Default: anonymously, from Google's S3 endpoint.
    artifacts_url : str

    Returns
    -------
    list of Path
        The files that the release has; of an older one some may be absent.

    Raises
    ------
    SelectError, EnvironmentProblem, WriteError
        As `mirror`; ``version-unknown``: the release has no such files.
    """
    target = index_folder(destination, idc_version)
    s5cmd = S5cmd(options or FetchOptions(endpoint=GOOGLE))
    wanted = {f"{name}.parquet" for name in image_indexes.FILES}
    here = [target / name for name in sorted(wanted) if (target / name).is_file()]
    if len(here) == len(wanted):
        return here
    partial = target.parent / f"{TEMPORARY_PREFIX}index"
    try:
        listed = s5cmd.walk(f"{artifacts_url}/{release}/release_artifacts/")
        files = [
            _Remote(url.rpartition("/")[2], url, entry.size_bytes, entry.md5)
            for url, entry in sorted(listed.items())
            if url.rpartition("/")[2] in wanted
        ]
        if not files:
            raise SelectError(
                "version-unknown",
                f"There are no indexes of images of idc-index-data {release} below {artifacts_url}.",
                version=idc_version,
            )
        partial.mkdir(parents=True, exist_ok=True)
        _copy(s5cmd, files, partial)
        for file in files:
            _checked(partial / file.name, file)
            image_indexes.check(partial / file.name)
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            (partial / file.name).replace(target / file.name)
        shutil.rmtree(partial)
    except FetchError as error:
        raise EnvironmentProblem(error.code, error.message, hint=error.hint, **error.attrs) from error
    except OSError as error:
        raise write_error(error, target) from error
    return [target / file.name for file in files]


def _copy(s5cmd: S5cmd, files: Sequence[_Remote], folder: Path) -> None:
    """Bring the files that are not here whole; what may heal is tried again."""
    for attempt in range(1, s5cmd.options.attempts + 1):
        wanted = [file for file in files if not _whole(folder / file.name, file)]
        if not wanted:
            return
        # 64 KiB beyond each size: blocks of the disk.
        limit = sum(file.size_bytes + (1 << 16) for file in files)
        said = s5cmd.copy([(file.url, folder / file.name) for file in wanted], limit)
        errors: list[SegtoolsError] = [error for error in said.values() if error is not None]
        lasting = [error for error in errors if not isinstance(error, Transient)]
        if lasting or (errors and attempt == s5cmd.options.attempts):
            raise (lasting or errors)[0]


def index_folder(root: Path, idc_version: int) -> Path:
    """Where a release's indexes of images (`ct_index.parquet` and the like) are kept beside the mirror."""
    return root / f"idc_v{idc_version}" / "index"


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
    return dict(load_json((folder / MANIFEST).read_bytes()))


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


def _list(s5cmd: S5cmd, export_url: str, idc_version: int) -> list[_Remote]:
    listed = s5cmd.walk(f"{export_url}/idc_v{idc_version}/{TABLE}/")
    listed = {url: found for url, found in listed.items() if url.endswith(".parquet")}
    if not listed:
        found = (_RELEASE.search(folder) for folder in s5cmd.folders(f"{export_url}/"))
        known = sorted({int(match[1]) for match in found if match})
        text = f"The export has v{known[0]} to v{known[-1]}." if known else "The export lists no releases."
        raise SelectError(
            "version-unknown",
            f"There is no export of `{TABLE}` of IDC v{idc_version} below {export_url}.",
            hint=text,
            version=idc_version,
        )
    files = []
    for url, entry in listed.items():
        name = url.rpartition("/")[2]
        if not _FILE_NAME.match(name):
            raise SelectError(
                "table-invalid", f"The export has a file of an unsafe name: {name!r:.120}.", url=url
            )
        files.append(_Remote(name, url, entry.size_bytes, entry.md5))
    return sorted(files, key=lambda file: file.name)


def _whole(path: Path, file: _Remote) -> bool:
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    return file.md5 is None or md5_of(path) == file.md5


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
            "table-invalid", f"{file.url} is not a valid Parquet file: {error}.", url=file.url
        ) from error
    return {"name": file.name, "bytes": file.size_bytes, "rows": rows, "md5": file.md5 or md5_of(path)}


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
