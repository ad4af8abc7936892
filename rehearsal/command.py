"""What the commands of the rehearsal have in common: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from settings import SettingsError, StackFileError

from .processes import ProcessFailed
from .tools import ToolMissing

OK, NOT_ALL_HOLDS, USAGE, INTERRUPTED = 0, 1, 2, 130


def run(action: Callable[[Console], int], console: Console) -> int:
    """The exit status of `action`; what went wrong is said in a sentence on `console`."""
    # Without a terminal a line has no width to be wrapped at: each message stays on its line, so that grep finds it.
    console.soft_wrap = not console.is_terminal
    # A letter that the terminal's encoding lacks must not end a rehearsal.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        return action(console)
    except KeyboardInterrupt as interrupted:
        kept = f"; {escape(str(interrupted))}" if str(interrupted) else ""
        text = f"[yellow]Interrupted:[/] everything that was started has ended{kept}."
        console.print(text, highlight=False, soft_wrap=True)
        return INTERRUPTED
    except (SettingsError, StackFileError, ToolMissing, ProcessFailed, OSError) as error:
        console.print("[bold red]Failed:[/]", end=" ")
        console.out(str(error), highlight=False)
        return USAGE if isinstance(error, SettingsError | StackFileError | OSError) else NOT_ALL_HOLDS
