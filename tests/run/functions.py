"""What the executor tests run in workers: importable there, controlled through files."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segtools.errors import EnvironmentProblem, SelectError

if TYPE_CHECKING:
    from segtools.run.batches import Batch


@dataclass(frozen=True)
class Work:
    """Returns the UIDs of a batch; leaves a trace file per series and execution."""

    folder: Path
    poison: str = ""
    bug: str = ""
    own: str = ""
    hungry: str = ""
    kill_once: str = ""
    full_disk: str = ""
    seconds: float = 0.0

    def __call__(self, batch: Batch) -> list[str]:
        for one in batch.series:
            uid = one.seg_series_uid
            with (self.folder / uid).open("a") as file:
                file.write(f"{os.getpid()}\n")
            if uid == self.poison or (uid == self.kill_once and self._is_first(uid)):
                os.kill(os.getpid(), signal.SIGKILL)
            if uid == self.bug:
                raise ZeroDivisionError("a defect")
            if uid == self.own:
                raise SelectError("no-match", "by the test")
            if uid == self.hungry:
                bytearray(4_000_000_000)
            if uid == self.full_disk:
                raise EnvironmentProblem("disk-full", "by the test")
            time.sleep(self.seconds)
        return [one.seg_series_uid for one in batch.series]

    def _is_first(self, uid: str) -> bool:
        return len((self.folder / uid).read_text().splitlines()) == 1

    def executions(self) -> dict[str, int]:
        return {path.name: len(path.read_text().splitlines()) for path in self.folder.glob("1.2.*")}


class Unpicklable:
    """Ends a worker before it is ready: it cannot be unpickled there."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (5,)

    def __call__(self, batch: Batch) -> None:
        raise AssertionError(batch)
