"""No process outlives the command that started it, however that one ends.

What a run starts itself ends with it: workers watch their parent, s5cmd is on a leash. The server that
Prefect starts for a run is Prefect's, and stays when the run is killed. A shell that waits for the end of
a pipe, whose other end is the command's alone, then ends all processes that carry the command's mark.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from functools import cache

MARK = "IDCSEG_COMMAND_ID"
"""Environment variable that children inherit."""

_pipes: list[object] = []
"""Held until the process ends."""

# `read` returns when nobody has the pipe's other end any more. Two passes: something may just have been
# starting. An environment is read as it was at the start of a process; the shell's own has no mark.
_WATCH = r"""
trap '' INT TERM HUP
read -r line
for pass in 1 2; do
  for folder in /proc/[0-9]*; do
    if grep -qs "$1" "$folder/environ"; then kill -9 "${folder#/proc/}" 2>/dev/null; fi
  done
  sleep 1
done
"""


@cache
def end_children_with_us() -> None:
    """From now on, whatever this process starts ends when it does, by SIGKILL too.

    On Linux; elsewhere a killed run leaves Prefect's temporary server behind.
    """
    if sys.platform != "linux" or MARK in os.environ:  # a child of a command that watches already
        return
    mark = uuid.uuid4().hex
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "sh", f"{MARK}={mark}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    os.environ[MARK] = mark
    # It ends after us, so nobody waits for it: not even the interpreter, with a warning.
    watcher.returncode = 0
    _pipes.append(watcher.stdin)
