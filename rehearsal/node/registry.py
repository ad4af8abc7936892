"""A registry of images that has none: what a node lacks is not found at once, as in a registry that answers."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 5000
# OCI Distribution, "Error Codes".
_UNKNOWN = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answers every request for an image."""
        is_base = self.path.rstrip("/") == "/v2"
        content = b"{}" if is_base else _UNKNOWN
        self.send_response(HTTPStatus.OK if is_base else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls


def serve(address: str) -> None:
    """Goes on until the process is ended."""
    ThreadingHTTPServer((address, PORT), _Handler).serve_forever()


def hosts(address: str) -> str:
    """The part of containerd's configuration that makes it ask here for images of every registry."""
    url = f"http://{address}:{PORT}"
    return f'server = "{url}"\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'
