"""A rig: a control plane, and nodes that run containers, in namespaces that leave no trace on the host."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.authority import Authority
from rehearsal.controllers.world import Object
from rehearsal.machine import control_plane
from rehearsal.machine.control_plane import ControlPlane, RealNodes
from rehearsal.machine.processes import Processes
from rehearsal.machine.toolchain import Toolchain
from rehearsal.progress import Display
from rehearsal.site import cluster

from . import addons, containers, csi, hardware, kubelet, leftovers, namespaces, store
from .gpu import library, runtime
from .gpu.cards import Card
from .images import Image
from .namespaces import Machine

_READY_SECONDS = 180
_NODE = "/api/v1/nodes"


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """A node. An administrator sets its labels, annotations and taints.

    It says that it has so many cores and GiB of memory, and has these GPUs.
    """

    name: str
    cores: int
    memory: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    provider_id: str = ""
    cards: Sequence[Card] = ()


@dataclass(frozen=True, kw_only=True)
class RigArgs:
    """What a rig is made of: a Debian root filesystem, images, and nodes of which the first has the control plane.

    `names` are addresses by name, which its DNS knows beside the cluster's. `objects` are in the cluster from the
    start. `drivers` are CSI drivers by which nodes mount volumes.
    """

    root: Path
    images: Sequence[Image]
    nodes: Sequence[NodeArgs]
    names: Mapping[str, str] = field(default_factory=dict)
    objects: Sequence[Object] = ()
    drivers: Sequence[str] = ()


@dataclass(frozen=True)
class Rig:
    """A running rig. `machines` are its nodes, the one with the control plane first."""

    machines: Sequence[Machine]
    plane: ControlPlane

    @property
    def address(self) -> str:
        """Where the API server and published ports are, in the rig's network."""
        return self.machines[0].address


def start(processes: Processes, folder: Path, toolchain: Toolchain, args: RigArgs, display: Display) -> Rig:
    """Starts a rig, and returns when its nodes are ready and pods find names.

    The calling thread, and all that it starts from now on, has the rig's network. Raises ToolMissing, ProcessFailed.
    """
    namespaces.refuse_without()
    unpacked = store.filled(args.root, toolchain, args.images, display)
    machines: list[Machine] = []
    with leftovers.removed_afterwards(processes.rehearsal_id) as keep_for:
        for number in range(len(args.nodes)):
            machines.append(_machine(processes, unpacked, args, number))
            keep_for(machines[-1].pid)
    first, *others = machines
    for machine in others:
        machine.join(first)
    for machine in machines:
        machine.route_to([one for one in machines if one != machine])
    first.enter_network()
    for machine, node in zip(machines, args.nodes, strict=True):
        if node.cards:
            runtime.install(machine, library.build(display, args.root), node.cards)
        runtimes = runtime.runtimes() if node.cards else {}
        containers.start(machine, toolchain, runtimes, first.address)
    authority = Authority()
    client = authority.signed("kube-apiserver")
    tokens = {machine.name: secrets.token_urlsafe(24) for machine in machines}
    nodes = RealNodes(
        address=first.address,
        tokens=tokens,
        client_certificate=_written(folder / "kubelet-client.crt", client.certificate),
        client_key=_written(folder / "kubelet-client.key", client.key),
    )
    plane = control_plane.start(folder / "kubernetes", toolchain, processes, nodes=nodes)
    for machine, node in zip(machines, args.nodes, strict=True):
        registration = kubelet.Registration(
            token=tokens[machine.name],
            authority=authority.certificate,
            cgroup=leftovers.cgroup(machine.rig),
            provider_id=node.provider_id,
        )
        kubelet.start_kubelet(machine, toolchain, plane, registration)
        csi.start(machine, args.drivers)
    cluster.fill(cluster.connected(plane.kubeconfig), [*addons.coredns(args.names), *args.objects])
    for machine, node in zip(machines, args.nodes, strict=True):
        machine.wait_until("kubelet", lambda name=node.name: _is_ready(plane, name), seconds=_READY_SECONDS)
        # The agent for network policies ends at once where its node is not known.
        kubelet.start_network(machine, toolchain, plane)
        _mark(plane, node)
    first.wait_until("kubelet", lambda: _dns_runs(plane), seconds=_READY_SECONDS)
    for machine in machines:
        machine.wait_until("kube-router", lambda machine=machine: kubelet.enforces(machine), seconds=_READY_SECONDS)
    return Rig(machines, plane)


def _machine(processes: Processes, unpacked: Path, args: RigArgs, number: int) -> Machine:
    node = args.nodes[number]
    # On the disk of the images, with which it shares its files.
    machine_folder = leftovers.folder(processes.rehearsal_id) / node.name
    machine_folder.mkdir(parents=True)
    store.copy(unpacked, machine_folder / "containerd")
    hardware.write(machine_folder / "hardware", cores=node.cores, memory=node.memory)
    return namespaces.start(processes, machine_folder, root=args.root, name=node.name, number=number + 1)


def _written(path: Path, text: str) -> Path:
    """Writes a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _mark(plane: ControlPlane, node: NodeArgs) -> None:
    """Sets what an administrator sets of a node. Its own kubelet may not."""
    found: Any = plane.request("GET", f"{_NODE}/{node.name}")
    taints = [*found["spec"].get("taints", []), *node.taints]
    changes = {
        "metadata": {"labels": dict(node.labels), "annotations": dict(node.annotations)},
        "spec": {"taints": taints},
    }
    plane.request("PATCH", f"{_NODE}/{node.name}", changes, "application/merge-patch+json")


def _is_ready(plane: ControlPlane, node: str) -> bool:
    with contextlib.suppress(OSError):
        found: Any = plane.request("GET", f"{_NODE}/{node}")
        conditions = found["status"].get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return False


def _dns_runs(plane: ControlPlane) -> bool:
    found: Any = plane.request("GET", "/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    return bool(found["status"].get("readyReplicas"))
