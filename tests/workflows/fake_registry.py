"""A server with the answers that tests set: charts, images, Python packages, Go modules, releases, advisories."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token-of-nobody"


@dataclass
class FakeRegistry:
    """Answers by path. `tags`, `digests` and `affected` (by package and version) are what its special paths serve."""

    host: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, list[list[str]]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    affected: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def serve(self, path: str, content: Any) -> None:
        """Bytes and text as they are, all else as JSON."""
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.files[path] = content

    def image(self, path: str) -> tuple[Mapping[str, str], bytes] | None:
        """Tags page by page, and digests, as a registry answers a client with a token."""
        name, _, rest = path.removeprefix("/v2/").partition("/tags/list" if "/tags/list" in path else "/manifests/")
        if "/tags/list" in path:
            pages = self.tags.get(name)
            if pages is None:
                return None
            number = int(rest.rpartition("page=")[2]) if "page=" in rest else 0
            more = {"Link": f'</v2/{name}/tags/list?page={number + 1}>; rel="next"'} if number + 1 < len(pages) else {}
            return more, json.dumps({"name": name, "tags": pages[number]}).encode()
        digest = self.digests.get(f"{name}:{rest}")
        return ({"Docker-Content-Digest": digest}, b"") if digest else None

    def advisories(self, queries: list[dict[str, Any]]) -> bytes:
        found = [self.affected.get((one["package"]["name"], one["version"]), []) for one in queries]
        return json.dumps(
            {"results": [{"vulns": [{"id": id_} for id_ in ids]} if ids else {} for ids in found]}
        ).encode()


class _Server(ThreadingHTTPServer):
    """Answers with what its registry holds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = FakeRegistry(host=f"127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # type: ignore[assignment]

    def do_GET(self) -> None:
        registry, path = self.server.registry, self.path.partition("?")[0]
        registry.asked.append(f"{self.command} {path}")
        if path == "/token":
            self.answer(200, json.dumps({"token": TOKEN}).encode())
        elif path.startswith("/v2/"):
            self.answer_image(registry)
        elif path in registry.files:
            kind = "text/html" if path.startswith("/simple/") else "application/octet-stream"
            self.answer(200, registry.files[path], {"Content-Type": kind})
        else:
            self.answer(404)

    do_HEAD = do_GET  # noqa: N815

    def answer_image(self, registry: FakeRegistry) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="{registry.url}/token",service="fake",scope="repository:x:pull"'
            self.answer(401, headers={"WWW-Authenticate": challenge})
        elif found := registry.image(self.path):
            self.answer(200, found[1], found[0])
        else:
            self.answer(404)

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.answer(200, self.server.registry.advisories(queries))

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """The server, on a free port, until the block ends."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
