"""The progress of the toolchain: how many of the missing programs are ready, and how long the others may take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rehearsal.progress import Display, Line

_SIGN_OF_LIFE_SECONDS = 30
# A first build that is a minute slower than expected, or instant (from Go's cache), says little about the others.
_TRUSTED_SECONDS = 60


def seconds_left(
    pending: Iterable[float], done: Sequence[tuple[float, float]], running: tuple[float, float] = (0, 0)
) -> float:
    """The seconds that builds still take: their estimates, scaled by the speed of the builds so far on this machine.

    `pending` are the estimates of builds that have not begun, `done` has the estimate and the seconds of each finished
    build, `running` the estimate of the current build and its seconds so far.
    """
    estimated = _TRUSTED_SECONDS + sum(estimate for estimate, _ in done)
    taken = _TRUSTED_SECONDS + sum(seconds for _, seconds in done)
    estimate, seconds = running
    pace = taken / estimated
    if seconds > estimate * pace:  # a build that takes longer than estimated counts too
        pace = (taken + seconds) / (estimated + estimate)
    return pace * sum(pending) + max(pace * estimate - seconds, 0)


def about(seconds: float) -> str:
    """An estimated time, in minutes."""
    minutes = round(seconds / 60)
    if minutes == 0:
        return "less than a minute"
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"


def _programs(count: int) -> str:
    return "1 program is" if count == 1 else f"{count} programs are"


class BuildProgress:
    """Shows the progress of the toolchain: one moving line on a terminal, otherwise a new line for each step.

    `missing` has each missing program with the seconds that its build takes on 2 cores, or 0 if it is downloaded.
    """

    def __init__(self, display: Display, missing: Mapping[str, float]) -> None:
        self._display = display
        self._pending = dict(missing)
        self._done: list[tuple[float, float]] = []
        self._running: tuple[float, float] = (0, 0)
        self._total = len(missing)
        self._finished = 0
        self._began = self._started = self._said = time.monotonic()
        self._doing = ""
        self._waits = False
        self._line = Line()

    def announce(self, cache: str) -> None:
        """Prints what is missing, and how it will be installed."""
        if not self._total:
            return  # only a script may be missing
        to_build = [seconds for seconds in self._pending.values() if seconds]
        ways = []
        if downloads := self._total - len(to_build):
            ways.append(f"{downloads} to download")
        if to_build:
            ways.append(f"{len(to_build)} to build with Go, {about(sum(to_build))} on 2 cores")
        self._display.report(f"{_programs(self._total)} missing: {', '.join(ways)} (once; kept in {cache})")

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the moving line during the block."""
        self._began = time.monotonic()
        with self._display.line("toolchain", total=1) as self._line:
            yield

    @property
    def summary(self) -> str:
        """How many programs are ready, and about how long the builds still take."""
        builds = self._running[0] or any(self._pending.values())
        return f"{self._counted}{f', {about(self._left)} left' if builds else ''}"

    def kept(self, where: str) -> str:
        """What an interrupted run keeps, as a sentence without its full stop."""
        if self._finished:
            state = f"{'is' if self._finished == 1 else 'are'} ready in {where}"
            return f"{self._counted} {state}; run the same command to continue"
        return f"{_programs(self._total)} still missing; run the same command to continue"

    @property
    def _counted(self) -> str:
        return f"{self._finished} of {self._total} programs"

    @property
    def _left(self) -> float:
        return seconds_left(self._pending.values(), self._done, self._running)

    def to_be_built(self, programs: Mapping[str, float]) -> None:
        """Plans to build these programs, each with the seconds that its build takes, instead of downloading them."""
        self._pending |= programs

    def begin(self, doing: str) -> None:
        """Shows another step from now on."""
        self._waits = False
        self._doing = doing
        self._started = self._said = time.monotonic()

    @contextlib.contextmanager
    def making(self, how: str, programs: Sequence[str], version: str) -> Iterator[None]:
        """Shows that `programs` are being made during the block and ready after it; `how` is "download" or "build"."""
        estimates = {program: self._pending.pop(program) for program in programs}
        estimate = sum(estimates.values())
        self._running = (estimate, 0)
        self.begin(f"{how}ing {', '.join(programs)} {version}")
        self._say(f"{self._doing} ({self.summary})")
        try:
            yield
            seconds = time.monotonic() - self._started
            if estimate:
                self._done.append((estimate, seconds))
            self._finished += len(programs)
        except BaseException:
            self._pending |= estimates
            raise
        finally:
            self._running = (0, 0)
        past = {"build": "built"}.get(how, f"{how}ed")
        self._display.report(f"{', '.join(programs)} {past} in {seconds:.0f} s ({self.summary})")

    def tick(self) -> None:
        """Shows that the current step still runs. Call it about every second."""
        seconds = time.monotonic() - self._started
        self._running = (self._running[0], seconds)
        self._still(f"{self._doing}, {self.summary}", f"still {self._doing}, for {seconds:.0f} s ({self.summary})")

    def wait_for(self, holder: str) -> None:
        """Shows that another process is making what is needed next. Call it about every second."""
        text = f"waiting for {holder}, which is making the next program"
        if not self._waits:
            self._waits = True
            self._say(text)
        self._still(text, f"still {text}")

    def found(self, programs: Iterable[str]) -> None:
        """Counts programs that were made before, or by another process."""
        self._waits = False
        for program in programs:
            if self._pending.pop(program, None) is not None:
                self._finished += 1

    def _still(self, moving: str, line: str) -> None:
        spent = time.monotonic() - self._began
        self._line.update(f"toolchain: {moving}", completed=spent / (spent + self._left) if self._left else None)
        if not self._display.moves and time.monotonic() - self._said >= _SIGN_OF_LIFE_SECONDS:
            self._say(line)

    def _say(self, text: str) -> None:
        """Prints a line if there is no moving one."""
        self._said = time.monotonic()
        if not self._display.moves:
            self._display.report(text)
