"""Scene 6: parts of the platform are killed, one after another, and people who compute notice nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from components.identity.keycloak import NAMESPACE as IDENTITY
from components.teams.names import HUB_NAMESPACE
from rehearsal.controllers.world import PODS, place
from rehearsal.machine.processes import marked

from . import hub_changes
from .keycloak import PASSWORD
from .notebook import Kernel, Notebook
from .site import Site
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

_BACK_SECONDS = 240
_COUNTING = """
import time
number = 0
while True:
    number += 1
    open("/home/jovyan/count", "w").write(str(number))
    time.sleep(0.2)
"""

PARTS = {
    "the hub": (HUB_NAMESPACE, "component=hub"),
    "the proxy": (HUB_NAMESPACE, "component=proxy"),
    "Keycloak": (IDENTITY, "app.kubernetes.io/name=keycloakx"),
    "Keycloak's database": (IDENTITY, "cnpg.io/podRole=instance"),
}


def kill_pods(site: Site, part: str) -> None:
    """Kills a part's pods without a chance to say goodbye, and waits until others are ready."""
    namespace, selector = PARTS[part]
    collection = f"/api/v1/namespaces/{namespace}/pods"
    before = {
        pod["metadata"]["uid"]: pod["metadata"]["name"]
        for pod in site.kubernetes.list(collection, labelSelector=selector)
    }
    assert before, f"there is no pod of {part}"
    for name in before.values():
        site.kubernetes.request("DELETE", place(PODS, name, namespace), {"gracePeriodSeconds": 0})

    def back() -> bool:
        pods = site.kubernetes.list(collection, labelSelector=selector)
        ready = [
            pod
            for pod in pods
            if pod["metadata"]["uid"] not in before
            and any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
        ]
        return len(ready) == len(before)

    until(back, f"{part} is back", seconds=_BACK_SECONDS)


def kill_program(site: Site, name: str) -> None:
    """Kills a program of the node, and starts it again some seconds later, as systemd would."""
    (found,) = [one for one in marked(site.rehearsal.session.id) if one.name() == name]
    command, environment = found.cmdline(), found.environ()
    found.send_signal(signal.SIGKILL)
    time.sleep(5)
    site.machine.start(f"{name}-again", command, environment)


@contextlib.contextmanager
def computing(notebook: Notebook) -> Iterator[Kernel]:
    """A cell counts during the block, and does not stop."""
    kernel = notebook.kernel()
    kernel.begin(_COUNTING)
    yield kernel
    kernel.end()


def count(site: Site, person: str) -> int:
    """What the cell has counted, as the home's volume has it: without the notebook's server, or the hub."""
    claims = site.kubernetes.list("/api/v1/namespaces/team-vision/persistentvolumeclaims")
    (claim,) = [one for one in claims if one["metadata"]["name"] == f"home-{person}"]
    volume = site.kubernetes.request("GET", place("/api/v1/persistentvolumes", claim["spec"]["volumeName"]))
    folder = (volume["spec"].get("hostPath") or volume["spec"]["local"])["path"]
    return int(site.machine.path(f"{folder}/count").read_text(encoding="utf-8") or 0)


@pytest.mark.parametrize("part", [*PARTS, "kubelet", "containerd"])
def test_who_computes_goes_on_and_stays_signed_in(site: Site, visitor: Callable[..., Visitor], part: str) -> None:
    person = visitor("/vision/developer")
    name = person.name
    notebook = person.started("vision_python")
    notebook.write("kept.txt", b"kept")
    uid = (site.notebook("vision", name) or {})["metadata"]["uid"]
    with computing(notebook) as kernel:
        until(lambda: count(site, name) > 3, "the cell counts")
        before = count(site, name)
        if part in PARTS:
            kill_pods(site, part)
        else:
            kill_program(site, part)
        until(lambda: count(site, name) > before + 3, "the cell counts on")
        hub_changes.wait_for_answer()
        # The proxy learns its routes again from the hub.
        until(lambda: reachable(person), "the person is in the notebook again", seconds=_BACK_SECONDS)
        assert kernel.state == "busy"
    found = site.notebook("vision", name)
    assert found, "the notebook has ended"
    assert found["metadata"]["uid"] == uid, "it is another notebook"
    assert notebook.read("kept.txt") == b"kept"
    until(lambda: is_let_in(name), "the password opens the hub again", seconds=_BACK_SECONDS)


def is_let_in(name: str) -> bool:
    with contextlib.suppress(AssertionError):  # Keycloak's page may not be there yet
        page = Visitor().sign_in(name, PASSWORD)
        return page.status == 200 and not page.is_keycloaks
    return False


def reachable(person: Visitor) -> bool:
    page = person.open("/hub/user-redirect/lab")
    return page.status == 200 and not page.is_keycloaks
