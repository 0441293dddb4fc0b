"""Where a run's time goes: the pipeline beside its parts alone, and beside plain loops.

220 series of IDC's sizes (`benchmarks.archive`) from an S3 endpoint on loopback become a dataset. The
limit is 1.25 times the slower of s5cmd alone and of the same run on local files. The endpoint takes its
share of the same cores, so the CPU time of all parts together is a lower bound too. See NOTES.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.archive import (
    BUCKET,
    LARGE,
    SMALL,
    ensure_archive,
    phantom_name,
)
from benchmarks.plain_loop import dcmqi_command
from benchmarks.timing import PHANTOMS
from flows.s3_endpoint import serve_folder
from segtools.index import build_index
from segtools.objectstore.s5cmd import FetchOptions, binary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPEATS = 3
NLST_SERIES, NLST_MB, LARGE_MB = 126_051, 113, 133
_OURS, _S5CMD, _LOCAL = "pipeline", "s5cmd alone", "decode and write alone"
_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class _Costs:
    """What a contender took, one value per repeat.

    Attributes
    ----------
    wall, cpu, server : list of float, s
        `cpu` of the commands, `server` of the S3 endpoint meanwhile.
    note : str
        What it did, or why there is nothing.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_s(self) -> float:
        return statistics.median(self.cpu)

    @property
    def server_s(self) -> float:
        return statistics.median(self.server)

    def row(self, what: str, who: str, size_bytes: int, reference: _Costs | None = None) -> dict[str, Any]:
        """The table's columns; `ratio` is to the reference."""
        row: dict[str, Any] = {"what": what, "who": who, "note": self.note}
        if not self.wall:
            return row
        row |= {"seconds": round(self.seconds, 2), "best_s": round(min(self.wall), 2)}
        row |= {"cpu_s": round(self.cpu_s, 1)}
        if reference is not None:
            row["ratio"] = round(self.seconds / reference.seconds, 2)
        shown = [f"{size_bytes / 1e6 / self.seconds:.0f} MB/s"]
        if self.server_s >= 0.1:
            shown.append(f"endpoint's CPU {self.server_s:.1f} s")
        row["note"] = ", ".join([*shown, *([self.note] if self.note else [])])
        return row


def run() -> list[dict[str, Any]]:
    """Rows of the whole archive, of its large series, and what follows for NLST."""
    archive = ensure_archive(PHANTOMS / "archive-220")
    with tempfile.TemporaryDirectory() as made, serve_folder(archive) as endpoint:
        bench = _Bench(archive, endpoint, Path(made))
        mixed = bench.in_turn({_OURS: bench.pipeline, _S5CMD: bench.s5cmd, _LOCAL: bench.local})
        peers = {who: bench.plain_loop(who) for who in ("highdicom", "dcmqi")}
        large = bench.in_turn({_LOCAL: bench.local_large, _OURS: bench.pipeline_large}, is_warm=True)
    return [*_mixed_rows(mixed, peers, bench.size_bytes), *_nlst_rows(large)]


def _mixed_rows(costs: dict[str, _Costs], peers: dict[str, _Costs], size_bytes: int) -> list[dict[str, Any]]:
    what = f"{SMALL} + {LARGE} series, {size_bytes / 1e9:.1f} GB"
    ours, s5cmd, local = costs[_OURS], costs[_S5CMD], costs[_LOCAL]
    rows = [one.row(what, who, size_bytes, ours) for who, one in costs.items()]
    slower = max(s5cmd.seconds, local.seconds)
    rows[0]["limit"] = "≤ 1.25 × the slower part"
    rows[0]["note"] = f"{ours.seconds / slower:.2f} × the slower part, {rows[0]['note']}"
    for (who, one), factor in zip(peers.items(), (10, 8), strict=True):
        rows.append(one.row(what, f"plain loop, {who}", size_bytes, ours) | {"limit": f"ratio ≥ {factor}"})
    cores = len(os.sched_getaffinity(0))
    total = local.cpu_s + s5cmd.cpu_s + s5cmd.server_s
    rows.append(
        {
            "what": what,
            "who": f"CPU of the parts on {cores} cores",
            "seconds": round(total / cores, 2),
            "ratio": round(total / cores / ours.seconds, 2),
            "cpu_s": round(total, 1),
            "note": f"lower bound: decode and write {local.cpu_s:.1f} s, s5cmd {s5cmd.cpu_s:.1f} s, "
            f"endpoint {s5cmd.server_s:.1f} s; {total / cores / slower:.2f} × the slower part",
        }
    )
    return rows


def _nlst_rows(costs: dict[str, _Costs]) -> list[dict[str, Any]]:
    """Core-hours of TotalSegmentator on NLST: what a large series costs, as often."""
    rows = []
    for who, one in costs.items():
        hours = NLST_SERIES * one.cpu_s / 3600
        rows.append(
            {
                "what": f"a series of {LARGE_MB} MB, × {NLST_SERIES:,}",
                "who": who,
                "cpu_s": round(one.cpu_s, 3),
                "limit": "≤ 20 core-hours" if who == _LOCAL else "",
                "note": f"{hours:.1f} core-hours, {hours * NLST_MB / LARGE_MB:.1f} at NLST's mean of "
                f"{NLST_MB} MB; a run of {LARGE} less one that finds them done",
            }
        )
    return rows


class _Bench:
    """The contenders, each a whole process from its start to its end that fills a new folder.

    Attributes
    ----------
    large : list of str
        PatientIDs of the large series.
    size_bytes : int
        Of the archive.
    """

    def __init__(self, archive: Path, endpoint: str, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder
        self.out = folder / "out"
        self.processes = len(os.sched_getaffinity(0))
        series = sorted((archive / BUCKET).iterdir())
        self.prefixes = [f"s3://{BUCKET}/{path.name}/" for path in series]
        self.size_bytes = sum(path.stat().st_size for path in archive.rglob("*.dcm"))
        patients = [f"phantom-{phantom_name(n, is_large=True)}" for n in range(SMALL + LARGE)]
        self.remote, self.here = folder / "remote", folder / "here"
        build_index(archive, self.remote, url_base="s3://")
        build_index(archive, self.here)
        known = set(_patients(self.remote))
        self.large = [patient for patient in patients if patient in known]
        self.server = _child_serving()

    def in_turn(
        self, contenders: dict[str, Callable[[], _Costs]], *, is_warm: bool = False
    ) -> dict[str, _Costs]:
        """Run them in turn; a first round is not counted, unless files and programs are in the cache."""
        costs: dict[str, _Costs] = {}
        for repeat in range(is_warm, REPEATS + 1):
            for who, contender in contenders.items():
                one = contender()
                if repeat:
                    known = costs.setdefault(who, _Costs(note=one.note))
                    known.wall += one.wall
                    known.cpu += one.cpu
                    known.server += one.server
        return costs

    def pipeline(self) -> _Costs:
        return self._idcseg(self.remote, f"fetch.endpoint={self.endpoint}")

    def local(self) -> _Costs:
        """The same with the archive's files read in place."""
        return self._idcseg(self.here)

    def pipeline_large(self) -> _Costs:
        """What a large series costs, without the start, the tables and the report."""
        return self._per_series(self.remote, f"fetch.endpoint={self.endpoint}")

    def local_large(self) -> _Costs:
        return self._per_series(self.here)

    def _per_series(self, index: Path, *settings: str) -> _Costs:
        """CPU of a run of the large series less that of a run that finds them done, for one of them."""
        settings = ("run.kind=threads", "run.workers=1", *settings)
        whole = self._idcseg(index, *settings, patients=self.large)
        nothing = self._idcseg(index, *settings, patients=self.large, is_new=False)
        return _Costs(whole.wall, [(whole.cpu[0] - nothing.cpu[0]) / LARGE], whole.server)

    def _idcseg(
        self, index: Path, *settings: str, patients: Sequence[str] = (), is_new: bool = True
    ) -> _Costs:
        cohort = self.folder / "cohort.yaml"
        wanted = {"source": {"idc": False}} | ({"patients": list(patients)} if patients else {})
        cohort.write_text(json.dumps(wanted), encoding="utf-8")  # which is YAML too
        command = [sys.executable, "-m", "flows.cli", "run", str(cohort), "-o", str(self.out), "--direct"]
        command += ["--json", "--index", str(index)]
        for setting in (f"run.scratch={self.folder / 'scratch'}", *settings):
            command += ["--set", setting]
        cost, said = self._measured(command, is_new=is_new)
        outcomes = json.loads(said)["outcomes"]
        if outcomes["ok"] != (len(patients) or SMALL + LARGE):
            raise AssertionError(f"not all series are ok: {outcomes}")
        return cost

    def s5cmd(self) -> _Costs:
        """One s5cmd for all objects, with our settings."""
        options = FetchOptions()
        command = [str(binary()), "--no-sign-request", "--endpoint-url", self.endpoint]
        command += ["--log", "error", "--numworkers", str(options.workers), "cp"]
        command += ["--concurrency", str(options.part_concurrency)]
        command += ["--part-size", str(options.part_size_mib), f"s3://{BUCKET}/*", f"{self.out}/"]
        return self._measured(command)[0]

    def plain_loop(self, who: str) -> _Costs:
        """s5cmd, then `who`, one series after the other in as many processes as ours."""
        if (find_spec("highdicom") if who == "highdicom" else dcmqi_command(Path(), Path())) is None:
            return _Costs(note="missing")
        command = [sys.executable, "-m", "benchmarks.plain_loop", who, self.endpoint, str(self.out)]
        cost, said = self._measured([*command, str(self.processes)], "\n".join(self.prefixes))
        result = json.loads(said)
        failed = f", failed {result['failed']}" if result["failed"] else ""
        cost.note = f"once; {result['made']} label maps{failed}"
        return cost

    def _measured(self, command: list[str], stdin: str = "", *, is_new: bool = True) -> tuple[_Costs, str]:
        """Run a command, on an empty folder if it is to be new; its time, and what it wrote to stdout."""
        if is_new:
            shutil.rmtree(self.out, ignore_errors=True)
            self.out.mkdir()
        os.sync()  # what the one before left to be written
        wall, cpu, server = time.perf_counter(), _children_cpu(), _cpu_of(self.server)
        ended = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=_ROOT)
        wall, cpu = time.perf_counter() - wall, _children_cpu() - cpu
        if ended.returncode:
            raise AssertionError(f"{command} ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return _Costs([wall], [cpu], [_cpu_of(self.server) - server]), ended.stdout


def _patients(index: Path) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(index / "series_index.parquet", columns=["PatientID"])[0].to_pylist()


def _children_cpu() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _child_serving() -> int:
    """Process id of the S3 endpoint that this process has started."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if b"serve\0s3\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    raise AssertionError("no S3 endpoint among the children")
