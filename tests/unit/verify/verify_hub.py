"""A hub and its notebook for verify: the API as JupyterHub has it, and a kernel that answers as a test sets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from components.hub.inside.verify_account import NAME

SERVICE_TOKEN = "of-the-service"
RUN_TOKEN = "of-the-run"


@dataclass
class FakeHub:
    """What becomes of a start (`failed`: the hub's words), and of cells: `answers` by what their code contains.

    `refuses` are statuses and words by the end of a path. `log` has each request of the API.
    """

    failed: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    running: bool = False
    log: list[str] = field(default_factory=list)
    address: str = ""

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answers at `address` during the block, in a thread of its own."""
        started, loops = threading.Event(), []

        async def serve() -> None:
            socket, port = bind_unused_port()
            server = HTTPServer(Application([(r".*/channels", _Kernel, {"hub": self}), (r".*", _Api, {"hub": self})]))
            server.add_socket(socket)
            self.address = f"http://localhost:{port}"
            end = asyncio.Event()
            loops.append((asyncio.get_running_loop(), end))
            started.set()
            await end.wait()
            server.stop()
            await server.close_all_connections()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        started.wait()
        try:
            yield
        finally:
            loop, end = loops[0]
            loop.call_soon_threadsafe(end.set)
            thread.join()


class _Api(RequestHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def prepare(self) -> None:
        path = self.request.path.partition("/hub/api/")[2] or self.request.path
        self.hub.log.append(f"{self.request.method} {path}")
        for end, (status, words) in self.hub.refuses.items():
            if path.endswith(end):
                self.set_status(status)
                self.finish({"status": status, "message": words})
                return
        if self.request.headers["Authorization"] not in (f"token {SERVICE_TOKEN}", f"token {RUN_TOKEN}"):
            self.set_status(403)
            self.finish({"status": 403, "message": "Missing or invalid credentials."})
            return
        self._answered(path)

    async def _any(self) -> None:
        """`prepare` has answered."""

    get = post = delete = _any

    def _answered(self, path: str) -> None:
        hub, method = self.hub, self.request.method
        match method, path:
            case "GET", "user":
                self.finish({"kind": "service", "name": NAME})
            case "POST", "gpulab/verify":
                self.set_status(409 if hub.running else 201)
                hub.users.add(NAME)
                self.finish({"message": "another run's notebook is there"} if hub.running else {"token": RUN_TOKEN})
            case "DELETE", "users/gpulab-verify":
                self.set_status(204 if NAME in hub.users else 404)
                hub.users.discard(NAME)
                hub.running = False
                self.finish()
            case "POST", "users/gpulab-verify/server":
                hub.running = not hub.failed
                self.set_status(202)
                self.finish()
            case "GET", "users/gpulab-verify/server/progress":
                event = {"failed": True, "message": hub.failed} if hub.failed else {"ready": True, "message": "Ready"}
                self.finish(f"data: {json.dumps({'message': 'It has a machine.'})}\n\ndata: {json.dumps(event)}\n\n")
            case "DELETE", "users/gpulab-verify/server":
                hub.running = False
                self.set_status(204)
                self.finish()
            case "GET", "users/gpulab-verify":
                servers = {"": {"url": f"/jupyter/user/{NAME}/"}} if hub.running else {}
                self.finish({"name": NAME, "servers": servers})
            case "POST", _ if path.endswith("/api/kernels"):
                self.set_status(201)
                self.finish({"id": "k1"})
            case _:
                self.set_status(404)
                self.finish({"message": "Not Found"})


class _Kernel(WebSocketHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def on_message(self, message: str | bytes) -> None:
        sent = json.loads(message)
        code = sent["content"]["code"]

        def say(kind: str, content: Any) -> None:
            parent = {"msg_id": sent["header"]["msg_id"]}
            self.write_message(json.dumps({"header": {"msg_type": kind}, "parent_header": parent, "content": content}))

        answer = next((found for part, found in self.hub.answers.items() if f"dumps({part}" in code), None)
        if answer == "dies":
            say("status", {"execution_state": "restarting"})
        elif isinstance(answer, str):
            say("error", {"ename": "RuntimeError", "evalue": answer, "traceback": [f"line 1\nRuntimeError: {answer}"]})
        elif answer is not None:
            say("stream", {"name": "stdout", "text": json.dumps(answer)})
        say("status", {"execution_state": "idle"})
