"""A kernel of a notebook over its web socket, which runs code (Jupyter's messaging protocol 5.3)."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from .verify_client import Server

_CONNECT_SECONDS = 60
_DEAD = ("restarting", "dead", "autorestarting")
_SAID_LINES = 30


class CellFailed(Exception):
    """Code that raised an error in the notebook; its text is the error, `traceback` the last lines of it."""

    def __init__(self, words: str, traceback: str) -> None:
        super().__init__(words)
        self.traceback = traceback


class KernelDied(Exception):
    """The kernel ended while code ran in it, or the notebook with it."""


class StillRunning(Exception):
    """Code that has not ended in time."""


class Kernel:
    """A running kernel. `Kernel.started` makes one."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name

    @classmethod
    async def started(cls, server: Server) -> Kernel:
        """A new kernel of the notebook's default kind. Raises HubRefused and OSError."""
        return cls(server, (await server.api("POST", "kernels", {}))["id"])

    async def run(self, code: str, seconds: float) -> str:
        """What the code prints. Raises CellFailed, KernelDied, StillRunning and OSError."""
        connection = await self._connected()
        try:
            message = _execute(code)
            await connection.write_message(json.dumps(message))
            return await asyncio.wait_for(_printed(connection, message["header"]["msg_id"]), seconds)
        except TimeoutError:
            raise StillRunning(f"it still runs after {seconds:.0f} s") from None
        finally:
            connection.close()

    async def end(self) -> None:
        """Ends it. Raises HubRefused and OSError."""
        await self._server.api("DELETE", f"kernels/{self._name}")

    async def _connected(self) -> WebSocketClientConnection:
        address = self._server.url.replace("http", "ws", 1)
        request = HTTPRequest(
            f"{address}api/kernels/{self._name}/channels?session_id={uuid.uuid4().hex}",
            headers={"Host": self._server.host, "Authorization": f"token {self._server.token}"},
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_CONNECT_SECONDS,
        )
        try:
            return await websocket_connect(request)
        except HTTPClientError as error:
            raise ConnectionError(f"the kernel's web socket does not open: {error}") from None


def _execute(code: str) -> dict[str, Any]:
    """The message that runs code ("Execute" of the protocol)."""
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


async def _printed(connection: WebSocketClientConnection, id: str) -> str:
    printed: list[str] = []
    while True:
        received = await connection.read_message()
        if received is None:
            raise KernelDied("the notebook ended while the code ran")
        answer: Mapping[str, Any] = json.loads(received)
        kind, content = answer["header"]["msg_type"], answer["content"]
        if kind == "status" and content["execution_state"] in _DEAD:
            raise KernelDied("the kernel ended while the code ran")
        if answer["parent_header"].get("msg_id") != id:
            continue
        if kind == "stream" and content["name"] == "stdout":
            printed.append(content["text"])
        elif kind == "error":
            lines = "\n".join(content.get("traceback") or ()).splitlines()
            raise CellFailed(f"{content['ename']}: {content['evalue']}", "\n".join(lines[-_SAID_LINES:]))
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(printed)
