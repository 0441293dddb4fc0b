"""A child process that cannot outlive its use: own group, stall deadline, pace, leash."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from segtools.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from threading import Event

_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended.

    Attributes
    ----------
    stdout, stderr : bytes
    returncode : int or None
        None where we ended it.
    is_stalled, is_overrun, is_canceled : bool
        Why we ended it.
    """

    stdout: bytes
    stderr: bytes
    returncode: int | None
    is_stalled: bool = False
    is_overrun: bool = False
    is_canceled: bool = False


def run_group(
    command: Sequence[str],
    script: bytes,
    folders: Sequence[Path],
    *,
    stall_timeout_s: float,
    limit_bytes: int | None = None,
    bandwidth_bytes_s: int | None = None,
    on_line: Callable[[bytes], None] | None = None,
    cancel: Event | None = None,
) -> Finished:
    """Run `command` in its own process group until it ends, stalls or is canceled.

    Parameters
    ----------
    command : sequence of str
    script : bytes
        Its standard input.
    folders : sequence of Path
        Folders into which it writes; a change there, or a byte of output, is progress.
    stall_timeout_s : float, s
        Longest time without progress.
    limit_bytes : int, bytes, optional
        Ended when `folders` have grown by more.
    bandwidth_bytes_s : int, bytes/s, optional
        The group is stopped (SIGSTOP) whenever `folders` have grown faster; TCP then slows the sender.
    on_line : callable, optional
        Called with each line of its standard output as it comes.
    cancel : threading.Event, optional
        Set by another thread to end it.

    Raises
    ------
    EnvironmentProblem
        ``s5cmd-missing``: it cannot be started.
    """
    if shutil.which(command[0]) is None:
        raise EnvironmentProblem("s5cmd-missing", f"There is no executable {command[0]}.")
    with tempfile.TemporaryFile() as stdin:
        stdin.write(script)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                [*_leash(), *command],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentProblem("s5cmd-missing", f"Cannot start {command[0]}: {error}.") from error
    try:
        watch = _Watch(process, folders, stall_timeout_s, limit_bytes, bandwidth_bytes_s, on_line, cancel)
        return watch.until_end()
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@cache
def _leash() -> tuple[str, ...]:
    """Prefix that makes the kernel kill the child when we die, where util-linux is at hand.

    Without it an orphan still ends itself with SIGPIPE at the next object it reports.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    text = subprocess.run([setpriv, "--help"], capture_output=True, check=False).stdout
    return (setpriv, "--pdeathsig", "KILL", "--") if b"--pdeathsig" in text else ()


class _Watch:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folders: Sequence[Path],
        stall_timeout_s: float,
        limit_bytes: int | None,
        bandwidth_bytes_s: int | None,
        on_line: Callable[[bytes], None] | None,
        cancel: Event | None,
    ) -> None:
        self.process = process
        self.folders = folders
        self.stall_timeout_s = stall_timeout_s
        self.limit_bytes = limit_bytes
        self.bandwidth_bytes_s = bandwidth_bytes_s
        self.on_line = on_line
        self.cancel = cancel
        self.output = {process.stdout: bytearray(), process.stderr: bytearray()}
        self.is_stopped = False

    def until_end(self) -> Finished:
        start = progress = look = time.monotonic()
        seen, before = _growth(self.folders)
        with selectors.DefaultSelector() as selector:
            for pipe in self.output:
                assert pipe is not None  # noqa: S101 - Popen was asked for pipes
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                is_output = self._read(selector)
                now = time.monotonic()
                if is_output:
                    progress = now
                if now < look:
                    continue
                look = now + _TICK_S
                state, size = _growth(self.folders)
                if state != seen or self.is_stopped:
                    seen, progress = state, now
                if self.cancel is not None and self.cancel.is_set():
                    return self._finished(None, is_canceled=True)
                if self.limit_bytes is not None and size - before > self.limit_bytes:
                    return self._finished(None, is_overrun=True)
                if now - progress > self.stall_timeout_s:
                    return self._finished(None, is_stalled=True)
                self._pace(size - before, now - start)
        return self._finished(self.process.wait())

    def _read(self, selector: selectors.BaseSelector) -> bool:
        is_any = False
        for key, _ in selector.select(_TICK_S):
            chunk = os.read(key.fd, 1 << 16)
            if chunk:
                output = self.output[key.fileobj]  # type: ignore[index]
                start = output.rfind(b"\n") + 1
                output += chunk
                is_any = True
                if self.on_line is not None and key.fileobj is self.process.stdout:
                    for line in output[start : output.rfind(b"\n") + 1].splitlines():
                        self.on_line(bytes(line))
            else:
                selector.unregister(key.fileobj)
        return is_any

    def _pace(self, size: int, seconds: float) -> None:
        if self.bandwidth_bytes_s is None:
            return
        is_ahead = size > self.bandwidth_bytes_s * seconds
        if is_ahead != self.is_stopped and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGSTOP if is_ahead else signal.SIGCONT)
            self.is_stopped = is_ahead

    def _finished(self, returncode: int | None, **why: bool) -> Finished:
        stdout, stderr = (bytes(text) for text in self.output.values())
        return Finished(stdout, stderr, returncode, **why)


def _growth(folders: Sequence[Path]) -> tuple[object, int]:
    """What changes whenever a byte arrives in `folders`, and the bytes on disk there.

    Blocks, not sizes: s5cmd writes the parts of a large object out of order into a sparse file.
    """
    state: list[tuple[str, int, int, int]] = []
    for folder in folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    state.append((entry.path, stat.st_size, stat.st_blocks, stat.st_mtime_ns))
    return state, sum(blocks for _, _, blocks, _ in state) * 512
