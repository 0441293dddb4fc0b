"""The ledger: what became of each series, on disk before anybody is told.

A folder of JSON-lines files, one per writer. A record is one `write` to a file opened for appending
and an `fsync` per batch; so after SIGKILL or a power cut at most the last line is torn, and its series
is done again. Order is by the number of the writer's opening (`epoch`) and the position in its file,
never by a clock. Prefect's database is no ledger: a default server lost a third of 5,000 task runs
(PrefectHQ/prefect#19136).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from segtools.bounded_json import load_json
from segtools.errors import DatasetError
from segtools.files import fsync_folder, replacing, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

Status = Literal["ok", "warned", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one series.

    Attributes
    ----------
    seg_series_uid, crdc_series_uuid : str
        The series and the version of its content.
    settings_hash : str
        Of the settings its outputs depend on.
    status : {"ok", "warned", "failed"}
    error_code, error_message : str or None
        Why it failed.
    segment_count : int or None
        None where it failed: a failure is never a number.
    volume_count : int
        Volumes written.
    bytes_in, bytes_out : int, bytes
        Fetched and written.
    attempts : int
        Transfers it took.
    seconds_fetch, seconds_decode : float, s
    part : str or None
        Name of the staged part that holds its rows.
    """

    seg_series_uid: str
    crdc_series_uuid: str
    settings_hash: str
    status: Status
    error_code: str | None = None
    error_message: str | None = None
    segment_count: int | None = None
    volume_count: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    attempts: int = 1
    seconds_fetch: float = 0.0
    seconds_decode: float = 0.0
    part: str | None = None


_FIELDS = tuple(f.name for f in fields(Outcome))
_TAIL_BYTES = 1 << 16
_REQUIRED = frozenset(("seg_series_uid", "crdc_series_uuid", "settings_hash", "status"))


class Ledger:
    """The ledger in a folder, opened for writing by one process under one name.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    name : str
        Of this writer; shards that run at the same time take different ones.
    publish : callable, optional
        Gets a name and the lines of each `append`, for who cannot see the folder.

    Raises
    ------
    DatasetError
        ``dataset-locked``: another process writes under this name.
    EnvironmentProblem
        ``disk-full``.
    WriteError
        ``write-failed``.
    """

    def __init__(
        self, folder: Path, name: str = "main", publish: Callable[[str, bytes], None] | None = None
    ) -> None:
        self.folder, self.name = folder, name
        self._publish = publish
        self._appended = 0
        self.path = folder / f"{name}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._lock()
            _repair(self._fd)
            fsync_folder(folder)
        except OSError as error:
            raise write_error(error, self.path) from error
        self.epoch = 1 + max(map(_last_epoch, folder.glob("*.jsonl")), default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give its name free."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def append(self, outcomes: Iterable[Outcome]) -> None:
        """Record outcomes; they are on disk when this returns, errors as of the class."""
        end = os.fstat(self._fd).st_size
        lines = [_line(self.epoch, outcome) for outcome in outcomes]
        try:
            for line in lines:
                if os.write(self._fd, line) != len(line):
                    os.write(self._fd, line)  # a short write means a full disk: this says so
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, end)
            raise write_error(error, self.path) from error
        if self._publish is not None:
            self._publish(f"{self.name}.{self.epoch:06d}-{self._appended:06d}", b"".join(lines))
        self._appended += 1

    def latest(self) -> dict[str, Outcome]:
        """The last outcome of each series, by SeriesInstanceUID."""
        return latest(self.folder)

    def compact(self) -> int:
        """Rewrite the whole ledger as one record per series; the number of records.

        Only for who holds the dataset: other writers' files are removed. Errors as of the class.
        """
        outcomes = latest(self.folder)
        compacted = self.folder / "compacted.jsonl"
        with replacing(compacted) as file:
            file.writelines(_line(self.epoch, outcomes[uid]) for uid in sorted(outcomes))
        try:
            for path in self.folder.glob("*.jsonl"):
                if path not in (compacted, self.path):
                    path.unlink()
            os.ftruncate(self._fd, 0)
        except OSError as error:
            raise write_error(error, self.path) from error
        self.epoch += 1
        return len(outcomes)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise DatasetError(
                "dataset-locked",
                f"The ledger {self.path} is being written by another run.",
                path=str(self.path),
            ) from None


def latest(folder: Path, writers: str = "*") -> dict[str, Outcome]:
    """The last outcome of each series in the ledger of a folder, without opening it for writing.

    `writers` is a pattern of writers' names; default: all.
    """
    newest: dict[str, tuple[int, Outcome]] = {}
    for epoch, outcome in _records(folder, writers):
        known = newest.get(outcome.seg_series_uid)
        if known is None or epoch >= known[0]:
            newest[outcome.seg_series_uid] = (epoch, outcome)
    return {uid: outcome for uid, (_, outcome) in newest.items()}


def _line(epoch: int, outcome: Outcome) -> bytes:
    record = {"epoch": epoch} | {name: getattr(outcome, name) for name in _FIELDS}
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _records(folder: Path, writers: str) -> Iterator[tuple[int, Outcome]]:
    """All readable records; a torn or zeroed line costs its own series a repetition, nothing else."""
    for path in sorted(folder.glob(f"{writers}.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if record := _parsed(line):
                    known = {key: value for key, value in record.items() if key in _FIELDS}
                    yield int(record.get("epoch", 0)), Outcome(**known)


def _last_epoch(path: Path) -> int:
    """The highest epoch in a file: its last one, since each opening only appends."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = [_parsed(line) for line in file]
    return max((int(record.get("epoch", 0)) for record in tail if record), default=0)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = load_json(line)
    except ValueError:
        return None
    is_whole = isinstance(record, dict) and record.keys() >= _REQUIRED and line.endswith(b"\n")
    return record if is_whole else None


def _repair(fd: int) -> None:
    """Cut a torn last line off, so that the next record starts on a line of its own."""
    size = os.fstat(fd).st_size
    end = size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(fd, end)
        os.fsync(fd)
