"""Makes all that a node needs ahead of the first one: `python -m rehearsal.node.setup`, which `make setup` runs."""

from __future__ import annotations

import sys

from rich.console import Console

import settings
from rehearsal import command
from rehearsal.machine.toolchain import ensure
from rehearsal.machine.tools import ToolMissing
from rehearsal.machine.workspace import PROJECT
from rehearsal.progress import Display
from rehearsal.stack_phases import REHEARSAL_DAY

from . import images, namespaces, references, root, store
from .tools import NODE_TOOLS

_STACK_FILE = PROJECT / "examples" / "one-machine.yaml"


def main() -> int:
    """Says why, where no node can run; that is no error."""
    return command.run(_set_up, Console(stderr=True))


def _set_up(console: Console) -> int:
    display = Display(console)
    try:
        namespaces.refuse_without()
        root.refuse_without()
    except ToolMissing as error:
        console.print(f"[dim]node:[/] not set up: {error}", highlight=False)
        return command.OK
    stack = settings.check_stack_file(_STACK_FILE, stack="one-machine", today=REHEARSAL_DAY)
    toolchain = ensure(console, NODE_TOOLS)
    made = images.ensure(references.of_stack(stack), display)
    store.filled(root.ensure(display), toolchain, made, display)
    return command.OK


if __name__ == "__main__":
    sys.exit(main())
