"""What the pipeline tests run per series: importable in workers, leaves its observations in files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segtools.series import FetchedSeries


@dataclass(frozen=True)
class Observe:
    """Notes for each series what was there while it was processed."""

    log: Path
    scratch: Path
    seconds: float = 0.0
    kill_once: str = ""
    bug: str = ""

    def __call__(self, fetched: FetchedSeries) -> str:
        uid = fetched.series.seg_series_uid
        start = time.monotonic()
        time.sleep(self.seconds)
        note = {
            "uid": uid,
            "pid": os.getpid(),
            "code": fetched.error.code if fetched.error else None,
            "bytes": [path.read_bytes()[:4].decode() for path in fetched.files],
            "disk": _size(self.scratch),
            "span": [start, time.monotonic()],
        }
        with (self.log / f"{uid}.jsonl").open("a") as file:
            file.write(json.dumps(note) + "\n")
        if uid == self.kill_once and len((self.log / f"{uid}.jsonl").read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if uid == self.bug:
            raise ZeroDivisionError("a defect")
        return uid

    def notes(self) -> list[dict]:
        lines = [line for path in self.log.glob("*.jsonl") for line in path.read_text().splitlines()]
        return sorted(map(json.loads, lines), key=lambda note: note["span"])


def _size(folder: Path) -> int:
    """Bytes of raw files; what vanishes meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(root) / name).stat().st_size if ".dcm" in name else 0
    return total
