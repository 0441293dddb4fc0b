"""Many jobs from a table: each ends as an object or as a code, and none is done twice.

The folder's ledger (``encoded.jsonl``, one line per attempt) says what happened to every job. A job is
known by its row and by size and time of its input files: an unchanged job that is done is left alone, and
so is an unchanged one that failed (quarantine), until it is asked for again. ``encoded.csv`` is
the table of the last outcomes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.encode.frames.codecs import SYNTAX_OF
from segtools.encode.jobs.run import prepare, run
from segtools.encode.jobs.spec import EncodeJob
from segtools.encode.write.options import Storage
from segtools.errors import (
    EnvironmentProblem,
    MissingError,
    SegtoolsError,
    UsageError,
    WriteError,
)
from segtools.files import write_bytes
from segtools.terminology.names import close_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from segtools.encode.frames.masks import Kind

LEDGER, TABLE = "encoded.jsonl", "encoded.csv"
COLUMNS = (
    "output", "masks", "source", "meta", "labels", "type", "codec", "series", "patient_id", "regrid",
    "use_label_ids", "only_described", "series_number", "series_description", "seed",
)  # fmt: skip
_KINDS: dict[str, Kind] = {"binary": "BINARY", "labelmap": "LABELMAP", "fractional": "FRACTIONAL"}
_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class JobRow:
    """A line of the table of jobs.

    Attributes
    ----------
    number : int
        From 1, without the heading.
    output : str
        File name, relative to the output folder.
    job : EncodeJob
    """

    number: int
    output: str
    job: EncodeJob


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job.

    Attributes
    ----------
    output, key : str
    status : {"ok", "failed"}
    code, message : str
        Of the failure.
    files : tuple of str
    size_bytes, segments, voxels : int or None
        None of a failure.
    findings : tuple of str
        Codes.
    """

    output: str
    key: str
    status: str
    code: str = ""
    message: str = ""
    files: tuple[str, ...] = ()
    size_bytes: int | None = None
    segments: int | None = None
    voxels: int | None = None
    findings: tuple[str, ...] = ()


def read_jobs(path: Path) -> list[JobRow]:
    """Read a table of jobs, CSV or Parquet; paths in it are relative to its folder.

    Columns: `COLUMNS`; ``output`` and ``masks`` (several parted by ``;``) are needed.

    Raises
    ------
    MissingError
        ``not-found``.
    UsageError
        ``metadata-invalid``, with the line.
    """
    if not path.is_file():
        raise MissingError("not-found", f"There is no table of jobs {path}.", path=str(path))
    rows = [
        _row(path, n, {k: str(v).strip() for k, v in cells.items() if v is not None and str(v).strip()})
        for n, cells in enumerate(_cells(path), start=1)
    ]
    if not rows:
        raise _invalid(path, 0, "it has no job")
    outputs = [row.output for row in rows]
    twice = next((name for name in outputs if outputs.count(name) > 1), None)
    if twice is not None:
        raise _invalid(path, outputs.index(twice) + 1, f"the output {twice!r} is there twice")
    return rows


def encode_batch(
    rows: Iterable[JobRow],
    folder: Path,
    *,
    retry: bool = False,
    told: Callable[[JobOutcome, bool], None] | None = None,
) -> list[JobOutcome]:
    """Encode all jobs that are not done yet.

    Parameters
    ----------
    rows : iterable of JobRow
    folder : Path
        Of the objects, the ledger and the table.
    retry : bool
        Try jobs again that failed before.
    told : callable, optional
        Given each outcome, and whether it is from an earlier call.

    Returns
    -------
    list of JobOutcome
        In the order of the rows.

    Raises
    ------
    EnvironmentProblem, WriteError
        The folder cannot be written: no job can be.
    """
    before = _ledger(folder)
    outcomes = []
    for row in rows:
        key = _key(row)
        known = before.get(row.output)
        keep = known is not None and known.key == key and _holds(folder, known, retry)
        outcome = known if keep and known is not None else _encode(row, folder, key)
        if not keep:
            _note(folder, outcome)
        if told is not None:
            told(outcome, keep)
        outcomes.append(outcome)
    _write_table(folder, outcomes)
    return outcomes


def _encode(row: JobRow, folder: Path, key: str) -> JobOutcome:
    try:
        done = run(prepare(row.job), folder / row.output)
    except (EnvironmentProblem, WriteError):
        raise  # a full disk is no fault of the job
    except SegtoolsError as error:
        return JobOutcome(row.output, key, "failed", error.code, error.message)
    return JobOutcome(
        row.output,
        key,
        "ok",
        files=tuple(each.path.name for each in done),
        size_bytes=sum(each.size_bytes for each in done),
        segments=done[0].segment_count,
        voxels=sum(each.quality.voxels for each in done if each.quality),
        findings=tuple(dict.fromkeys(finding.code for each in done for finding in each.findings)),
    )


def _holds(folder: Path, outcome: JobOutcome, retry: bool) -> bool:
    """Whether an earlier outcome stands: its files are there, or its failure is left alone."""
    if outcome.status != "ok":
        return not retry
    parent = (folder / outcome.output).parent
    files = [parent / name for name in outcome.files]
    return (
        all(file.is_file() for file in files) and sum(f.stat().st_size for f in files) == outcome.size_bytes
    )


def _key(row: JobRow) -> str:
    """Hash of a job and of what its input files look like from outside."""
    job = row.job
    inputs = [*job.masks, *([job.meta] if job.meta else [])]
    if job.source is not None and job.source.is_dir():
        inputs += sorted(path for path in job.source.rglob("*") if path.is_file())
    seen = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in inputs if p.is_file()]
    return hashlib.sha256(json.dumps([repr(job), seen]).encode()).hexdigest()


def _ledger(folder: Path) -> dict[str, JobOutcome]:
    """Last outcome of each output; a line cut short by a crash is no outcome."""
    path = folder / LEDGER
    found: dict[str, JobOutcome] = {}
    if not path.is_file():
        return found
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            content: dict[str, Any] = json.loads(line)
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
            outcome = JobOutcome(**values)
        except (ValueError, TypeError, AttributeError):
            continue
        found[outcome.output] = outcome
    return found


def _note(folder: Path, outcome: JobOutcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")


def _write_table(folder: Path, outcomes: list[JobOutcome]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = ("output", "status", "code", "message", "size_bytes", "segments", "voxels", "findings")
    writer.writerow(names)
    for outcome in outcomes:
        values: dict[str, Any] = asdict(outcome) | {"findings": " ".join(outcome.findings)}
        writer.writerow("" if values[name] is None else values[name] for name in names)
    write_bytes(folder / TABLE, text.getvalue().encode("utf-8", "replace"))


# --- the table of jobs -----------------------------------------------------------------------------


def _cells(path: Path) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet
        from pyarrow.lib import ArrowException

        try:
            found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        except (ArrowException, OSError) as error:
            raise _invalid(path, 0, f"it is no Parquet ({error})") from error
    else:
        try:
            found = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise _invalid(path, 0, f"it is no CSV in UTF-8 ({error})") from error
    for n, cells in enumerate(found, start=1):
        if unknown := [str(name) for name in cells if name not in COLUMNS]:
            close = close_matches(unknown[0], COLUMNS)
            hint = f"; did you mean {close[0]!r}" if close else ""
            raise _invalid(path, n, f"the column {unknown[0]!r} is not known{hint}")
    return found


def _row(path: Path, n: int, cells: dict[str, str]) -> JobRow:
    for name in ("output", "masks"):
        if name not in cells:
            raise _invalid(path, n, f"{name!r} is empty")
    output = Path(cells["output"])
    if output.is_absolute() or ".." in output.parts:
        raise _invalid(path, n, f"the output {cells['output']!r} leaves the output folder")
    kind = cells.get("type", "labelmap").lower()
    codec = cells.get("codec", "raw" if kind == "binary" else "rle").lower()
    for value, known, name in ((kind, _KINDS, "type"), (codec, SYNTAX_OF, "codec")):
        if value not in known:
            raise _invalid(path, n, f"{name} is {value!r}, none of {', '.join(known)}")
    if cells.get("labels", "totalsegmentator") != "totalsegmentator":
        raise _invalid(path, n, f"labels is {cells['labels']!r}; 'totalsegmentator' is known")
    if cells.get("regrid", "nearest") != "nearest":
        raise _invalid(path, n, f"regrid is {cells['regrid']!r}; 'nearest' is known")
    number = cells.get("series_number")
    if number is not None and not number.isdigit():
        raise _invalid(path, n, f"series_number is {number!r}, no whole number")
    here = path.parent
    job = EncodeJob(
        tuple(here / name.strip() for name in cells["masks"].split(";") if name.strip()),
        here / cells["source"] if "source" in cells else None,
        here / cells["meta"] if "meta" in cells else None,
        "totalsegmentator" if "labels" in cells else None,
        replace(Storage(), kind=_KINDS[kind], transfer_syntax=SYNTAX_OF[codec]),
        _flag(path, n, cells, "use_label_ids"),
        "nearest" if "regrid" in cells else None,
        bool(_flag(path, n, cells, "only_described")),
        cells.get("series"),
        cells.get("patient_id"),
        None if number is None else int(number),
        cells.get("series_description"),
        cells.get("seed"),
    )
    return JobRow(n, cells["output"], job)


def _flag(path: Path, n: int, cells: dict[str, str], name: str) -> bool | None:
    if name not in cells:
        return None
    value = _YES.get(cells[name].lower())
    if value is None:
        raise _invalid(path, n, f"{name} is {cells[name]!r}; true or false is")
    return value


def _invalid(path: Path, row: int, what: str) -> UsageError:
    where = f"{path.name}, job {row}" if row else path.name
    return UsageError("metadata-invalid", f"{where}: {what}.", path=str(path), row=row)
