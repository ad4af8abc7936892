"""Rehearsals as a user starts them: `python -m rehearsal` in a separate process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from rehearsal.machine.processes import MARK
from rehearsal.machine.toolchain import cache_folder
from rehearsal.machine.workspace import PROJECT

MINUTES = 60
_COMMAND = [sys.executable, "-m", "rehearsal"]


def _hear_ctrl_c() -> None:
    """As at a terminal: what a shell starts in the background, tests too, would ignore the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a rehearsal; what it prints can be read from `stdout`."""
    return subprocess.Popen(
        [*_COMMAND, *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )


def rehearsal_processes(stack: str) -> list[psutil.Process]:
    """The processes of any rehearsal of `stack` with this worker's cache."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            ours = environment.get(MARK, "").startswith(f"{stack}-") and str(cache_folder()) in environment["HOME"]
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, KeyError):
            continue
    return found
