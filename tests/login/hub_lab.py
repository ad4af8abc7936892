"""A real JupyterHub with the platform's configuration, a real Keycloak and a real API server.

A table of routes replaces the proxy: people reach the hub directly. No containers run, so a server in this process
answers for every notebook, as the test sets it. As in the cluster, the hub's address for other pods is a name; here
nothing has that name.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from background import background
from browser import Answer, Browser, page_text
from keycloak_lab import KeycloakLab
from notebook_lab import hub_kubeconfig
from notebook_server import Notebook, NotebookServer, plain_server

from components.hub import values as jupyterhub_values
from components.hub.catalogue_from_settings import catalogue
from components.identity.realm.realm import REALM
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE
from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.machine.processes import MARK, answers, free_ports
from rehearsal.machine.workspace import PROJECT
from settings import EksSettings

START_SECONDS = 120
WAIT_SECONDS = 240
# What nobody has to be in time for: the labs' notebooks say how long they have been quiet, which is always as long.
IDLE_SECONDS = 5
PASSWORD = "Correct-Horse-7-Battery"

# As the chart is told; where the hub's own process should go by it, no test would end.
CONNECT_NAME = f"hub.{HUB_NAMESPACE}.svc.cluster.local"

_CONFIG = """
import json
import os
import sys
sys.path.insert(0, {project!r})
from jupyterhub.proxy import Proxy
from components.hub.inside.config import configure


class Routes(Proxy):
    should_start = False
    routes = {{}}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {{"routespec": routespec, "target": target, "data": data}}
        self.tell()

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)
        self.tell()

    async def get_all_routes(self):
        return self.routes

    def tell(self):
        with open("{folder}/routes.new", "w") as file:
            json.dump({{routespec: one["target"] for routespec, one in self.routes.items()}}, file)
        os.replace("{folder}/routes.new", "{folder}/routes.json")


c = get_config()  # noqa: F821
c.JupyterHub.update({by_chart!r})
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
    if "command" in service:
        service["environment"] |= {{{mark!r}: os.environ[{mark!r}]}}
c.KubeSpawner.get_pod_url = lambda spawner, pod: "http://127.0.0.1:{notebook_port}"
"""


@dataclass(frozen=True)
class HubLab:
    """`url` is the hub's address for people and notebooks."""

    url: str
    keycloak: KeycloakLab
    kubernetes: Kubernetes
    notebooks: defaultdict[str, Notebook]
    log: Path
    folder: Path

    def notebook(self, person: str, server: str = "") -> Notebook:
        """The answers of a person's notebook, which a test may set before it starts."""
        return self.notebooks[f"{person}/{server}"]

    def here(self, url: str) -> str:
        """The hub's own address for others, as it is reached from here."""
        told = urlsplit(url)
        assert told.hostname == CONNECT_NAME, url
        return told._replace(netloc=f"localhost:{urlsplit(self.url).port}").geturl()

    @property
    def routes(self) -> dict[str, str]:
        """Where the proxy would send requests, by host and path, or by path only."""
        return json.loads((self.folder / "routes.json").read_text(encoding="utf-8"))

    def person(self) -> Person:
        """A person with their own browser."""
        return Person(self)

    def pods(self, namespace: str) -> list[Object]:
        """The pods of a namespace that are not being deleted."""
        found = self.kubernetes.list(f"/api/v1/namespaces/{namespace}/pods")
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]


class Person:
    """A browser that follows redirects between the hub and Keycloak."""

    def __init__(self, lab: HubLab) -> None:
        self._lab = lab
        self.at_hub = Browser(lab.url.partition("/jupyter")[0])
        self.at_keycloak = Browser(lab.keycloak.public)

    def open(self, path: str, data: dict[str, str] | None = None) -> Answer:
        """A page of the hub; or Keycloak's page, if the hub redirects to it."""
        answer = self.at_hub.go(f"{self._lab.url}{path}", data)
        return self._followed(answer)

    def sign_in(self, name: str, password: str, path: str = "/hub/home") -> Answer:
        """Fills in Keycloak's form, to which the hub leads, and comes back."""
        page = self.open(path)
        assert page.asks_for("username"), page_text(page.text)
        return self._followed(self.at_keycloak.submit(page, username=name, password=password))

    def choose(self, profile: str, path: str = "/hub/spawn", **options: str) -> Answer:
        """Sends the form that starts a notebook; a named one's is at /hub/spawn/PERSON/NAME."""
        chosen = {f"profile-option-{profile}--{name}": value for name, value in options.items()}
        page = self.open(path)
        action, hidden = page.form
        return self._followed(self.at_hub.go(f"{self.at_hub.home}{action}", {**hidden, "profile": profile, **chosen}))

    def api(self, path: str) -> Answer:
        """Calls the hub's API as the page in the browser does."""
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
def hub_of(
    stack: EksSettings,
    folder: Path,
    *,
    keycloak: KeycloakLab,
    administrators: Path,
    given: Mapping[str, Mapping[str, Any]],
    notebook_server: NotebookServer | None = None,
) -> Iterator[HubLab]:
    """The hub of a stack, which asks Keycloak for people's groups at each request.

    `administrators` is the kubeconfig of a control plane with the stack's teams. `given` changes the catalogue: the
    section `hub`, or profiles by name.
    """
    assert stack.identity
    (port,) = free_ports(1)
    host = urlsplit(PlatformUrls.of(stack.ingress.domain).platform).hostname or ""
    platform = f"http://{host}:{port}"
    keycloak.forget()
    secrets = keycloak.apply(stack.identity, PlatformUrls(keycloak.public, platform), tuple(stack.teams))
    document: Any = catalogue(stack)
    document["hub"] |= {
        "platformUrl": platform,
        "realmUrl": keycloak.realm_url,
        "realmUrlInside": f"{keycloak.url}/realms/{REALM}",
        "refreshGroupsSeconds": 1,
    }
    for section, changes in given.items():
        (document["hub"] if section == "hub" else document["profiles"][section]).update(changes)
    by_chart = jupyterhub_values.jupyterhub(stack)
    if "subdomain_host" in by_chart:
        by_chart["subdomain_host"] = platform
    kubernetes = Kubernetes(administrators)
    with running_hub(
        folder,
        port=port,
        host=host,
        keycloak=keycloak,
        client_secret=secrets["CLIENT_JUPYTERHUB_SECRET"],
        document=document,
        kubernetes=kubernetes,
        kubeconfig=hub_kubeconfig(kubernetes, administrators, folder),
        by_chart=by_chart,
        notebook_server=notebook_server or plain_server,
    ) as running:
        yield running


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
    host: str,
    by_chart: Mapping[str, Any],
    notebook_server: NotebookServer,
) -> Iterator[HubLab]:
    """The hub, whose account is that of `kubeconfig`; it ends with the block.

    `host` is its name, for people who find this machine by it; `by_chart` is what the chart sets of JupyterHub's own.
    """
    notebooks: defaultdict[str, Notebook] = defaultdict(Notebook)
    with notebook_server(notebooks) as notebook_port:
        variables = {"KUBECONFIG": str(kubeconfig), "OAUTH_CLIENT_SECRET": client_secret}
        with started_hub(
            folder,
            port=port,
            document=document,
            by_chart=by_chart,
            notebook_port=notebook_port,
            variables=variables,
        ) as log:
            yield HubLab(f"http://{host}:{port}/jupyter", keycloak, kubernetes, notebooks, log, folder)


@contextmanager
def started_hub(
    folder: Path,
    *,
    port: int,
    document: Object,
    by_chart: Mapping[str, Any],
    notebook_port: int,
    variables: Mapping[str, str],
) -> Iterator[Path]:
    """JupyterHub's own process at a port, with these variables of environment; its log. It ends with the block."""
    (folder / "catalogue.json").write_text(json.dumps(document), encoding="utf-8")
    config = _CONFIG.format(
        project=str(PROJECT),
        folder=folder,
        port=port,
        connect_url=f"http://{CONNECT_NAME}:{port}",
        namespace=HUB_NAMESPACE,
        by_chart=by_chart,
        catalogue=str(folder / "catalogue.json"),
        notebook_port=notebook_port,
        mark=MARK,
    )
    (folder / "jupyterhub_config.py").write_text(config, encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "JUPYTERHUB_CRYPT_KEY": "0" * 64,
        **variables,
    }
    command = [sys.executable, "-m", "jupyterhub", "--config", folder / "jupyterhub_config.py", "--debug"]
    with background(folder / "logs") as processes:
        processes.start("hub", command, environment)
        healthy = f"http://localhost:{port}/jupyter/hub/health"
        processes.wait_until("hub", lambda: answers(healthy), seconds=START_SECONDS)
        yield processes.log_path("hub")


def variables_of(kubernetes: Kubernetes, pod: Object) -> dict[str, str]:
    """What the notebook's container has in its environment; values of Secrets are read there, as a kubelet does."""
    found = {}
    for one in pod["spec"]["containers"][0]["env"]:
        value = one.get("value", "")
        if key := one.get("valueFrom", {}).get("secretKeyRef"):
            secret = kubernetes.get(place("/api/v1/secrets", key["name"], pod["metadata"]["namespace"]))
            assert secret, f"the Secret of {one['name']}"
            value = base64.b64decode(secret["data"][key["key"]]).decode()
        found[one["name"]] = value
    return found


def posted(url: str, content: Any, token: str) -> int:
    """The status of the hub API's answer to a notebook."""
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


def asked(url: str, token: str) -> Any:
    """The answer of the hub's API to a request with this token."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def until(holds: Callable[[], Any], what: str) -> Any:
    """What it holds at last; WAIT_SECONDS are enough."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := holds()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.3)
    return result
