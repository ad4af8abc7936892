"""An API server with the objects that a test gives it, and the client by which verify asks it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from verify.cluster_api import ClusterApi

Object = dict[str, Any]


@contextlib.contextmanager
def serving(folder: Path, answers: dict[str, Any], *, refused: Collection[str] = ()) -> Iterator[ClusterApi]:
    """A client of a server that has these answers by path: a list of objects, one object, or a text.

    Objects of a collection are found by the labels that a request selects. What is made is an answer too, unless there
    is one: that is what became of it. What is deleted goes from the answers; paths that are `refused` can't be deleted.
    The kubeconfig is a file of that name in the folder.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            found = answers.get(address.path)
            if isinstance(found, list):
                query = parse_qs(address.query)
                wanted = dict(one.split("=") for one in query.get("labelSelector", [""])[0].split(",") if one)
                found = {"items": [one for one in found if wanted.items() <= one["metadata"].get("labels", {}).items()]}
            self._answer(200 if found is not None else 404, found)

        def do_POST(self) -> None:
            made = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.setdefault(f"{self.path}/{made['metadata']['name']}", made)
            self._answer(201, made)

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path in refused:
                self._answer(403, {"message": "forbidden"})
                return
            self._answer(200 if answers.pop(self.path, None) else 404, {})

        def _answer(self, status: int, found: Any) -> None:
            body = (found if isinstance(found, str) else json.dumps(found or {"message": "not found"})).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{server.server_port}")), encoding="utf-8")
    try:
        yield ClusterApi(str(kubeconfig), None)
    finally:
        server.shutdown()
        server.server_close()


def _kubeconfig(url: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": url}}],
        "users": [{"name": "one", "user": {"token": "a-token"}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
