"""A rig: a control plane, and nodes that run containers, in namespaces that leave no trace on the host."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.authority import Authority
from rehearsal.controllers.world import Object
from rehearsal.machine import control_plane
from rehearsal.machine.control_plane import ControlPlane, RealNodes
from rehearsal.machine.processes import Processes, ProcessFailed
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
_HTTPS = 443
# Kubernetes, "Using Node Authorization".
_NODE_USER, _NODE_GROUP = "system:node:", "system:nodes"
CONTROL_PLANE = "control-plane"
"""The machine of a rig whose nodes come later."""


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """A node. An administrator sets its labels, annotations and taints.

    It says that it has so many cores and GiB of memory, and has these GPUs. Its containerd uses the `default_runtime`
    for pods that name none, unless that is empty.
    """

    name: str
    cores: int
    memory: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    provider_id: str = ""
    cards: Sequence[Card] = ()
    default_runtime: str = ""


@dataclass(frozen=True, kw_only=True)
class RigArgs:
    """What a rig is made of: a Debian root filesystem, images, and nodes of which the first has the control plane.

    Without nodes a machine of its own has the control plane, as in a cloud. `names` are addresses by name, which its
    DNS knows beside the cluster's, and `rewrites` names of the cluster by patterns of others. Pods find the API server
    at `api_address`, port 443, if it has one of its own. `objects` are in the cluster from the start. `drivers` are CSI
    drivers by which nodes mount volumes.
    """

    root: Path
    images: Sequence[Image]
    nodes: Sequence[NodeArgs] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    rewrites: Mapping[str, str] = field(default_factory=dict)
    api_address: str = ""
    objects: Sequence[Object] = ()
    drivers: Sequence[str] = ()


class Rig:
    """Machines of one network, the one with the control plane first; and the control plane, once it is started."""

    def __init__(self, processes: Processes, folder: Path, toolchain: Toolchain, args: RigArgs, unpacked: Path) -> None:
        self.machines: list[Machine] = []
        self._processes = processes
        self._folder = folder
        self._toolchain = toolchain
        self._args = args
        self._unpacked = unpacked
        self._authority = Authority()
        self._plane: ControlPlane | None = None
        # A machine that has left the rig keeps its number.
        self._numbers = itertools.count(1)
        self._changing = threading.Lock()

    @property
    def address(self) -> str:
        """Where the API server and published ports are, in the rig's network."""
        return self.machines[0].address

    @property
    def way_in(self) -> str:
        """The command that opens a shell in its network, which the host does not have."""
        return f'nsenter --target={self.machines[0].pid} --net -- "${{SHELL:-sh}}"'

    @property
    def plane(self) -> ControlPlane:
        """The control plane. Raises ProcessFailed before it is started."""
        if self._plane is None:
            raise ProcessFailed("the rig has no control plane yet")
        return self._plane

    def start_control_plane(
        self, *, token_review_url: str | None = None, bindings: Sequence[Object] = ()
    ) -> ControlPlane:
        """Starts it in the first machine's network, see `control_plane.start`. Raises ProcessFailed."""
        client = self._authority.signed("kube-apiserver")
        own = self._args.api_address
        nodes = RealNodes(
            address=own or self.address,
            port=_HTTPS if own else 0,
            authority=_written(self._folder / "nodes.crt", self._authority.certificate),
            client_certificate=_written(self._folder / "kubelet-client.crt", client.certificate),
            client_key=_written(self._folder / "kubelet-client.key", client.key),
        )
        self._plane = control_plane.start(
            self._folder / "kubernetes",
            self._toolchain,
            self._processes,
            token_review_url=token_review_url,
            bindings=bindings,
            nodes=nodes,
        )
        client_of_api = cluster.connected(self._plane.kubeconfig)
        cluster.fill(client_of_api, [*addons.coredns(self._args.names, self._args.rewrites), *self._args.objects])
        return self._plane

    def add_machine(self, name: str, node: NodeArgs | None = None) -> Machine:
        """Starts a machine, which has the cores and the memory of the `node` that it is to be."""
        # On the disk of the images, with which it shares its files.
        folder = leftovers.folder(self._processes.rehearsal_id) / name
        folder.mkdir(parents=True)
        leftovers.make_cgroups(self._processes.rehearsal_id, name)
        if node:
            store.copy(self._unpacked, folder / "containerd")
            hardware.write(folder / "hardware", cores=node.cores, memory=node.memory)
        number = next(self._numbers)
        machine = namespaces.start(self._processes, folder, root=self._args.root, name=name, number=number)
        with self._changing:
            if self.machines:
                machine.join(self.machines[0])
            machine.route_to(self.machines)
            for other in self.machines:
                other.route_to([machine])
            self.machines.append(machine)
        return machine

    def start_containerd(self, machine: Machine, node: NodeArgs, display: Display) -> None:
        """Starts what runs containers, with the node's GPUs. Raises ProcessFailed."""
        if node.cards:
            runtime.install(machine, library.build(display, self._args.root), node.cards)
        containers.start(
            machine,
            self._toolchain,
            runtime.runtimes() if node.cards else {},
            self.address,
            default=node.default_runtime or containers.RUNC,
        )

    def register(self, machine: Machine, node: NodeArgs) -> None:
        """Starts the kubelet, which registers the node."""
        registration = kubelet.Registration(
            signed=self._authority.signed(f"{_NODE_USER}{node.name}", group=_NODE_GROUP),
            authority=self._authority.certificate,
            cgroup=leftovers.cgroup(machine.rig, machine.name),
            provider_id=node.provider_id,
        )
        kubelet.start_kubelet(machine, self._toolchain, self.plane, registration)
        csi.start(machine, self._args.drivers)

    def make_ready(self, machine: Machine, node: NodeArgs) -> None:
        """Waits until the node is ready, and gives it Services and network policies. Raises ProcessFailed."""
        machine.wait_until("kubelet", lambda: _is_ready(self.plane, node.name), seconds=_READY_SECONDS)
        # The agent for network policies ends at once where its node is not known.
        kubelet.start_network(machine, self._toolchain, self.plane)
        _mark(self.plane, node)

    def end_machine(self, machine: Machine) -> None:
        """Ends a machine, as a cloud ends an instance."""
        with self._changing:
            self.machines.remove(machine)
        machine.end(csi.BESIDE if self._args.drivers else ())


def start(processes: Processes, folder: Path, toolchain: Toolchain, args: RigArgs, display: Display) -> Rig:
    """Starts a rig, and returns when its nodes are ready and pods find names.

    The calling thread, and all that it starts from now on, has the rig's network. Raises ToolMissing, ProcessFailed.
    """
    rig = lay_out(processes, folder, toolchain, args, display)
    pairs = list(zip(rig.machines, args.nodes, strict=True))
    for machine, node in pairs:
        rig.start_containerd(machine, node, display)
    plane = rig.start_control_plane()
    for machine, node in pairs:
        rig.register(machine, node)
    for machine, node in pairs:
        rig.make_ready(machine, node)
    rig.machines[0].wait_until("kubelet", lambda: _dns_runs(plane), seconds=_READY_SECONDS)
    for machine in rig.machines:
        machine.wait_until("kube-router", lambda machine=machine: kubelet.enforces(machine), seconds=_READY_SECONDS)
    return rig


def lay_out(processes: Processes, folder: Path, toolchain: Toolchain, args: RigArgs, display: Display) -> Rig:
    """Starts the machines of a rig, on which nothing runs yet.

    The calling thread, and all that it starts from now on, has the rig's network. Raises ToolMissing, ProcessFailed.
    """
    namespaces.refuse_without()
    rig = Rig(processes, folder, toolchain, args, store.filled(args.root, toolchain, args.images, display))
    with leftovers.removed_afterwards(processes.rehearsal_id) as keep_for:
        if not args.nodes:
            keep_for(rig.add_machine(CONTROL_PLANE).pid)
        for node in args.nodes:
            keep_for(rig.add_machine(node.name, node).pid)
    if args.api_address:
        rig.machines[0].run("ip", "address", "add", f"{args.api_address}/32", "dev", "lo")
    rig.machines[0].enter_network()
    return rig


def _written(path: Path, text: str) -> Path:
    """Writes a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _mark(plane: ControlPlane, node: NodeArgs) -> None:
    """Sets what an administrator sets of a node. Its own kubelet may not."""
    changes: Object = {"metadata": {"labels": dict(node.labels), "annotations": dict(node.annotations)}}
    # The list replaces the one that is there, and others change that too.
    if node.taints:
        found: Any = plane.request("GET", f"{_NODE}/{node.name}")
        changes["spec"] = {"taints": [*found["spec"].get("taints", []), *node.taints]}
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
