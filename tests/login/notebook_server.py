"""A server that answers for notebooks: no containers run in the tests of sign-in."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import jupyterhub


@dataclass
class Notebook:
    """What a notebook's server reports: for how many seconds it was idle, and whether a kernel computes.

    It does not answer the next `unanswered` requests. `asked_by` are the tokens of the requests that it got.
    """

    quiet_for: float = 0
    computes: bool = False
    unanswered: float = 0
    asked_by: list[str] = field(default_factory=list)

    def answer(self, question: str, token: str) -> Any:
        """Jupyter Server's status; None if it does not answer."""
        if question in ("status", "kernels"):
            self.asked_by.append(token)
            if self.unanswered:
                self.unanswered -= 1
                return None
        if question == "status":
            return {"last_activity": (datetime.now(UTC) - timedelta(seconds=self.quiet_for)).isoformat()}
        if question == "kernels":
            return [{"execution_state": "busy" if self.computes else "idle"}]
        return {"version": "2"}


NotebookServer: TypeAlias = Callable[[defaultdict[str, Notebook]], AbstractContextManager[int]]
"""The server that answers for notebooks, at a port of this machine."""


@contextmanager
def plain_server(notebooks: defaultdict[str, Notebook]) -> Iterator[int]:
    """A server that answers as Jupyter Server does at the paths that the hub and its culler ask for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = re.match(r"/jupyter/user/([^/]+)/(?:([^/]+)/)?api(?:/(\w+))?", self.path)
            assert asked, self.path
            person, server, question = asked.groups(default="")
            answer = notebooks[f"{person}/{server}"].answer(
                question, self.headers.get("Authorization", "").removeprefix("token ")
            )
            if answer is None:
                self.close_connection = True
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
