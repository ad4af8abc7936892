"""Fills the cache with missing tools, in the background and in the order in which they are needed.

A tool's folder is complete or does not exist. Programs that were built before an interruption are kept beside it, so
that the next run, of any checkout, continues from there.
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

from rehearsal.progress import Display

from .build_progress import BuildProgress
from .building import Builder, Stopped
from .cache import Lock, locked
from .downloads import Checksums, Releases, ReleaseUnavailable
from .signals import uninterrupted
from .tools import Tool, ToolMissing

_ORIGIN = "origin"
_TICK_SECONDS = 0.5
# The longest time that a download may delay the end: a stalled download is noticed only after ten seconds.
_LONGEST_END_SECONDS = 15


@dataclass(frozen=True)
class Missing:
    """A missing tool, and its folder in the cache."""

    tool: Tool
    folder: Path

    @property
    def unfinished(self) -> Path:
        """The folder for built programs until the tool is complete."""
        return self.folder.with_name(f".making-{self.folder.name}")

    def to_build(self) -> dict[str, float]:
        """The programs that are not built yet, each with the seconds that its build takes on 2 cores."""
        seconds = self.tool.build_seconds
        return {name: seconds[name] for name in self.tool.packages if not (self.unfinished / name).is_file()}


def is_whole(tool: Tool, folder: Path) -> bool:
    """Whether a tool's folder is complete."""
    return all((folder / name).is_file() for name in (*tool.programs, _ORIGIN))


def origin(folder: Path) -> str:
    """Whether the programs in a tool's folder were `downloaded` or `built`."""
    return (folder / _ORIGIN).read_text(encoding="utf-8")


class Filling:
    """Makes `missing` tools during the block of `running`, and records in `origins` how each program was made."""

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
        self._awaited = {program for item in missing for program in item.tool.programs}
        self._error: BaseException | None = None
        self._lock: Lock | None = None
        self._ticked = 0.0
        self._progress = self._plan()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Fills the cache during the block. Unfinished work is stopped at its end; finished programs stay.

        Ctrl-C in the block raises a KeyboardInterrupt that says what is kept.
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
        """Waits until these programs are ready. Raises the error that prevents it: ToolMissing, OSError, Stopped."""
        with self._changed:
            while self._awaited & programs:
                if self._error:
                    raise self._error
                self._changed.wait()

    @property
    def awaited(self) -> set[str]:
        """The programs that are not ready yet."""
        return set(self._awaited)

    @property
    def _kept(self) -> str:
        """What the next run does not have to do again."""
        return self._progress.kept(_short(self._cache))

    def processes(self) -> set[int]:
        """The process ids of the build that runs."""
        return self._builder.processes()

    def _plan(self) -> BuildProgress:
        """Finds out what can be downloaded, and announces the plan. Raises ToolMissing if others cannot be built."""
        programs: dict[str, float] = {}
        with self._display.line("toolchain: looking for releases"):
            for item in self._missing:
                try:
                    self._published[item.tool.name] = self._releases.checksums(item.tool)
                    programs |= dict.fromkeys(item.tool.packages, 0)
                except ReleaseUnavailable as why:
                    self._why_not[item.tool.name] = str(why)
                    programs |= item.to_build()
                    _check_compilers(item.tool, str(why))
        progress = BuildProgress(self._display, programs)
        progress.announce(_short(self._cache))
        return progress

    def _run(self) -> None:
        try:
            with self._progress.shown():
                for item in self._missing:
                    with locked(self._cache, item.folder.name, self._wait) as self._lock:
                        if is_whole(item.tool, item.folder):
                            self._progress.found(item.tool.packages)
                        else:
                            self._fill(item)
                    self._origins |= dict.fromkeys(item.tool.programs, origin(item.folder))
                    with self._changed:
                        self._awaited -= set(item.tool.programs)
                        self._changed.notify_all()
        except BaseException as error:  # raised for those who wait
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _fill(self, item: Missing) -> None:
        shutil.rmtree(item.folder, ignore_errors=True)  # it may lack files
        why_not = self._why_not.get(item.tool.name)
        if why_not is None:
            try:
                self._download(item)
            except ReleaseUnavailable as why:
                why_not = str(why)
        if why_not is not None:
            _check_compilers(item.tool, why_not)
            self._build(item)

    def _download(self, item: Missing) -> None:
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".making-") as making:
            staged = Path(making) / "tool"
            staged.mkdir()
            with self._progress.making("download", list(item.tool.packages), item.tool.version):
                self._releases.fetch(item.tool, self._published[item.tool.name], staged, self._tick)
                _finish(staged, item.folder, "downloaded")
        shutil.rmtree(item.unfinished, ignore_errors=True)  # built before there was a network

    def _build(self, item: Missing) -> None:
        staged, tool = item.unfinished, item.tool
        staged.mkdir(exist_ok=True)
        left = item.to_build()
        self._progress.found(tool.packages.keys() - left.keys())  # another process may have built some since
        self._progress.to_be_built(left)
        try:
            for program in left:
                with self._progress.making("build", [program], tool.version):
                    self._builder.build(tool, program, staged / program)
            for script in tool.companions:
                self._progress.begin(f"copying {script} {tool.version}")
                self._builder.copy(tool, script, staged / script)
            _finish(staged, item.folder, "built")
        finally:
            with contextlib.suppress(OSError):
                staged.rmdir()  # it is empty if the first program failed

    def _tick(self) -> None:
        """Shows that the current step still runs. Raises Stopped if it should end."""
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


def _check_compilers(tool: Tool, why_not: str) -> None:
    if not shutil.which("go"):
        raise ToolMissing(
            f"{', '.join(tool.programs)} {tool.version}: not on PATH, {why_not}, and it cannot be built, because"
            f" there is no `go` on PATH. Install Go (https://go.dev/dl; the version in tools/{tool.pin.name}/go.mod or"
            " newer), or put the program on PATH. Then run `make setup`."
        )
    if tool.cgo and not shutil.which("gcc"):
        raise ToolMissing(
            f"{', '.join(tool.programs)} {tool.version}: a part is in C, and there is no `gcc` on PATH. Install it"
            " (Debian: the packages gcc and libc6-dev)."
        )


def _finish(staged: Path, folder: Path, how: str) -> None:
    """Turns the staged folder into the tool's folder in one step."""
    (staged / _ORIGIN).write_text(how, encoding="utf-8")
    staged.rename(folder)


def _short(path: Path) -> str:
    """A path as a person writes it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
