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
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from threading import Event

_TICK_S = 0.05
_MOST_OUTPUT_BYTES = 256 << 20
"""Of what is kept of standard output and error; a child that says more is ended."""


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
    min_bytes_s: float = 0.0,
    limit_bytes: int | None = None,
    bandwidth_bytes_s: int | None = None,
    on_line: Callable[[bytes], None] | None = None,
    keeps_lines: bool = True,
    cancel: Event | None = None,
    environment: Mapping[str, str] | None = None,
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
    min_bytes_s : float, bytes/s
        Progress is at least so much on average over `stall_timeout_s`: a sender that trickles one byte
        at a time never is silent, and never ends.
    limit_bytes : int, bytes, optional
        Ended when `folders` have grown by more.
    bandwidth_bytes_s : int, bytes/s, optional
        The group is stopped (SIGSTOP) whenever `folders` have grown faster; TCP then slows the sender.
    on_line : callable, optional
        Called with each line of its standard output as it comes; what it raises ends the child.
    keeps_lines : bool
        Keep what `on_line` was given; without it, output of any length takes no memory.
    cancel : threading.Event, optional
        Set by another thread to end it.
    environment : mapping of str to str, optional
        Default: ours.

    Raises
    ------
    EnvironmentProblem
        ``s5cmd-missing``: it cannot be started.
    """
    if shutil.which(command[0]) is None:
        raise EnvironmentProblem("s5cmd-missing", f"There is no executable {command[0]}.")
    with tempfile.TemporaryFile() as stdin, _leashed(command) as (leashed, descriptors):
        stdin.write(script)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                leashed,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=descriptors,
                env=environment,
            )
        except OSError as error:
            raise EnvironmentProblem("s5cmd-missing", f"Cannot start {command[0]}: {error}.") from error
        try:
            progress = Progress(stall_timeout_s, _floor(min_bytes_s, bandwidth_bytes_s))
            watch = _Watch(
                process, folders, progress, limit_bytes, bandwidth_bytes_s, on_line, keeps_lines, cancel
            )
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


@contextlib.contextmanager
def _leashed(command: Sequence[str]) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The command so that it ends when we die, by SIGKILL too, and the descriptors it is to inherit.

    util-linux's ``setpriv`` asks the kernel for it. Where there is none, a shell beside the child waits
    for the end of a pipe whose other end is ours alone, and then kills the child's group.
    """
    if _has_setpriv():
        yield ["setpriv", "--pdeathsig", "KILL", "--", *command], ()
        return
    theirs, ours = os.pipe()
    try:
        # Its own output is closed to it: the child's has ended when the child has.
        wait = f"(read -r line <&{theirs}; kill -9 0) >/dev/null 2>&1 &"
        yield ["sh", "-c", f'{wait} exec "$@"', "sh", *command], (theirs,)
    finally:
        os.close(ours)
        os.close(theirs)


@cache
def _has_setpriv() -> bool:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return False
    text = subprocess.run([setpriv, "--help"], capture_output=True, check=False).stdout
    return b"--pdeathsig" in text


def _floor(min_bytes_s: float, bandwidth_bytes_s: int | None) -> float:
    """Half the bandwidth allowed is enough, where that is less."""
    return min_bytes_s if bandwidth_bytes_s is None else min(min_bytes_s, bandwidth_bytes_s / 2)


class Progress:
    """Whether enough happens: a byte at least, and `min_bytes_s` on average, in every `window_s`.

    Time is the caller's, so that it can be tested without waiting.

    Examples
    --------
    >>> progress = Progress(window_s=10, min_bytes_s=100)
    >>> [progress.is_stalled(t, size) for t, size in ((0, 0), (9, 500), (10, 1000), (19, 1020), (21, 1040))]
    [False, False, False, False, True]
    """

    def __init__(self, window_s: float, min_bytes_s: float) -> None:
        self.window_s = window_s
        self.needed = window_s * min_bytes_s
        self._since = 0.0
        self._mark = self._total = 0
        self._last: tuple[int, object] | None = None

    def is_stalled(self, now: float, size: int, state: object = None, *, is_paused: bool = False) -> bool:
        """Note `size` bytes and `state` at the time `now`; pauses of our own making are no stall.

        A size that shrinks is a file that was begun anew: only what is added counts.
        """
        is_first = self._last is None
        before, self._last = self._last or (size, state), (size, state)
        self._total += max(0, size - before[0])
        has_grown = self._total - self._mark >= self.needed if self.needed else before != self._last
        if is_first or has_grown or is_paused:
            self._since, self._mark = now, self._total
        return now - self._since > self.window_s


class _Watch:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        folders: Sequence[Path],
        progress: Progress,
        limit_bytes: int | None,
        bandwidth_bytes_s: int | None,
        on_line: Callable[[bytes], None] | None,
        keeps_lines: bool,
        cancel: Event | None,
    ) -> None:
        self.process = process
        self.folders = folders
        self.progress = progress
        self.limit_bytes = limit_bytes
        self.bandwidth_bytes_s = bandwidth_bytes_s
        self.on_line = on_line
        self.keeps_lines = keeps_lines
        self.cancel = cancel
        self.output = {process.stdout: bytearray(), process.stderr: bytearray()}
        self.said_bytes = 0
        self.is_stopped = False

    def until_end(self) -> Finished:
        start = look = time.monotonic()
        _, before, _ = _growth(self.folders)
        with selectors.DefaultSelector() as selector:
            for pipe in self.output:
                assert pipe is not None  # noqa: S101 - Popen was asked for pipes
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                self._read(selector)
                now = time.monotonic()
                if now < look:
                    continue
                look = now + _TICK_S
                state, on_disk, size = _growth(self.folders)
                if self.cancel is not None and self.cancel.is_set():
                    return self._finished(None, is_canceled=True)
                is_too_much = self.limit_bytes is not None and on_disk - before > self.limit_bytes
                if is_too_much or sum(map(len, self.output.values())) > _MOST_OUTPUT_BYTES:
                    return self._finished(None, is_overrun=True)
                if self.progress.is_stalled(now, size + self.said_bytes, state, is_paused=self.is_stopped):
                    return self._finished(None, is_stalled=True)
                self._pace(on_disk - before, now - start)
        return self._finished(self.process.wait())

    def _read(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(_TICK_S):
            chunk = os.read(key.fd, 1 << 16)
            if not chunk:
                selector.unregister(key.fileobj)
                continue
            output = self.output[key.fileobj]  # type: ignore[index]
            start = output.rfind(b"\n") + 1
            output += chunk
            self.said_bytes += len(chunk)
            if self.on_line is not None and key.fileobj is self.process.stdout:
                end = output.rfind(b"\n") + 1
                for line in output[start:end].splitlines():
                    self.on_line(bytes(line))
                if not self.keeps_lines:
                    del output[:end]

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


def _growth(folders: Sequence[Path]) -> tuple[object, int, int]:
    """What changes whenever a byte arrives in `folders`, the bytes on disk there, and a measure of both.

    Blocks are what is there: s5cmd writes the parts of a large object out of order into a sparse file.
    They come 4 KiB at a time, and late on some file systems; so the measure counts sizes too.
    """
    state: list[tuple[str, int, int, int]] = []
    for folder in folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    state.append((entry.path, stat.st_size, stat.st_blocks * 512, stat.st_mtime_ns))
    return state, sum(file[2] for file in state), sum(file[1] + file[2] for file in state)
