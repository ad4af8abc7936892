"""Shows what a rehearsal is doing: moving lines on a terminal, otherwise one line for each phase."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich import progress
from rich.console import Console
from rich.markup import escape
from rich.table import Column
from rich.text import Text


@dataclass
class Clock:
    """The seconds a phase took, once it has ended."""

    seconds: float = 0


@dataclass(frozen=True)
class Line:
    """A moving line. Without a terminal it shows nothing."""

    _lines: progress.Progress | None = None
    _id: progress.TaskID | None = None

    def update(self, text: str, *, completed: float | None = None) -> None:
        """Changes the text, and how much of the line's total is `completed`."""
        if self._lines and self._id is not None:
            self._lines.update(self._id, description=text, completed=completed)


class _Bar(progress.BarColumn):
    """A bar for a line that has a total."""

    def render(self, task: progress.Task) -> progress.ProgressBar | Text:  # type: ignore[override]
        return super().render(task) if task.total else Text()


class Display:
    """The moving lines of one console, one for each task in progress, drawn together so that they do not overwrite.

    Any thread may show a line.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.moves = console.is_terminal
        self._lock = threading.Lock()
        self._lines: progress.Progress | None = None

    def print(self, text: str) -> None:
        """Prints a permanent line, with rich's markup, above the moving ones."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def report(self, text: str) -> None:
        """Prints a permanent line about the toolchain, without markup."""
        self.print(f"[dim]toolchain:[/] {escape(text)}")

    @contextlib.contextmanager
    def line(self, text: str, *, total: float | None = None) -> Iterator[Line]:
        """A moving line during the block, with a bar if it has a `total`."""
        if not self.moves:
            yield Line()
            return
        with self._lock:
            if self._lines is None:
                self._lines = self._start()
            lines = self._lines
            id = lines.add_task(text, total=total)
        try:
            yield Line(lines, id)
        finally:
            with self._lock:
                lines.remove_task(id)
                if not lines.task_ids:
                    lines.stop()
                    self._lines = None

    def _start(self) -> progress.Progress:
        text = progress.TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
        )
        lines = progress.Progress(
            progress.SpinnerColumn(), text, _Bar(bar_width=20), console=self.console, transient=True
        )
        lines.start()
        return lines


class Progress:
    """The progress of one rehearsal on `display`."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self._line = Line()
        self._steps: set[str] = set()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Clock]:
        """Shows `name` while the block runs, and then its time. A failed phase is not shown as done."""
        clock, started = Clock(), time.monotonic()
        self._steps.clear()
        with self.display.line(f"{name} …") as self._line:
            yield clock
        clock.seconds = time.monotonic() - started
        steps = f", {len(self._steps)} resources" if self._steps else ""
        self.display.print(f"[green]done[/] {name} [dim]({clock.seconds:.1f} s{steps})[/]")

    def show(self, phase: str, what: str) -> None:
        """Shows the current step of `phase`."""
        self._line.update(f"{phase} … {what}")

    def advance(self, phase: str, name: str) -> None:
        """Counts a resource that `phase` has finished."""
        self._steps.add(name)  # a component ends twice: when it is registered and with its outputs
        self.show(phase, f"{len(self._steps)} resources, {name}")
