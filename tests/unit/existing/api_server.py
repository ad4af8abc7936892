"""An API server that answers lists with a fixture's objects, and kubeconfig files that lead to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_KINDS = {
    "nodes": "Node",
    "storageclasses": "StorageClass",
    "csidrivers": "CSIDriver",
    "ingressclasses": "IngressClass",
    "runtimeclasses": "RuntimeClass",
    "daemonsets": "DaemonSet",
    "deployments": "Deployment",
    "services": "Service",
    "endpointslices": "EndpointSlice",
    "namespaces": "Namespace",
    "customresourcedefinitions": "CustomResourceDefinition",
    "clusterroles": "ClusterRole",
    "clusterrolebindings": "ClusterRoleBinding",
    "priorityclasses": "PriorityClass",
    "validatingadmissionpolicies": "ValidatingAdmissionPolicy",
    "validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
    "secrets": "Secret",
}


@dataclass
class ApiServer:
    """What the server has, how it answers, and what it was asked."""

    objects: list[dict[str, Any]]
    version: str = "v1.34.1+k3s1"
    statuses: dict[str, int] = field(default_factory=dict)
    """Statuses with which it refuses lists, by resource; `*` for all."""
    page: int = 1000
    answer: bytes | None = None
    """What it answers to everything, if it is no API server at all."""
    asked: list[tuple[str, str, dict[str, list[str]], str]] = field(default_factory=list)
    """Method, resource, query and Accept header of each request."""
    url: str = ""

    def respond(self, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        url = urlsplit(handler.path)
        resource, query = url.path.rstrip("/").rpartition("/")[2], parse_qs(url.query)
        accept = handler.headers.get("Accept", "")
        self.asked.append((handler.command, resource, query, accept))
        if self.answer is not None:
            return 200, self.answer
        if resource == "version":
            return 200, json.dumps({"gitVersion": self.version, "major": "1", "minor": "34"}).encode()
        if status := self.statuses.get(resource, self.statuses.get("*", 0)):
            return status, json.dumps({"kind": "Status", "code": status}).encode()
        items = [one for one in self.objects if one["kind"] == _KINDS[resource]]
        if "PartialObjectMetadataList" in accept:
            items = [{"metadata": one["metadata"]} for one in items]
        start = int(query.get("continue", ["0"])[0])
        more = {"continue": str(start + self.page)} if start + self.page < len(items) else {}
        # As the real one, it leaves kind and apiVersion out of the items of a list.
        page = [{key: one[key] for key in one if key not in {"kind", "apiVersion"}} for one in items]
        return 200, json.dumps({"metadata": more, "items": page[start : start + self.page]}).encode()


@contextmanager
def serving(server: ApiServer) -> Iterator[ApiServer]:
    """Serves on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = server.respond(self)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def write_kubeconfig(path: Path, servers: dict[str, str], *, current: str = "") -> Path:
    """Writes a kubeconfig with a context for each server's address, by its name."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in servers.items()],
        "users": [{"name": "ada", "user": {"token": "secret"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "ada"}} for name in servers],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
