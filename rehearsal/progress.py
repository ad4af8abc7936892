"""Shows what a rehearsal is doing: a moving line on a terminal, a line a phase elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.status import Status


@dataclass
class Clock:
    """The seconds a phase took, once it has ended."""

    seconds: float = 0


class Progress:
    """The progress of one rehearsal on `console`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._steps: set[str] = set()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[Clock]:
        """Shows `name` while the block runs, and its time afterwards. Only a phase that ended well is ticked off."""
        clock, started = Clock(), time.monotonic()
        self._steps.clear()
        with self._console.status(f"{name} …") as self._status:
            yield clock
        clock.seconds = time.monotonic() - started
        steps = f", {len(self._steps)} resources" if self._steps else ""
        self._console.print(f"[green]done[/] {name} [dim]({clock.seconds:.1f} s{steps})[/]", highlight=False)

    def show(self, phase: str, what: str) -> None:
        """Shows what `phase` is at."""
        if self._status:
            self._status.update(f"{phase} … {escape(what)}")

    def advance(self, phase: str, name: str) -> None:
        """Counts a resource that `phase` is done with."""
        self._steps.add(name)  # a component ends twice: when it is registered and with its outputs
        self.show(phase, f"{len(self._steps)} resources, {name}")
