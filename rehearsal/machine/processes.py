"""Starts, counts and ends the processes of one rehearsal. All of them end, whatever happens.

Every process inherits the environment variable `GPULAB_REHEARSAL` with the rehearsal's id. So even a process that lost
its parent (a provider whose engine was killed) can be found.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

import psutil

MARK = "GPULAB_REHEARSAL"

T = TypeVar("T")

_MIB = 1024 * 1024
_PR_SET_PDEATHSIG = 1
# One sample of a rehearsal's processes takes the kernel about 60 ms, because it looks at each of their pages. So only
# processes whose resident memory has changed by a fiftieth are sampled anew.
_SAMPLE_SECONDS = 2
_NOTICED = 50
_POLL_SECONDS = 0.1
_JOIN_SECONDS = 10
_ANSWER_SECONDS = 5
# Below the ports that systems use for outgoing connections (Linux: from 32768 on), which could take one of ours.
_PORTS = range(20_000, 32_000)
_PORTS_A_PROCESS = 61
_port_numbers = itertools.count(os.getpid() * _PORTS_A_PROCESS)
# The language host runs the program with this script.
_PROGRAM_SCRIPT = "pulumi-language-python-exec"


class ProcessFailed(RuntimeError):
    """A process that the rehearsal needs has ended or did not become ready."""


def free_ports(count: int) -> list[int]:
    """`count` free TCP ports of the loopback address. This process returns each port only once.

    Processes that call this at the same time begin at different ports, so they do not choose the same port before
    a process listens on it.
    """
    found: list[int] = []
    while len(found) < count:
        port = _PORTS[next(_port_numbers) % len(_PORTS)]
        with contextlib.suppress(OSError), socket.socket() as candidate:
            candidate.bind(("127.0.0.1", port))
            found.append(port)
    return found


def answers(url: str) -> bool:
    """Whether an HTTP server answers at `url`."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False


def marked(rehearsal_id: str) -> list[psutil.Process]:
    """The running processes with the mark of the rehearsal `rehearsal_id`.

    This process and its ancestors are left out: `down` may run in a shell of the stack that it ends.
    """
    found = []
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if process.pid not in spared and alive and process.environ().get(MARK) == rehearsal_id:
                found.append(process)
    return found


def describe(process: psutil.Process) -> str:
    """A process in a few words, for a report: its pid and the start of its command line."""
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[:100]}"
    return str(process.pid)


def end_marked(rehearsal_id: str, *, grace_seconds: float = 5) -> None:
    """Ends every process of the rehearsal: terminates them, kills them after `grace_seconds`, until none is left."""
    deadline = time.monotonic() + grace_seconds
    while alive := marked(rehearsal_id):
        for process in alive:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() < deadline:
                    process.terminate()
                else:
                    process.kill()
        psutil.wait_procs(alive, timeout=1)


class Processes:
    """Starts background processes of the rehearsal `rehearsal_id`; their output goes to files in `logs`.

    With `outlive` they continue after this process has ended (`--keep`), else the kernel (on Linux) ends them with it.
    """

    def __init__(self, rehearsal_id: str, logs: Path, *, outlive: bool = False) -> None:
        self.rehearsal_id = rehearsal_id
        self.logs = logs
        self.outlive = outlive
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Starts `command` in its own process session, with only the environment `env` and the rehearsal's mark.

        Raises ProcessFailed after `end`.
        """
        with self._starting, self.log_path(name).open("wb") as log:
            self._ensure_not_ended(name)
            self._started[name] = subprocess.Popen(
                [str(part) for part in command],
                env={**env, MARK: self.rehearsal_id},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # It only calls prctl, which is safe in the fork of a program with threads.
                preexec_fn=None if self.outlive or sys.platform != "linux" else die_with_parent,  # noqa: PLW1509
            )

    def in_background(self, action: Callable[[], T]) -> Future[T]:
        """Runs `action`, which starts processes, in a thread of its own. Returns its future result.

        The thread stays until `end`: the kernel ends a process with the thread that started it.
        """
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(action())
            except BaseException as error:  # raised for the reader of the result
                future.set_exception(error)
            self._ended.wait()

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        return future

    def log_path(self, name: str) -> Path:
        """The log file of the process `name`."""
        return self.logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """The process id of the process `name`."""
        return self._started[name].pid

    def ensure_alive(self, name: str) -> None:
        """Raises ProcessFailed, with the end of its log, if the process `name` has ended."""
        code = self._started[name].poll()
        if code is not None:
            tail = self.log_path(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            raise ProcessFailed("\n".join([f"{name} ended with exit status {code}; the end of its log:", *tail]))

    def wait_until(self, name: str, ready: Callable[[], bool], *, seconds: float, needs: Sequence[str] = ()) -> None:
        """Waits until the process `name` is `ready`. Raises ProcessFailed if it, or one that it `needs`, ends."""
        deadline = time.monotonic() + seconds
        while not ready():
            self._ensure_not_ended(name)
            for needed in (name, *needs):
                self.ensure_alive(needed)
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{name} is not ready after {seconds:.0f} s; its log: {self.log_path(name)}")
            time.sleep(_POLL_SECONDS)

    def pause(self, seconds: float) -> bool:
        """Waits, at most until the rehearsal ends. Whether it goes on."""
        return not self._ended.wait(seconds)

    def end_one(self, name: str) -> None:
        """Ends the process `name`, which may have ended already, and waits for it."""
        process = self._started.pop(name, None)
        if process:
            process.kill()
            process.wait()

    def running(self) -> list[psutil.Process]:
        """The processes from `start` that still run."""
        return [psutil.Process(process.pid) for process in self._started.values() if process.poll() is None]

    def strays(self) -> list[psutil.Process]:
        """The rehearsal's processes that are neither from `start` nor descendants of one. Nothing manages them."""
        started = {process.pid for process in self.running()}
        found = []
        for process in marked(self.rehearsal_id):
            with contextlib.suppress(psutil.NoSuchProcess):
                if started.isdisjoint({process.pid, *(parent.pid for parent in process.parents())}):
                    found.append(process)
        return found

    def end(self) -> None:
        """Ends every process of the rehearsal, including descendants. No new one can start."""
        with self._starting:
            self._ended.set()
        end_marked(self.rehearsal_id)
        for process in self._started.values():
            process.wait()
        for thread in self._threads:
            # One may wait for a part of the cache, which another process fills; it ends with this one.
            thread.join(_JOIN_SECONDS)

    def _ensure_not_ended(self, name: str) -> None:
        if self._ended.is_set():
            raise ProcessFailed(f"{name} was not started: the rehearsal is ending")


def die_with_parent() -> None:
    """Makes the kernel end the calling process with its parent, so a killed rehearsal leaves nothing running."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class MemoryWatch:
    """Samples the memory of this process and its descendants every two seconds.

    `peak_mib` is the largest sum; `phase_mib` the largest since the last `begin_phase`, and `program_mib` that of the
    Pulumi program only. On Linux, pages that processes share count once (proportional set size); on other systems once
    for each process. The processes whose ids `others` returns do not count.
    """

    def __init__(self, others: Callable[[], set[int]] = set) -> None:
        self._others = others
        self.peak_mib = 0.0
        self.phase_mib = 0.0
        self.program_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Takes no more samples."""
        self._stop.set()
        self._thread.join()

    def begin_phase(self) -> None:
        """Resets `phase_mib` and `program_mib`."""
        self.phase_mib = 0.0
        self.program_mib = 0.0

    def _watch(self) -> None:
        me = psutil.Process()
        known: dict[int, tuple[int, int]] = {}
        while not self._stop.wait(_SAMPLE_SECONDS):
            total = 0
            with contextlib.suppress(psutil.Error):
                others = self._others()
                for process in [me, *me.children(recursive=True)]:
                    if process.pid in others:
                        continue
                    with contextlib.suppress(psutil.Error):
                        resident = process.memory_info().rss
                        before, used = known.get(process.pid, (0, 0))
                        if abs(resident - before) * _NOTICED >= resident:
                            used = _memory(process)
                            known[process.pid] = resident, used
                        total += used
                        if any(part.endswith(_PROGRAM_SCRIPT) for part in process.cmdline()[:3]):
                            self.program_mib = max(self.program_mib, used / _MIB)
            self.phase_mib = max(self.phase_mib, total / _MIB)
            self.peak_mib = max(self.peak_mib, total / _MIB)


def _memory(process: psutil.Process) -> int:
    """The bytes that a process uses."""
    return process.memory_full_info().pss if psutil.LINUX else process.memory_info().rss
