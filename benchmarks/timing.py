"""How things are timed: one core, warm cache, contenders in turn, medians; memory apart from time."""

from __future__ import annotations

import contextlib
import gc
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPEATS = 5
OUT = Path(__file__).parent / "out"
PHANTOMS = OUT / "phantoms"


@dataclass
class Times:
    """What one contender took.

    Attributes
    ----------
    wall, cpu : list of float, s
        One value per repeat; `cpu` of this process or of the child.
    problem : str
        Why there are none.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    problem: str = ""

    def row(self, reference: Times | None) -> dict[str, Any]:
        """The table's columns; `ratio` is to the reference's median."""
        if not self.wall:
            return {"note": self.problem}
        median = statistics.median(self.wall)
        row = {"seconds": round(median, 4), "best_s": round(min(self.wall), 4)}
        row["cpu_s"] = round(statistics.median(self.cpu), 4)
        if reference is not None and reference.wall:
            row["ratio"] = round(median / statistics.median(reference.wall), 2)
        return row


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This process and its children on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_turn(contenders: Mapping[str, Callable[[], object] | str], repeats: int = REPEATS) -> dict[str, Times]:
    """Times of callables run in turn, so that a busy moment hits all; a first round is not counted.

    A text instead of a callable says why there is none.
    """
    times = {name: Times(problem=run if isinstance(run, str) else "") for name, run in contenders.items()}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            if isinstance(run, str) or times[name].problem:
                continue
            gc.collect()
            wall, cpu = time.perf_counter(), _cpu()
            try:
                result = run()
            except Exception as error:  # noqa: BLE001 - a peer may fail in any way; that is its result
                times[name] = Times(problem=f"failed: {type(error).__name__}: {str(error)[:80]}")
                continue
            wall, cpu = time.perf_counter() - wall, _cpu() - cpu
            del result
            if repeat:
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def rows_of(
    what: str,
    times: Mapping[str, Times],
    *,
    reference: str = "segtools",
    limits: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the table, in the contenders' order."""
    limits = limits or {}
    return [
        {"what": what, "who": who, **found.row(times.get(reference)), "limit": limits.get(who, "")}
        for who, found in times.items()
    ]


def command(*arguments: str | Path) -> Callable[[], None]:
    """A command to run to its end; not 0 is an error."""

    def run() -> None:
        subprocess.run(
            [str(a) for a in arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    return run


def peak_memory(*arguments: str | Path) -> tuple[float, float]:
    """Highest resident memory of a command, MB: in all, and without the pages of mapped files.

    Sampled from /proc, because a child's `ru_maxrss` starts at its parent's. NaN where there is no
    /proc.
    """
    process = subprocess.Popen(
        [str(a) for a in arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    status = Path(f"/proc/{process.pid}/status")
    whole = own = float("nan")
    while process.poll() is None:
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            break
        if "VmHWM" in fields:
            whole = _mb(fields["VmHWM"])
            own = max(_mb(fields["RssAnon"]), 0.0 if own != own else own)
        time.sleep(0.001)
    process.wait()
    return whole, own


def _mb(text: str) -> float:
    return int(text.split()[0]) / 1024
