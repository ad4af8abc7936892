"""Programs in a terminal count as work: detected in real terminals, and reported to the notebook's server."""

from __future__ import annotations

import os
import pty
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.hub.inside.notebook_terminals import report, runs_a_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="notebooks run on Linux, and have /proc")
WAIT_SECONDS = 60


class Terminal:
    """A shell in a terminal like Jupyter's, and what /proc shows of its processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execv("/bin/bash", ["bash", "--norc", "--noprofile"])

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def processes(self) -> Path:
        """Only those of this terminal: others do not belong to the test."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[3]) == self.pid:
                copy = self._folder / file.parent.name / "stat"
                copy.parent.mkdir(parents=True)
                copy.write_text(text, encoding="utf-8")
        return self._folder

    def end(self) -> None:
        os.kill(self.pid, 9)
        os.close(self._master)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path / "proc")
    yield made
    made.end()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_command_counts_while_it_runs_and_a_shell_that_waits_does_not(terminal: Terminal) -> None:
    until(lambda: any(terminal.processes().iterdir()))
    assert not runs_a_command(terminal.processes())
    # Nothing is printed: only the process tells.
    terminal.type("cat > /dev/null\n")
    until(lambda: runs_a_command(terminal.processes()))
    # The end of its input waits for it; Ctrl-C would be lost on a shell that is about to become the command.
    terminal.type("\x04")
    until(lambda: not runs_a_command(terminal.processes()))


def test_it_is_reported_at_the_servers_own_address_with_its_token() -> None:
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        service = f"http://0.0.0.0:{server.server_port}/jupyter/user/ada/second/"
        report({"JUPYTERHUB_SERVICE_URL": service, "JUPYTERHUB_API_TOKEN": "secret"})
        thread.join()
    assert seen == [("/jupyter/user/ada/second/api/terminals", "token secret")]
