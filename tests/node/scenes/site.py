"""The running site of the scenes: its cluster, its realm, its machine, and the names that people open."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from rich.console import Console

from components.platform_urls import PlatformUrls
from rehearsal.controllers.world import PODS, Kubernetes, Object, place
from rehearsal.node import root
from rehearsal.node.namespaces import Machine, own_network
from rehearsal.node.phases import NodeRehearsal
from rehearsal.progress import Display
from rehearsal.run import begun
from rehearsal.stack_phases import Options

from . import stack
from .keycloak import Keycloak
from .waiting import until

# Of the Deployments of charts, which a test changes and restores.
_ROLLOUT_SECONDS = 180

METADATA, METADATA_PORT = "169.254.169.254", 80
URLS = PlatformUrls.of(stack.DOMAIN)
HUB_URL = f"{URLS.platform}/jupyter"


@dataclass(frozen=True)
class Site:
    """A stack that is up on a node of its own."""

    rehearsal: NodeRehearsal
    kubernetes: Kubernetes
    keycloak: Keycloak
    machine_root: Path
    """The Debian root filesystem of the machine, which has a browser too."""

    @property
    def machine(self) -> Machine:
        """The only machine."""
        return self.rehearsal.rig.machines[0]

    def notebooks(self, team: str) -> list[Object]:
        """The pods of a team's notebooks that nobody has deleted."""
        found = self.kubernetes.list(
            f"/api/v1/namespaces/team-{team}/pods", labelSelector="component=singleuser-server"
        )
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def notebook(self, team: str, person: str) -> Object | None:
        """The pod of somebody's notebook, if it is there."""
        named = "hub.jupyter.org/username"
        pods = (pod for pod in self.notebooks(team) if pod["metadata"]["annotations"].get(named) == person)
        return next(pods, None)

    def end_notebooks(self) -> None:
        """Ends what the last test has left running, so that the next one has all shares and quotas."""
        for team in ("vision", "research"):
            for pod in self.notebooks(team):
                name = pod["metadata"]["name"]
                self.kubernetes.request("DELETE", place(PODS, name, f"team-{team}"), {"gracePeriodSeconds": 1})
        until(lambda: not [*self.notebooks("vision"), *self.notebooks("research")], "all notebooks have ended")

    @contextlib.contextmanager
    def changed(self, path: str, changes: dict[str, Any], back: dict[str, Any]) -> Iterator[None]:
        """An object of the cluster has `changes` during the block, and `back` after it."""
        self.kubernetes.patch(path, changes)
        try:
            yield
        finally:
            self.kubernetes.patch(path, back)

    @contextlib.contextmanager
    def without(self, path: str) -> Iterator[None]:
        """An object of the cluster is missing during the block."""
        before = self.kubernetes.request("GET", path)
        self.kubernetes.delete(path)
        until(lambda: self.kubernetes.get(path) is None, f"{path} is gone")
        try:
            yield
        finally:
            kept = ("name", "namespace", "labels", "annotations")
            metadata = {key: value for key, value in before["metadata"].items() if key in kept}
            again = {key: value for key, value in before.items() if key != "status"}
            self.kubernetes.create(path, {**again, "metadata": metadata})

    def wait_for_rollout(self, kind: str, name: str, namespace: str) -> None:
        """Waits until all pods of a Deployment or DaemonSet are of its newest version, and ready."""
        path = place(f"/apis/apps/v1/{kind}", name, namespace)
        until(lambda: _is_rolled_out(self.kubernetes.request("GET", path)), name, seconds=_ROLLOUT_SECONDS)


@contextlib.contextmanager
def up(folder: Path) -> Iterator[Site]:
    """Brings the site up. This thread has its machine's network during the block. Raises PhaseFailed."""
    console = Console(stderr=True)
    options = Options(stack_file=stack.write(folder), stack=stack.STACK, node=True)
    with own_network(), begun(options, console) as begun_rehearsal:
        rehearsal = cast("NodeRehearsal", begun_rehearsal)
        rehearsal.begin()
        rehearsal.up()
        kubernetes = Kubernetes(rehearsal.plane.kubeconfig)
        site = Site(rehearsal, kubernetes, Keycloak(kubernetes), root.ensure(Display(console)))
        _answer_as_instance_metadata(site.machine)
        with names_at(site.machine.address):
            yield site


def _answer_as_instance_metadata(machine: Machine) -> None:
    """Something answers at the address where clouds have their instances' credentials: a notebook must not reach it."""
    machine.run("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
    listen = f"TCP-LISTEN:{METADATA_PORT},bind={METADATA},reuseaddr,fork"
    machine.start("metadata", ["socat", listen, "SYSTEM:printf 'HTTP/1.0 200 OK\\r\\n\\r\\ncredentials'"], {})


@contextlib.contextmanager
def names_at(address: str) -> Iterator[None]:
    """For HTTP clients of this process, the names below the domain are at `address` during the block."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve(address if str(host).endswith(f".{stack.DOMAIN}") else host, *args, **kwargs)

    with patch("socket.getaddrinfo", resolved):
        yield


def _is_rolled_out(workload: Object) -> bool:
    status, spec = workload.get("status", {}), workload["spec"]
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False
    if "desiredNumberScheduled" in status:
        wanted = status["desiredNumberScheduled"]
        return status.get("updatedNumberScheduled", 0) == status.get("numberReady", 0) == wanted
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    return counts == [spec["replicas"]] * 3
