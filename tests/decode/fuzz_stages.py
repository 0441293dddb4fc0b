"""Damaged files through every stage: index, read, verify, measure, write. Whatever the bytes, each stage
ends, in time and memory bounded by them, with a result or a `SegError`.

``python -m tests.decode.fuzz_stages --inputs 1000000 --keep FOLDER`` runs a million of them in one process
and prints what happened as JSON; inputs that broke the rule are kept in the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
from pydicom.dataset import Dataset

from segtools.dataset.layout import FlatLayout
from segtools.dataset.stage import Stage
from segtools.decode.measure import measure
from segtools.decode.read import DecodeOptions, read
from segtools.decode.verify import verify
from segtools.errors import SegError
from segtools.index.header import read_header
from segtools.series import SelectedSeries
from segtools.write.instance import write_instance
from tests.decode.fuzz_target import corpus
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.seg import SegFactory

OPTIONS = DecodeOptions(max_bytes=64 << 20)
SECONDS = 5.0
"""CPU time of a stage that is no longer bounded by an input of some kilobytes."""
GROWTH_BYTES = 512 << 20
"""Growth of the process, over all inputs, that is no longer bounded by them."""
INTERESTING = (0, 1, 2, 7, 8, 16, 64, 127, 128, 254, 255)
WORDS = (0, 1, 255, 256, 65535, 2**31, 2**32 - 1)
STAGES = ("index", "read", "verify", "measure", "write")


class TooLongError(Exception):
    """A stage ran out of its time."""


@dataclass
class Tally:
    """What came of the inputs.

    Attributes
    ----------
    outcomes : dict of str to Counter
        By stage: "done", or the code of the error.
    broken : list of dict
        Inputs that broke the rule, and how.
    slowest : dict of str to float, seconds
        CPU time of each stage's slowest input.
    """

    inputs: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {stage: Counter() for stage in STAGES})
    broken: list[dict[str, str]] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)


def damaged(seed: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Some bytes or words replaced; a stretch removed, repeated, cut off or taken from another file."""
    data = bytearray(seed)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(132, len(data))
        data[at] = chance.choice(INTERESTING) if chance.random() < 0.5 else chance.randrange(256)
    kind, start = chance.random(), chance.randrange(132, len(data))
    end = min(len(data), start + chance.choice((1, 2, 4, 8, 63, 500)))
    if kind < 0.1:
        del data[start:end]
    elif kind < 0.2:
        data[start:start] = data[start:end]
    elif kind < 0.3:
        del data[start:]
    elif kind < 0.45:
        size = chance.choice((2, 4))
        data[start : start + size] = chance.choice((0, 1, 255, 256, 65535, 2**31, 2**32 - 1)).to_bytes(
            8, "little"
        )[:size]
    elif kind < 0.6:
        other = chance.choice(others)
        at = chance.randrange(len(other))
        data[start:end] = other[at : at + end - start]
    elif kind < 0.75:  # the pixels alone
        at = chance.randrange(len(data) * 3 // 4, len(data))
        data[at] = chance.randrange(256)
    return bytes(data)


def run(data: bytes, folder: Path, tally: Tally) -> None:
    """Lead one input through the stages; failures that break the rule go to `tally.broken`."""
    stage, start = "", 0.0

    def begin(name: str) -> None:
        nonlocal stage, start
        stage, start = name, time.process_time()

    def end(outcome: str) -> None:
        spent = time.process_time() - start
        tally.outcomes[stage][outcome] += 1
        tally.slowest[stage] = max(tally.slowest.get(stage, 0.0), spent)

    tally.inputs += 1
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        begin("index")
        try:
            read_header(data)
            end("done")
        except SegError as error:
            end(error.code)
        begin("read")
        volume = read(data, options=OPTIONS)
        end("done")
        begin("verify")
        try:
            verify(data, volume)
            end("done")
        except SegError as error:
            end(error.code)
            if error.code == "verify-mismatch":
                _kept(data, "mismatch-")
        begin("measure")
        measures = measure(volume)
        end("done")
        begin("write")
        with closing(Stage(FlatLayout(folder, None))) as stage_folder:
            write_instance(stage_folder, _SERIES, volume, measures, source_bytes=len(data), source_md5=None)
        end("done")
    except SegError as error:
        end(error.code)
        if stage not in ("index", "read"):
            _broke(data, stage, error, tally)
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        end(type(error).__name__)
        _broke(data, stage, error, tally)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


_SERIES = SelectedSeries(
    collection_id="",
    patient_id="p",
    study_uid="1.2",
    seg_series_uid="1.2.3",
    crdc_series_uuid="",
    series_url="",
    size_bytes=0,
    instance_count=1,
)


def _broke(data: bytes, stage: str, error: Exception, tally: Tally) -> None:
    at = traceback.extract_tb(error.__traceback__)[-1]
    name = hashlib.sha256(data).hexdigest()[:12]
    where = f"{Path(at.filename).name}:{at.lineno}"
    tally.broken.append(
        {"stage": stage, "error": f"{type(error).__name__}: {error}"[:200], "at": where, "id": name}
    )


def _kept(data: bytes, kind: str = "") -> str:
    """Keep an input to look at, if there is a folder; give its name."""
    name = f"{kind}{hashlib.sha256(data).hexdigest()[:12]}"
    if _KEEP is not None:
        (_KEEP / f"{name}.dcm").write_bytes(data)
    return name


_KEEP: Path | None = None


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TooLongError(f"more than {SECONDS} s of CPU time")


def fuzz(
    inputs: int,
    seed: int,
    *,
    seeds: list[bytes] | None = None,
    seconds: float = float("inf"),
    report: float = float("inf"),
) -> Tally:
    """Lead `inputs` files, `seeds` damaged, through the stages; or as many as `seconds` allow."""
    chance, tally = random.Random(seed), Tally()
    seeds = seeds or list(corpus().values())
    signal.signal(signal.SIGVTALRM, _too_long)
    start = told = time.monotonic()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        while tally.inputs < inputs and time.monotonic() - start < seconds:
            run(damaged(chance.choice(seeds), seeds, chance), Path(folder), tally)
            if time.monotonic() - told > report:
                told = time.monotonic()
                print(summary(tally, told - start), flush=True)
    return tally


def _peak_bytes() -> int:
    """Most memory of this process; not what whoever started it had, which ``ru_maxrss`` counts too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def summary(tally: Tally, seconds: float) -> str:
    """One line of JSON."""
    kinds = Counter(f"{each['stage']} {each['error'][:60]} {each['at']}" for each in tally.broken)
    return json.dumps(
        {
            "inputs": tally.inputs,
            "per_second": round(tally.inputs / seconds, 1),
            "peak_bytes": _peak_bytes(),
            "slowest_s": {stage: round(spent, 3) for stage, spent in tally.slowest.items()},
            "outcomes": {stage: dict(counter.most_common()) for stage, counter in tally.outcomes.items()},
            "broken": len(tally.broken),
            "kinds": dict(kinds.most_common(40)),
        }
    )


def slim() -> list[bytes]:
    """Files of two frames and one segment, without what nobody needs: three times as many a second."""
    binary = SegFactory.of_masks(masks((2, 3, 5), (1,)), edit=_bare)
    labels = SegFactory.of_labels(labelled((2, 5, 7), (1,)), edit=_bare)
    halves = {1: labelled((2, 3, 5), (1,)) * np.uint8(50)}
    fractions = SegFactory.of_masks(halves, kind="FRACTIONAL", edit=_bare)
    wide = SegFactory.of_masks(masks((2, 32, 33), (1,)), syntax=S.JPEG_2000, edit=_bare)
    made = [
        binary,
        binary.but(undefined_length=True),
        binary.but(syntax=S.IMPLICIT),
        binary.but(syntax=S.BIG_ENDIAN),
        binary.but(syntax=S.DEFLATED),
        binary.but(syntax=S.DEFLATED_FRAME),
        binary.but(syntax=S.RLE, offsets="extended"),
        labels,
        labels.but(syntax=S.RLE),
        labels.but(syntax=S.JPEG_LS, fragments=2),
        labels.but(syntax=S.JPEG_LOSSLESS),
        fractions,
        fractions.but(syntax=S.JPEG_BASELINE),
        wide,
    ]
    return [seg.build() for seg in made]


def _bare(ds: Dataset) -> None:
    """Keep what the stages look at."""
    for element in list(ds):
        if element.tag.group == 0x0018 or element.keyword in _SPARE:
            del ds[element.tag]


_SPARE = frozenset(
    {
        "AccessionNumber",
        "ContentDate",
        "ContentDescription",
        "ContentTime",
        "DimensionIndexSequence",
        "DimensionOrganizationSequence",
        "InstanceNumber",
        "PatientBirthDate",
        "PatientSex",
        "ReferringPhysicianName",
        "SeriesNumber",
        "StudyDate",
        "StudyID",
        "StudyTime",
    }
)


def main() -> None:
    global _KEEP
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--report", type=float, default=60.0, help="seconds between lines")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--slim", action="store_true", help="smaller files, more of them a second")
    given = parser.parse_args()
    _KEEP = given.keep
    start = time.monotonic()
    seeds = slim() if given.slim else None
    tally = fuzz(given.inputs, given.seed, seeds=seeds, seconds=given.seconds, report=given.report)
    print(summary(tally, time.monotonic() - start))


if __name__ == "__main__":
    main()
