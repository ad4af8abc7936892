"""Runs a rig with one node and nothing on it until it is ended: `python -m tests.node.bare_rig FOLDER ID`."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from rich.console import Console

from rehearsal.machine.processes import Processes
from rehearsal.machine.toolchain import filled
from rehearsal.machine.tools import ALL_TOOLS
from rehearsal.node import images, rig, root
from rehearsal.node.addons import COREDNS
from rehearsal.node.containers import PAUSE
from rehearsal.node.rig import NodeArgs, RigArgs
from rehearsal.node.tools import NODE_TOOLS
from rehearsal.progress import Display


def main(folder: Path, rig_id: str) -> None:
    """Says `ready PID-OF-THE-MACHINE` when pods can run."""
    # What a script starts in the background ignores Ctrl-C, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    display = Display(Console(stderr=True))
    processes = Processes(rig_id, folder / "logs")
    try:
        with contextlib.suppress(KeyboardInterrupt), filled(display, [*ALL_TOOLS, *NODE_TOOLS]) as toolchain:
            made = images.ensure([PAUSE, COREDNS], display)
            args = RigArgs(root=root.ensure(display), images=made, nodes=[NodeArgs(name="node-1", cores=4, memory=8)])
            running = rig.start(processes, folder, toolchain, args, display)
            print("ready", running.machines[0].pid, flush=True)
            signal.pause()
    finally:
        processes.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
