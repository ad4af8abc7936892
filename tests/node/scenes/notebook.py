"""A running notebook through its own API, with its owner's cookies: files, kernels and terminals."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests
import websocket

_SECONDS = 60
CELL_SECONDS = 120


class KernelDied(AssertionError):
    """The kernel ended while a cell ran, as it does when the notebook's memory is used up."""


@dataclass(frozen=True)
class Notebook:
    """`url` is the address of its server, without a slash at its end; `xsrf` the token of its pages."""

    session: requests.Session
    url: str
    xsrf: str = field(repr=False)

    def api(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the server's API. Raises requests.HTTPError."""
        headers = {"X-XSRFToken": self.xsrf}
        url = f"{self.url}/api/{path}"
        answer = self.session.request(method, url, json=content, headers=headers, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def write(self, path: str, content: bytes) -> None:
        """Writes a file in the home."""
        encoded = base64.b64encode(content).decode()
        self.api("PUT", f"contents/{path}", {"type": "file", "format": "base64", "content": encoded})

    def read(self, path: str) -> bytes:
        """A file of the home."""
        return base64.b64decode(self.api("GET", f"contents/{path}?type=file&format=base64")["content"])

    def kernel(self) -> Kernel:
        """A new kernel."""
        return Kernel(self, self.api("POST", "kernels", {"name": "python3"})["id"])

    def run(self, code: str, *, seconds: float = CELL_SECONDS) -> str:
        """What a cell prints, in a kernel of its own. Fails if the cell does."""
        kernel = self.kernel()
        try:
            return kernel.run(code, seconds=seconds)
        finally:
            kernel.end()

    def shell(self, command: str, *, seconds: float = CELL_SECONDS) -> str:
        """What a command prints, errors too; bash runs it as in a terminal."""
        code = (
            "import subprocess\n"
            f"done = subprocess.run(['bash', '-lc', {command!r}], capture_output=True, text=True)\n"
            "print(done.stdout + done.stderr)"
        )
        return self.run(code, seconds=seconds).strip()

    def type_in_terminal(self, command: str) -> None:
        """Types a command into a new terminal, and leaves it running there."""
        name = self.api("POST", "terminals")["name"]
        with self.connected(f"terminals/websocket/{name}") as connection:
            connection.recv()  # the shell is there
            connection.send(json.dumps(["stdin", f"{command}\r"]))
            connection.recv()

    @contextlib.contextmanager
    def connected(self, path: str) -> Iterator[websocket.WebSocket]:
        """A web socket of the server, with the owner's cookies."""
        address = f"wss{self.url.removeprefix('https')}/{path}"
        sent = requests.Request("GET", self.url + "/api/status")
        cookies = self.session.prepare_request(sent).headers.get("Cookie", "")
        connection = websocket.create_connection(
            address + ("&" if "?" in address else "?") + f"_xsrf={self.xsrf}",
            timeout=_SECONDS,
            cookie=cookies,
            origin=self.url.partition("/jupyter")[0],
            sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False},
        )
        try:
            yield connection
        finally:
            connection.close()


@dataclass(frozen=True)
class Kernel:
    """A kernel of a notebook."""

    notebook: Notebook
    id: str

    def begin(self, code: str) -> None:
        """Starts a cell, and does not wait for its end."""
        with self._channels() as connection:
            message = _execute(code)
            connection.send(json.dumps(message))
            self._until_it_runs(connection, message)

    def run(self, code: str, *, seconds: float = CELL_SECONDS) -> str:
        """What a cell prints. Raises AssertionError with its traceback if it fails, and KernelDied."""
        with self._channels() as connection:
            message = _execute(code)
            connection.send(json.dumps(message))
            return _printed(connection, message["header"]["msg_id"], seconds)

    def end(self) -> None:
        """Ends it."""
        self.notebook.api("DELETE", f"kernels/{self.id}")

    @property
    def state(self) -> str:
        """What the server says of it: idle, busy, starting, dead."""
        return self.notebook.api("GET", f"kernels/{self.id}")["execution_state"]

    def _channels(self) -> contextlib.AbstractContextManager[websocket.WebSocket]:
        return self.notebook.connected(f"api/kernels/{self.id}/channels?session_id={uuid.uuid4().hex}")

    @staticmethod
    def _until_it_runs(connection: websocket.WebSocket, message: dict[str, Any]) -> None:
        while True:
            answer = json.loads(connection.recv())
            ours = answer["parent_header"].get("msg_id") == message["header"]["msg_id"]
            if ours and answer["content"].get("execution_state") == "busy":
                return


def _execute(code: str) -> dict[str, Any]:
    """The message that runs a cell (Jupyter's messaging protocol 5.3, "Execute")."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "username": "",
        "session": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}


def _printed(connection: websocket.WebSocket, id: str, seconds: float) -> str:
    printed: list[str] = []
    deadline = time.monotonic() + seconds
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        try:
            answer = json.loads(connection.recv())
        except websocket.WebSocketTimeoutException:
            raise AssertionError(f"the cell still runs after {seconds:g} s; so far: {''.join(printed)}") from None
        kind, content = answer["header"]["msg_type"], answer["content"]
        if kind == "status" and content["execution_state"] in ("restarting", "dead", "autorestarting"):
            raise KernelDied(f"the kernel ended; the cell had printed: {''.join(printed)}")
        if answer["parent_header"].get("msg_id") != id:
            continue
        if kind == "stream":
            printed.append(content["text"])
        elif kind == "execute_result":
            printed.append(content["data"].get("text/plain", ""))
        elif kind == "error":
            raise AssertionError("\n".join([*printed, f"{content['ename']}: {content['evalue']}"]))
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(printed)
