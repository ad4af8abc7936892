"""A real JupyterHub with the configuration of the platform's, beside a real Keycloak and a real API server.

In place of the proxy there is a table of routes: people reach the hub itself. No container runs, so every notebook's
server is one of this process, which says what it is told to. As in the cluster, the hub is told to be found at a
name for other pods; nothing has that name here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jupyterhub
from background import background
from browser import Answer, Browser, page_text
from keycloak_lab import KeycloakLab

from components.team_names import HUB_NAMESPACE
from rehearsal.controllers.world import Kubernetes, Object
from rehearsal.processes import MARK, answers
from rehearsal.workspace import PROJECT

START_SECONDS = 120

# As the chart is told; where the hub's own process should go by it, no test would end.
CONNECT_NAME = f"hub.{HUB_NAMESPACE}.svc.cluster.local"

_CONFIG = """
import os
import sys
sys.path.insert(0, {project!r})
from jupyterhub.proxy import Proxy
from components.hub.config import configure


class Routes(Proxy):
    should_start = False
    routes = {{}}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {{"routespec": routespec, "target": target, "data": data}}

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)

    async def get_all_routes(self):
        return self.routes


c = get_config()  # noqa: F821
c.JupyterHub.proxy_class = Routes
c.JupyterHub.base_url = "/jupyter/"
c.JupyterHub.hub_bind_url = "http://localhost:{port}"
c.JupyterHub.hub_connect_url = {connect_url!r}
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie-secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.KubeSpawner.namespace = {namespace!r}
configure(c, {catalogue!r})
# A service gets nothing of the hub's environment; the mark is by what it is found and ended, if the hub is killed.
for service in c.JupyterHub.services:
    service["environment"] |= {{{mark!r}: os.environ[{mark!r}]}}
c.KubeSpawner.get_pod_url = lambda spawner, pod: "http://127.0.0.1:{notebook_port}"
"""


@dataclass
class Notebook:
    """What the server of a notebook says: for how many seconds nothing was done in it, and whether a kernel computes.

    Of the next questions it leaves `unanswered` many. `asked_by` are the tokens by which it was asked.
    """

    quiet_for: float = 0
    computes: bool = False
    unanswered: float = 0
    asked_by: list[str] = field(default_factory=list)

    def answer(self, question: str, token: str) -> Any:
        """What Jupyter Server says of itself; None where it says nothing."""
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


@dataclass(frozen=True)
class HubLab:
    """`url` is the hub as people and notebooks reach it."""

    url: str
    keycloak: KeycloakLab
    kubernetes: Kubernetes
    notebooks: defaultdict[str, Notebook]
    log: Path

    def notebook(self, person: str, server: str = "") -> Notebook:
        """What somebody's notebook says; it may be told before it starts."""
        return self.notebooks[f"{person}/{server}"]

    def here(self, url: str) -> str:
        """What the hub tells others of itself, as it is reached from here."""
        told = urlsplit(url)
        assert told.hostname == CONNECT_NAME, url
        return told._replace(netloc=urlsplit(self.url).netloc).geturl()

    def person(self) -> Person:
        """Somebody with a browser of their own."""
        return Person(self)

    def pods(self, namespace: str) -> list[Object]:
        """The pods of a namespace that are not on their way out."""
        found = self.kubernetes.list(f"/api/v1/namespaces/{namespace}/pods")
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]


class Person:
    """A browser that goes between the hub and Keycloak."""

    def __init__(self, lab: HubLab) -> None:
        self._lab = lab
        self.at_hub = Browser(lab.url.partition("/jupyter")[0])
        self.at_keycloak = Browser(lab.keycloak.public)

    def open(self, path: str, data: dict[str, str] | None = None) -> Answer:
        """A page of the hub; where it sends the browser to Keycloak, Keycloak's page."""
        answer = self.at_hub.go(f"{self._lab.url}{path}", data)
        return self._followed(answer)

    def sign_in(self, name: str, password: str, path: str = "/hub/home") -> Answer:
        """Fills in Keycloak's form, to which the hub leads, and comes back."""
        page = self.open(path)
        assert page.asks_for("username"), page_text(page.text)
        return self._followed(self.at_keycloak.submit(page, username=name, password=password))

    def choose(self, profile: str, path: str = "/hub/spawn") -> Answer:
        """Sends the form that starts a notebook; a named one's is at /hub/spawn/PERSON/NAME."""
        page = self.open(path)
        action, hidden = page.form
        return self._followed(self.at_hub.go(f"{self.at_hub.home}{action}", {**hidden, "profile": profile}))

    def api(self, path: str) -> Answer:
        """The hub's API, asked by the page that the browser shows."""
        return self.at_hub.go(f"{self._lab.url}/hub/api{path}")

    def _followed(self, answer: Answer) -> Answer:
        while answer.status in (302, 303):
            location = answer.location
            if location.startswith("/"):
                answer = self.at_hub.go(f"{self.at_hub.home}{location}")
            elif location.startswith(self.at_keycloak.home):
                answer = self.at_keycloak.go(location)
            elif location.startswith(self.at_hub.home):
                answer = self.at_hub.go(location)
            else:
                return answer
        return answer


@contextmanager
def running_hub(
    folder: Path,
    *,
    port: int,
    keycloak: KeycloakLab,
    client_secret: str,
    document: Object,
    kubernetes: Kubernetes,
    kubeconfig: Path,
) -> Iterator[HubLab]:
    """The hub, whose account is that of `kubeconfig`; it ends with the block."""
    url = f"http://localhost:{port}/jupyter"
    notebooks: defaultdict[str, Notebook] = defaultdict(Notebook)
    (folder / "catalogue.json").write_text(json.dumps(document), encoding="utf-8")
    with _notebook_server(notebooks) as notebook_port:
        config = _CONFIG.format(
            project=str(PROJECT),
            folder=folder,
            port=port,
            connect_url=f"http://{CONNECT_NAME}:{port}",
            namespace=HUB_NAMESPACE,
            catalogue=str(folder / "catalogue.json"),
            notebook_port=notebook_port,
            mark=MARK,
        )
        (folder / "jupyterhub_config.py").write_text(config, encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(kubeconfig),
            "OAUTH_CLIENT_SECRET": client_secret,
            "JUPYTERHUB_CRYPT_KEY": "0" * 64,
        }
        command = [sys.executable, "-m", "jupyterhub", "--config", folder / "jupyterhub_config.py", "--debug"]
        with background(folder / "logs") as processes:
            processes.start("hub", command, environment)
            processes.wait_until("hub", lambda: answers(f"{url}/hub/health"), seconds=START_SECONDS)
            yield HubLab(url, keycloak, kubernetes, notebooks, processes.log_path("hub"))


@contextmanager
def _notebook_server(notebooks: defaultdict[str, Notebook]) -> Iterator[int]:
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
