"""What a notebook can reach and what it runs as, as seen by code that runs in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from components.teams.names import HUB_NAMESPACE, HUB_PORT, NOTEBOOK_PORT
from rehearsal.controllers.world import place

from .notebook import Notebook
from .site import METADATA, METADATA_PORT, Site

OTHER_SERVICE = "other-team"
_TRY = """
import json, socket
places = json.loads({places!r})
answers = {{}}
for name, (host, port) in places.items():
    try:
        socket.create_connection((host, port), timeout=4).close()
        answers[name] = True
    except OSError:
        answers[name] = False
print(json.dumps(answers))
"""
_WHO = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": int(status["CapEff"], 16),
    "may gain privileges": status["NoNewPrivs"].strip() != "1",
    "has a token of the cluster": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
}))
"""


@contextlib.contextmanager
def published(site: Site) -> Iterator[None]:
    """The notebooks of the team research have a Service during the block."""
    path = place("/api/v1/services", OTHER_SERVICE, "team-research")
    ports = [{"port": NOTEBOOK_PORT, "targetPort": NOTEBOOK_PORT}]
    service = {
        "metadata": {"name": OTHER_SERVICE, "namespace": "team-research"},
        "spec": {"selector": {"component": "singleuser-server"}, "ports": ports},
    }
    site.kubernetes.create(path, service)
    try:
        yield
    finally:
        site.kubernetes.delete(path)


def reached(site: Site, notebook: Notebook) -> dict[str, bool]:
    """Which places answer a notebook, by what they are; the hub is one of them."""
    server = urlsplit(site.kubernetes.server)
    kubernetes = site.kubernetes.request("GET", place("/api/v1/services", "kubernetes", "default"))
    places = {
        "the hub": (f"hub.{HUB_NAMESPACE}.svc.cluster.local", HUB_PORT),
        "the instance metadata": (METADATA, METADATA_PORT),
        "the API server": (server.hostname, server.port),
        "the API server's Service": (kubernetes["spec"]["clusterIP"], 443),
        "another team's Service": (f"{OTHER_SERVICE}.team-research.svc.cluster.local", NOTEBOOK_PORT),
    }
    return json.loads(notebook.run(_TRY.format(places=json.dumps(places))))


def is_confined(answers: Mapping[str, bool]) -> None:
    """Fails if a notebook reaches more than the hub, or not even that."""
    assert answers["the hub"], "the notebook does not reach the hub"
    found = sorted(name for name, answered in answers.items() if answered and name != "the hub")
    assert not found, f"the notebook reaches {', '.join(found)}"


def has_no_privileges(notebook: Notebook) -> None:
    """Fails if a notebook runs as more than an ordinary user."""
    found = json.loads(notebook.run(_WHO))
    assert found == {
        "uid": 1000,
        "capabilities": 0,
        "may gain privileges": False,
        "has a token of the cluster": False,
    }


def has_shared_memory(notebook: Notebook) -> None:
    """Fails if a notebook can't share more than a container's usual 64 MiB between its processes."""
    size = int(notebook.shell("df --output=size --block-size=1M /dev/shm | tail -n 1"))
    assert size >= 512, f"/dev/shm has {size} MiB, and half of the notebook's memory are 512"
    # It is memory in truth.
    written = notebook.shell("dd if=/dev/zero of=/dev/shm/large bs=1M count=300 2>&1 && rm /dev/shm/large")
    assert "300+0 records out" in written, written
