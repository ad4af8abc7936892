"""Runs beside a notebook's server, in its container: has it count a command that runs in a terminal as work.

Jupyter Server knows of terminals only what passes through an open page. A training that somebody has left running in a
terminal would be ended with the notebook. It needs nothing but Python.
"""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

LOOK_SECONDS = 60


def runs_a_command(processes: Path = Path("/proc")) -> bool:
    """Whether a terminal has a command in the foreground, other than the shell that waits there.

    proc_pid_stat(5): a process of the group that has the terminal, which is not that of the session's leader.
    """
    for file in processes.glob("[0-9]*/stat"):
        try:
            _, _, fields = file.read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            # It has ended meanwhile.
            continue
        group, session, terminal, in_foreground = map(int, fields.split()[2:6])
        if terminal and group == in_foreground != session:
            return True
    return False


def report(environment: dict[str, str]) -> None:
    """Asks the server for something, which it counts as work. Raises OSError."""
    service = urlsplit(environment["JUPYTERHUB_SERVICE_URL"])
    url = f"http://127.0.0.1:{service.port}{service.path.rstrip('/')}/api/terminals"
    headers = {"Authorization": f"token {environment['JUPYTERHUB_API_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20):
        pass


def main() -> None:
    """Looks again and again, as long as the server's process lives, whose child this is."""
    server = os.getppid()
    while os.getppid() == server:
        time.sleep(LOOK_SECONDS)
        try:
            if runs_a_command():
                report(dict(os.environ))
        except OSError as error:
            print(f"A terminal's command is not counted as work: {error}", flush=True)


if __name__ == "__main__":
    main()
