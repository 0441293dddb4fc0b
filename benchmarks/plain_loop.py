"""The loop that one would write without this project: `python -m benchmarks.plain_loop WHO ENDPOINT OUT N`.

N processes take series one by one off a list (prefixes on stdin): s5cmd copies a series, WHO makes a
label map of it, and its raw files go. `highdicom` is get_volume and nibabel in the process, `dcmqi` its
program. On stdout, how many label maps there are and what failed, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from segtools.objectstore.s5cmd import binary


def dcmqi_command(path: Path, folder: Path) -> list[str] | None:
    """The command that writes one merged label map, or None where there is no dcmqi.

    It is the program itself: the wheel's console script would add Python's start, and hide its memory.
    """
    found = find_spec("dcmqi")
    inside = None
    if found is not None and found.origin is not None:
        inside = next(Path(found.origin).parent.rglob("bin/segimage2itkimage"), None)
    program = inside or shutil.which("segimage2itkimage")
    if program is None:
        return None
    names = ["--inputDICOM", str(path), "--outputDirectory", str(folder)]
    return [str(program), *names, "--mergeSegments", "-t", "nii"]


def _highdicom(path: Path, folder: Path) -> None:
    import highdicom
    import nibabel
    import numpy as np

    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    nibabel.save(nibabel.Nifti1Image(volume.array, affine_ras), folder / f"{path.stem}.nii.gz")


def _dcmqi(path: Path, folder: Path) -> None:
    command = dcmqi_command(path, folder)
    assert command is not None
    subprocess.run(command, check=True, capture_output=True)


_MAKERS = {"highdicom": _highdicom, "dcmqi": _dcmqi}


def one_series(prefix: str, who: str, endpoint: str, out: Path) -> str:
    """Copy and convert a series; the name of what went wrong."""
    name = prefix.rstrip("/").rpartition("/")[2]
    raw, made = out / "raw" / name, out / name
    raw.mkdir(parents=True)
    made.mkdir()
    copy = [str(binary()), "--no-sign-request", "--endpoint-url", endpoint, "cp", f"{prefix}*", f"{raw}/"]
    try:
        subprocess.run(copy, check=True, capture_output=True)
        for path in raw.iterdir():
            _MAKERS[who](path, made)
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way; that is its result
        return type(error).__name__
    finally:
        shutil.rmtree(raw)
    return ""


def main() -> None:
    """Run the loop."""
    who, endpoint, out, processes = sys.argv[1:]
    work = partial(one_series, who=who, endpoint=endpoint, out=Path(out))
    with ProcessPoolExecutor(int(processes)) as pool:
        failed = Counter(filter(None, pool.map(work, sys.stdin.read().split())))
    made = sum(1 for folder in os.scandir(out) if any(Path(folder).glob("*.nii.gz")))
    sys.stdout.write(json.dumps({"made": made, "failed": failed}))


if __name__ == "__main__":
    main()
