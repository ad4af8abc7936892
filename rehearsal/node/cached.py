"""Keeps in the cache what takes minutes to make: whole or not at all, with visible progress."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.markup import escape

from rehearsal.machine.cache import cache_folder, locked
from rehearsal.machine.processes import die_with_parent
from rehearsal.machine.tools import ToolMissing
from rehearsal.progress import Display

_MAKING = ".making-"
_SIGN_OF_LIFE_SECONDS = 30
_KEY_LENGTH = 12
_LOG_LINES = 12


def node_cache() -> Path:
    """The folder of the cache for all that a node needs."""
    return cache_folder() / "node"


def key(*parts: str | bytes) -> str:
    """A short name for content: a hash of everything that goes into it."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:_KEY_LENGTH]


def report(display: Display, text: str) -> None:
    """Prints a permanent line about the node."""
    display.print(f"[dim]node:[/] {escape(text)}")


def kept(path: Path, make: Callable[[Path], None], display: Display, what: str, *, seconds: int) -> Path:
    """The file or folder at `path` of the cache. If it does not exist, `make` fills a path beside it first.

    `what` names it for people, and `seconds` is about how long the making takes on 2 cores. Two processes do not make
    it twice; what an interrupted process left is removed.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent, path.name, waiting(display, what)) as lock:
        if path.exists():
            return path
        lock.say(f"making {what}")
        remove_interrupted(path.parent, _MAKING)
        making = path.with_name(f"{_MAKING}{path.name}")
        remove(making)
        try:
            with making_shown(display, what, seconds):
                make(making)
            making.rename(path)
        finally:
            remove(making)
    return path


@contextlib.contextmanager
def making_shown(display: Display, what: str, seconds: int) -> Iterator[None]:
    """Shows that `what` is made during the block: a moving line, or without a terminal a line every half minute."""
    began = time.monotonic()
    ended = threading.Event()

    def still() -> None:
        while not ended.wait(_SIGN_OF_LIFE_SECONDS):
            report(display, f"still making {what}, for {time.monotonic() - began:.0f} s")

    if not display.moves:
        report(display, f"making {what} (about {seconds} s on 2 cores; once)")
        threading.Thread(target=still, daemon=True).start()
    try:
        with display.line(f"making {what} (about {seconds} s; once)"):
            yield
    finally:
        ended.set()
    report(display, f"{what} made in {time.monotonic() - began:.0f} s")


def checked(
    command: Sequence[str | Path],
    what: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    advice: str = "",
) -> str:
    """Runs a command and returns what it printed on standard output.

    Raises ToolMissing with the end of its output and `advice` if it fails. `what` says what it was to do.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
        # It ends with this process, even if that is killed.
        preexec_fn=die_with_parent,
    )
    if done.returncode:
        raise ToolMissing(failure(done, what, advice))
    return done.stdout


def failure(done: subprocess.CompletedProcess[str], what: str, advice: str = "") -> str:
    """A message about a command that failed: what it was to do, and the end of its output."""
    said = (done.stdout + done.stderr).strip().splitlines()[-_LOG_LINES:]
    return "\n".join([f"{what} failed with exit status {done.returncode}:", *said, *([advice] if advice else [])])


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_interrupted(folder: Path, prefix: str) -> None:
    """Removes from `folder` what killed processes left of things that nobody may ask for again.

    What is made has the name `prefix` and that of its lock.
    """

    def give_up(_holder: str) -> None:
        raise BlockingIOError

    for one in folder.glob(f"{prefix}*"):
        with contextlib.suppress(BlockingIOError), locked(folder, one.name.removeprefix(prefix), give_up):
            remove(one)


def waiting(display: Display, what: str) -> Callable[[str], None]:
    """Reports once, for `locked`, that another process holds the lock of `what`."""
    reported: set[str] = set()

    def report_once(holder: str) -> None:
        if not reported:
            report(display, f"waiting for {holder}, which holds the lock of {what}")
        reported.add(holder)

    return report_once
