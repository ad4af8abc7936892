"""Runs beside a notebook's server, in its container, so that a command that runs in a terminal counts as work.

Jupyter Server sees only what passes between a terminal and an open page. Without this, a training that was left running
in a terminal would end with its notebook. It needs only Python.
"""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

LOOK_SECONDS = 60


def runs_a_command(processes: Path = Path("/proc")) -> bool:
    """Whether a terminal runs a command in the foreground, not only its shell.

    proc_pid_stat(5): a process in the terminal's foreground group, which is not the group of the session's leader.
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
    """Sends the server a request, which it counts as work. Raises OSError."""
    service = urlsplit(environment["JUPYTERHUB_SERVICE_URL"])
    url = f"http://127.0.0.1:{service.port}{service.path.rstrip('/')}/api/terminals"
    headers = {"Authorization": f"token {environment['JUPYTERHUB_API_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20):
        pass


def main() -> None:
    """Looks again and again while its parent, the server's process, lives."""
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
