"""Builds programs with Go from the modules pinned in `tools/`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from .downloads import install
from .processes import die_with_parent
from .tools import Tool, ToolMissing, placeholders

_TICK_SECONDS = 1
# The time that `go` may need, after a signal to end, to remove its working folder of hundreds of megabytes.
_GRACE_SECONDS = 5
_LOG_LINES = 12


class Stopped(Exception):
    """A build was stopped before it ended."""


class Builder:
    """Builds one program at a time, until it is stopped. `tick` is called every second or so while a build runs."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def build(self, tool: Tool, program: str, path: Path) -> None:
        """Builds a program of `tool` at `path`, completely or not at all. Raises ToolMissing, Stopped."""
        flags = f"-s -w {tool.version_flags.format(**placeholders(tool))}"
        making = path.with_name(f"{program}.making")
        command = ["build", "-trimpath", "-ldflags", flags, "-o", str(making), tool.packages[program]]
        try:
            code, printed = self._go(tool, *command)
            if not code:
                making.rename(path)
        finally:
            making.unlink(missing_ok=True)
        if code:
            raise ToolMissing(
                "\n".join(
                    [
                        f"`go build … {tool.packages[program]}` in tools/{tool.pin.name} failed:",
                        *printed.strip().splitlines()[-_LOG_LINES:],
                        "Go downloads modules from the address in `go env GOPROXY`. If you cannot reach it, put the"
                        " program on PATH and run `make setup`.",
                    ]
                )
            )

    def copy(self, tool: Tool, script: str, path: Path) -> None:
        """Copies a script of `tool` from its package. Raises ToolMissing, Stopped."""
        package = tool.companions[script]
        code, printed = self._go(tool, "list", "-f", "{{.Dir}}", package)
        if code:
            raise ToolMissing(f"`go list {package}` in tools/{tool.pin.name} failed: {printed.strip()}")
        install(path, (Path(printed.strip().splitlines()[-1]).parent / script).read_bytes())

    def stop(self) -> None:
        """Ends the running build with all its processes. No other build begins."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process:
            _end(process)

    def processes(self) -> set[int]:
        """The process ids of the running build."""
        process = self._process
        found = {process.pid} if process else set()
        with contextlib.suppress(psutil.Error):
            found |= {child.pid for pid in set(found) for child in psutil.Process(pid).children(recursive=True)}
        return found

    def _go(self, tool: Tool, *arguments: str) -> tuple[int, str]:
        """Runs `go` for a tool. Returns its exit status, and what it printed. Raises Stopped."""
        settings = {"CGO_ENABLED": "1" if tool.cgo else "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            with self._lock:
                if self._stopped:
                    raise Stopped
                process = self._process = subprocess.Popen(
                    [str(shutil.which("go")), *arguments],
                    cwd=tool.pin,
                    env={**os.environ, **settings},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C reaches only this process, which then stops the whole build.
                    start_new_session=True,
                    preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                )
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        code = process.wait(_TICK_SECONDS)
                        break
                    self._tick()
            finally:
                if process.poll() is None:
                    _end(process)
                self._process = None
            if self._stopped:
                raise Stopped
            log.seek(0)
            return code, log.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    _signal_group(process, signal.SIGKILL)  # also compilers that still run
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
