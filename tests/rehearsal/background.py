"""Background processes of a test, which are marked, and end with the block that needs them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from rehearsal.machine.processes import Processes, end_marked


@contextlib.contextmanager
def background(logs: Path) -> Iterator[Processes]:
    """Starts processes with logs in a folder. Other test runs on this machine have other marks."""
    processes = Processes(f"tests-{secrets.token_hex(4)}", logs)
    try:
        yield processes
    finally:
        end_marked(processes.rehearsal_id)
