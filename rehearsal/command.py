"""What the commands of the rehearsal have in common: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from settings import SettingsError, StackFileError

from .machine.processes import ProcessFailed
from .machine.tools import ToolMissing

OK, CHECKS_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def run(action: Callable[[Console], int], console: Console) -> int:
    """Runs `action` and returns its exit status. An error is printed on `console` as one message."""
    # Without a terminal do not wrap lines: each message stays on one line, so that grep finds it.
    console.soft_wrap = not console.is_terminal
    # A character that the terminal's encoding does not have must not end a rehearsal.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return action(console)
    except KeyboardInterrupt as interrupted:
        kept = f"; {escape(str(interrupted))}" if str(interrupted) else ""
        text = f"[yellow]Interrupted:[/] all started processes have ended{kept}."
        console.print(text, highlight=False, soft_wrap=True)
        return INTERRUPTED
    except (SettingsError, StackFileError, ToolMissing, ProcessFailed, OSError) as error:
        console.print("[bold red]Failed:[/]", end=" ")
        console.out(str(error), highlight=False)
        return USAGE if isinstance(error, SettingsError | StackFileError | OSError) else CHECKS_FAILED
