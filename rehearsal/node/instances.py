"""The machines of a simulated cloud's instances: one for each Node that joins, for as long as the Node is there.

On AWS an instance's kubelet registers the Node. Here the simulated cloud makes the Node, with the labels and taints of
its node group or its user data, and the kubelet of a machine of the rig takes it over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import contracts
from contracts import InstanceType, clusters
from contracts.quantities import amount
from rehearsal.checks.pods import INSTANCE_TYPE
from rehearsal.controllers.world import NODES, Kubernetes, Object
from rehearsal.machine.processes import Processes, ProcessFailed
from rehearsal.progress import Display
from rehearsal.providers.kubernetes.client import ApiError, Unreachable

from .cached import report
from .gpu import runtime
from .gpu.cards import CARDS, Card, like_l40s
from .gpu.plugin_release import LABELS_OF_OPERATOR
from .namespaces import Machine
from .rig import NodeArgs, Rig

_LOOK_SECONDS = 1.0
_GIB = 1024**3


class Instances:
    """Keeps a rig's machines in line with the Nodes of its cluster."""

    def __init__(self, rig: Rig, processes: Processes, display: Display) -> None:
        self._rig = rig
        self._processes = processes
        self._display = display
        self._joining: dict[str, Future[Machine]] = {}

    def watch(self) -> None:
        """Goes on until the rehearsal ends."""
        kubernetes = Kubernetes(Path(self._rig.plane.kubeconfig))
        while self._processes.pause(_LOOK_SECONDS):
            # What the API server does not answer now is there at the next look.
            with contextlib.suppress(ApiError, Unreachable):
                self._follow({node["metadata"]["name"]: node for node in kubernetes.list(NODES)})

    def failures(self) -> Iterator[str]:
        """Why machines did not join, a sentence each."""
        for name, joining in self._joining.items():
            if joining.done() and (error := joining.exception()):
                yield f"{name} did not join: {error}"

    def _follow(self, nodes: Mapping[str, Object]) -> None:
        for name in nodes.keys() - self._joining.keys():
            args = node_args(nodes[name])
            # The kernel ends a machine with the thread that started it, so each has one that stays.
            self._joining[name] = self._processes.in_background(lambda args=args: self._join(args))
        for name in self._joining.keys() - nodes.keys():
            if self._joining[name].done():
                joined = self._joining.pop(name)
                if not joined.exception():
                    self._rig.end_machine(joined.result())

    def _join(self, args: NodeArgs) -> Machine:
        try:
            machine = self._rig.add_machine(args.name, args)
            self._rig.start_containerd(machine, args, self._display)
            self._rig.register(machine, args)
            self._rig.make_ready(machine, args)
        except ProcessFailed as error:
            report(self._display, f"{args.name} did not join: {error}")
            raise
        return machine


def node_args(node: Object) -> NodeArgs:
    """The machine for a Node that the simulated cloud has made."""
    metadata, capacity = node["metadata"], node["status"]["capacity"]
    instance_type = contracts.instance_types()[metadata["labels"][INSTANCE_TYPE]]
    cards = _cards(instance_type)
    found = clusters.hardware([clusters.NodeGpus(product=one.name, memory=one.memory, count=1) for one in cards])
    return NodeArgs(
        name=metadata["name"],
        cores=int(capacity["cpu"]),
        memory=float(amount(capacity["memory"])) / _GIB,
        labels=LABELS_OF_OPERATOR if cards else {},
        annotations={clusters.HARDWARE: found} if cards else {},
        provider_id=node["spec"]["providerID"],
        cards=cards,
        # NVIDIA's runtime is the default of Amazon's images for GPUs.
        default_runtime=runtime.RUNTIME if cards else "",
    )


def _cards(instance_type: InstanceType) -> list[Card]:
    """The GPUs of an instance."""
    if instance_type.gpu_manufacturer != "NVIDIA" or not instance_type.gpu_count:
        return []
    name = instance_type.gpu_name or ""
    card = CARDS.get(name) or like_l40s(f"NVIDIA {name}", instance_type.gpu_memory_mib)
    return [card] * instance_type.gpu_count
