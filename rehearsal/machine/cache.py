"""The cache folder that rehearsals share, and its locks: only one process at a time fills a part of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_LOCKS = ".locks"
_POLL_SECONDS = 0.2


def cache_folder() -> Path:
    """The folder that keeps tools between rehearsals: $GPULAB_CACHE, else gpulab in the user's cache folder."""
    if chosen := os.environ.get("GPULAB_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "gpulab"


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds."""

    _file: TextIO

    def say(self, text: str) -> None:
        """Writes for the waiting processes what the holder is doing."""
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}{f' ({text})' if text else ''}")
        self._file.flush()


@contextlib.contextmanager
def locked(cache: Path, part: str, waiting: Callable[[str], None]) -> Iterator[Lock]:
    """Holds the lock on `part` of the folder `cache` during the block. The lock of a killed process is released.

    While another process holds it, `waiting` is called several times a second with that process and what it is doing.
    An exception of `waiting` ends the wait.
    """
    folder = cache / _LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    # This mode keeps what the holder wrote, and always writes at the end of the file.
    with (folder / part).open("a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                waiting(file.read() or "another process")
                time.sleep(_POLL_SECONDS)
        lock = Lock(file)
        lock.say("")
        yield lock
