"""Fills the cache with the tools that are missing, in the background and in the order in which they are needed.

A tool's folder is there as a whole or not at all. What is built of a tool before it is interrupted is kept beside it,
so that the next run, of any checkout, goes on from there.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .build_progress import BuildProgress
from .building import Builder, Stopped
from .cache import Lock, locked
from .downloads import Checksums, NotToBeHad, Releases
from .progress import Display
from .signals import uninterrupted
from .tools import Tool, ToolMissing

_ORIGIN = "origin"
_TICK_SECONDS = 0.5
# The longest that a download may hold up the end: one that stands still is only noticed after ten seconds.
_LONGEST_END_SECONDS = 15


@dataclass(frozen=True)
class Missing:
    """A tool that is not there, and its folder in the cache."""

    tool: Tool
    folder: Path

    @property
    def unfinished(self) -> Path:
        """Where what is built of it lies until all of it is there."""
        return self.folder.with_name(f".making-{self.folder.name}")

    def to_build(self) -> dict[str, float]:
        """The programs that are not built yet, each with the seconds that it takes on 2 cores."""
        seconds = self.tool.build_seconds
        return {name: seconds[name] for name in self.tool.packages if not (self.unfinished / name).is_file()}


def is_whole(tool: Tool, folder: Path) -> bool:
    """Whether a tool's folder has all that it should."""
    return all((folder / name).is_file() for name in (*tool.programs, _ORIGIN))


def origin(folder: Path) -> str:
    """How the programs in a tool's folder came there: `downloaded` or `built`."""
    return (folder / _ORIGIN).read_text(encoding="utf-8")


class Filling:
    """Makes `missing` tools during the block of `running`; notes in `origins` how each of their programs came."""

    def __init__(self, display: Display, missing: Sequence[Missing], origins: dict[str, str]) -> None:
        self._display = display
        self._missing = missing
        self._origins = origins
        self._cache = missing[0].folder.parent
        self._releases = Releases()
        self._published: dict[str, Checksums] = {}
        self._why_not: dict[str, str] = {}
        self._builder = Builder(self._tick)
        self._changed = threading.Condition()
        self._awaited = {program for one in missing for program in one.tool.programs}
        self._error: BaseException | None = None
        self._lock: Lock | None = None
        self._ticked = 0.0
        self._progress = self._plan()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Fills the cache during the block. What is not finished at its end is stopped; what is finished stays.

        Ctrl-C in the block goes on as a KeyboardInterrupt that says what is kept.
        """
        thread = threading.Thread(target=self._run, name="toolchain", daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            if self._awaited:
                raise KeyboardInterrupt(self._kept) from None
            raise
        else:
            if self._awaited and not self._error:
                self._display.report(f"stopped; {self._kept}")
        finally:
            with uninterrupted():
                self._stop(thread)

    def wait_for(self, programs: set[str]) -> None:
        """Waits until these programs are there. Raises what kept them from coming: ToolMissing, OSError, Stopped."""
        with self._changed:
            while self._awaited & programs:
                if self._error:
                    raise self._error
                self._changed.wait()

    @property
    def awaited(self) -> set[str]:
        """The programs that are not there yet."""
        return set(self._awaited)

    @property
    def _kept(self) -> str:
        """What the next run need not do again."""
        return self._progress.kept(_short(self._cache))

    def processes(self) -> set[int]:
        """The process ids of the build that runs."""
        return self._builder.processes()

    def _plan(self) -> BuildProgress:
        """Finds out what can be downloaded, and announces the rest. Raises ToolMissing when it can't be built."""
        programs: dict[str, float] = {}
        with self._display.line("toolchain: looking for releases"):
            for one in self._missing:
                try:
                    self._published[one.tool.name] = self._releases.checksums(one.tool)
                    programs |= dict.fromkeys(one.tool.packages, 0)
                except NotToBeHad as why:
                    self._why_not[one.tool.name] = str(why)
                    programs |= one.to_build()
                    _check_go(one.tool, str(why))
        progress = BuildProgress(self._display, programs)
        progress.announce(_short(self._cache))
        return progress

    def _run(self) -> None:
        try:
            with self._progress.shown():
                for one in self._missing:
                    with locked(self._cache, one.folder.name, self._wait) as self._lock:
                        if is_whole(one.tool, one.folder):
                            self._progress.found(one.tool.packages)
                        else:
                            self._fill(one)
                    self._origins |= dict.fromkeys(one.tool.programs, origin(one.folder))
                    with self._changed:
                        self._awaited -= set(one.tool.programs)
                        self._changed.notify_all()
        except BaseException as error:  # those who wait raise it
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _fill(self, one: Missing) -> None:
        shutil.rmtree(one.folder, ignore_errors=True)  # somebody took files out of it
        why_not = self._why_not.get(one.tool.name)
        if why_not is None:
            try:
                self._download(one)
            except NotToBeHad as why:
                why_not = str(why)
        if why_not is not None:
            _check_go(one.tool, why_not)
            self._build(one)

    def _download(self, one: Missing) -> None:
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".making-") as making:
            staged = Path(making) / "tool"
            staged.mkdir()
            with self._progress.making("download", list(one.tool.packages), one.tool.version):
                self._releases.fetch(one.tool, self._published[one.tool.name], staged, self._tick)
                _finish(staged, one.folder, "downloaded")
        shutil.rmtree(one.unfinished, ignore_errors=True)  # what was built before there was a network

    def _build(self, one: Missing) -> None:
        staged, tool = one.unfinished, one.tool
        staged.mkdir(exist_ok=True)
        left = one.to_build()
        self._progress.found(tool.packages.keys() - left.keys())  # another process may have built some since
        self._progress.to_be_built(left)
        try:
            for program in left:
                with self._progress.making("build", [program], tool.version):
                    self._builder.build(tool, program, staged / program)
            for script in tool.companions:
                self._progress.begin(f"copying {script} {tool.version}")
                self._builder.copy(tool, script, staged / script)
            _finish(staged, one.folder, "built")
        finally:
            with contextlib.suppress(OSError):
                staged.rmdir()  # of a first program that failed

    def _tick(self) -> None:
        """Shows that what is under way still is. Raises Stopped when it should not be."""
        if self._error:
            raise Stopped
        if time.monotonic() - self._ticked > _TICK_SECONDS:
            self._ticked = time.monotonic()
            self._progress.tick()
            if self._lock:
                self._lock.say(self._progress.summary)

    def _wait(self, holder: str) -> None:
        if self._error:
            raise Stopped
        self._progress.wait_for(holder)

    def _stop(self, thread: threading.Thread) -> None:
        with self._changed:
            self._error = self._error or Stopped("the toolchain was stopped")
            self._changed.notify_all()
        self._builder.stop()
        thread.join(_LONGEST_END_SECONDS)


def _check_go(tool: Tool, why_not: str) -> None:
    if not shutil.which("go"):
        raise ToolMissing(
            f"{', '.join(tool.programs)} {tool.version}: not on PATH, {why_not}, and not to be built, because"
            f" there is no `go` on PATH. Install Go (https://go.dev/dl; the version in tools/{tool.pin.name}/go.mod or"
            " newer), or put the program on PATH; then run `make setup`."
        )


def _finish(staged: Path, folder: Path, how: str) -> None:
    """Makes a tool's folder of what is staged, all at once."""
    (staged / _ORIGIN).write_text(how, encoding="utf-8")
    staged.rename(folder)


def _short(path: Path) -> str:
    """A path as a person writes it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
