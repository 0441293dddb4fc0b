"""Looking at processes: those that a folder is open in, and waiting for what becomes true."""

from __future__ import annotations

import os
import time
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`, or which have a file open below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(str(folder)) for link in links) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
