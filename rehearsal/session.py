"""The folder and the processes of one rehearsal, from its start until all of them are gone.

`end_all` ends rehearsals that were kept (`--keep`) or whose own process was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from .machine.cache import cache_folder
from .machine.processes import Processes, ProcessFailed, end_marked, marked
from .machine.signals import termination_as_interrupt, uninterrupted

_RECORD = "session.json"


@dataclass
class Session:
    """A running rehearsal. With `kept` its folder and processes stay when the `with` block ends."""

    id: str
    folder: Path
    processes: Processes
    kept: bool = False
    logs_kept: bool = False

    @property
    def logs(self) -> Path:
        """Where every process of the rehearsal writes its log."""
        return self.folder / "logs"

    def keep(self) -> None:
        """Keeps everything when the `with` block ends, until `end_all`."""
        self.kept = True
        self.record()

    def keep_logs(self) -> Path:
        """Keeps the logs when the `with` block ends, and returns their folder."""
        self.logs_kept = True
        return self.logs

    def record(self) -> None:
        """Writes the session's process and state to a file, for `end_all`."""
        content = {"kept": self.kept, "pid": os.getpid(), "started": psutil.Process().create_time()}
        (self.folder / _RECORD).write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def begin(stack: str, *, keep: bool) -> Iterator[Session]:
    """A new session for `stack`. Its processes end with the block, also on Ctrl-C, unless the session is kept.

    The logs stay if a process failed or `keep_logs` was called.
    """
    id = f"{stack}-{secrets.token_hex(4)}"
    folder = _sessions() / id
    folder.mkdir(parents=True, mode=0o700)
    session = Session(id, folder, Processes(id, folder / "logs", outlive=keep))
    session.record()
    failed = True
    try:
        with termination_as_interrupt():
            yield session
        failed = False
    except ProcessFailed:
        session.keep_logs()
        raise
    finally:
        if failed or not session.kept:
            with uninterrupted():
                session.processes.end()
                _remove(folder, but=session.logs if session.logs_kept else None)


def end_all(only: str | None = None) -> tuple[list[str], list[str]]:
    """Ends the session `only`, or all sessions that were kept or whose own process is gone.

    Returns the ids of the ended sessions, and of those that are still running and were not touched.
    """
    ended, running = [], []
    folders = sorted(_sessions().iterdir()) if _sessions().is_dir() else []
    for folder in folders:
        if only and folder.name != only:
            continue
        if not only and _is_running(folder):
            running.append(folder.name)
            continue
        had_something = bool(marked(folder.name)) or (folder / _RECORD).exists()
        end_marked(folder.name)
        _remove(folder, but=None)
        if had_something:
            ended.append(folder.name)
    return ended, running


def _sessions() -> Path:
    return cache_folder() / "rehearsals"


def _is_running(folder: Path) -> bool:
    try:
        content = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        same_process = abs(psutil.Process(content["pid"]).create_time() - content["started"]) < 1
    except (OSError, ValueError, KeyError, psutil.Error):
        return False
    return same_process and not content["kept"]


def _remove(folder: Path, *, but: Path | None) -> None:
    """Removes `folder`, or everything in it except `but`."""
    if but is None or not but.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in folder.iterdir():
        if entry != but:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
