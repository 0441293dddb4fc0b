"""Read the hostile files both ways in a process of its own and print what each cost, as JSON lines."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time

from segtools.decode import read
from segtools.decode.verify import count_voxels
from segtools.errors import SegError
from tests.factories.case import masks
from tests.factories.hostile import hostile_files
from tests.factories.seg import JPEG_2000, RLE, SegFactory


def peak_bytes() -> int:
    """Peak resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    for syntax in (RLE, JPEG_2000):  # whatever is imported on demand counts before
        sound = SegFactory.of_masks(masks((3, 34, 37)), syntax=syntax).build()
        record(sound)
    print(json.dumps({"id": "sound", **record(sound)}))
    for hostile in hostile_files():
        print(json.dumps({"id": hostile.id, **record(hostile.build())}), flush=True)


def record(data: bytes) -> dict[str, str | float]:
    """Read a file both ways; what came of it, CPU time, and growth of the process."""
    before, start = peak_bytes(), time.process_time()
    try:
        with contextlib.suppress(SegError):
            count_voxels(data)
        read(data)
        outcome = "was read"
    except SegError as error:
        outcome = error.code
    except Exception as error:  # noqa: BLE001 - a traceback is what the test looks for
        outcome = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - start
    return {"outcome": outcome, "seconds": seconds, "bytes": len(data), "growth": peak_bytes() - before}


if __name__ == "__main__":
    main()
