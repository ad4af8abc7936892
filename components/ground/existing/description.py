"""What a preview says of a cluster: what it is, and what it has and lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from components.ground.existing.found import FoundCluster, Program
from components.ground.existing.network_policies import enforcers
from contracts import clusters
from settings.pools.found_nodes import FoundNode

_GPU_WORDS = re.compile(r"gpu|nvidia|accelerator|cuda", re.IGNORECASE)
# A node's name, and Talos's extensions, say nothing that a pool would select.
_NOT_TO_SELECT = ("kubernetes.io/hostname", "extensions.talos.dev/")
_PRODUCT, _MEMORY = "nvidia.com/gpu.product", "nvidia.com/gpu.memory"
_RESOURCES = "nvidia.com/"

_WORTH_HAVING = (
    "device-plugin",
    "gpu-feature-discovery",
    "gpu-operator",
    "cert-manager",
    "cloudnative-pg",
    "metrics-server",
    "prometheus-operator",
)
"""Programs that a preview names where they are missing: a stack brings them, or goes without what they do."""


def text(found: FoundCluster) -> str:
    """What a cluster is and has, in lines."""
    return "\n".join(_lines(found))


def gpu_labels(nodes: Iterable[FoundNode]) -> list[str]:
    """Labels of nodes that look as if they were for GPUs, as KEY=VALUE, in order."""
    labels = {
        f"{key}={value}" for node in nodes for key, value in node.labels.items() if not key.startswith(_NOT_TO_SELECT)
    }
    return sorted(label for label in labels if _GPU_WORDS.search(label))


def _lines(found: FoundCluster) -> Iterator[str]:
    yield f"Kubernetes {found.version} ({found.git_version}), {_distributions(found)}"
    yield from _nodes(found)
    storage = (
        f"{one.name}{_default(one.is_default)} ({one.provisioner}, {_modes(one.shares)})"
        for one in found.storage_classes
    )
    yield f"Storage classes: {_listed(storage)}"
    ingress = (f"{one.name}{_default(one.is_default)} ({one.controller})" for one in found.ingress_classes)
    yield f"Ingress classes: {_listed(ingress)}"
    yield f"Runtime classes: {_listed(one.name for one in found.runtime_classes)}"
    enforced = _listed(enforcers(found, found.evidence), none="nothing that a stack knows")
    yield f"Network policies: enforced by {enforced}"
    yield f"Programs: {'' if found.programs else 'none that a stack knows'}".rstrip()
    yield from (f"  {_program(program)}" for program in found.programs)
    missing = (clusters.programs()[name].title for name in _WORTH_HAVING if not found.running(name))
    yield f"Not there: {_listed(missing)}"


def _distributions(found: FoundCluster) -> str:
    said = (f"{name} ({', '.join(evidence)})" for name, evidence in found.evidence.items())
    return " and ".join(said) or "of a distribution that its nodes don't show"


def _nodes(found: FoundCluster) -> Iterator[str]:
    control = f", {len(found.control_plane)} of the control plane" if found.control_plane else ""
    yield f"Nodes: {len(found.nodes)}{control}"
    for node in found.nodes:
        gpus = [
            f"{key} {amount}"
            for key, amount in node.allocatable.items()
            if key.startswith(_RESOURCES) and amount != "0"
        ]
        labels = gpu_labels([node])
        if gpus or labels:
            yield f"  {node.name}: {_gpus(node, gpus, labels)}{_taints(node)}"


def _gpus(node: FoundNode, gpus: list[str], labels: list[str]) -> str:
    if _PRODUCT in node.labels:
        memory = f", {node.labels[_MEMORY]} MiB each" if _MEMORY in node.labels else ""
        return f"{node.labels[_PRODUCT]}{memory}; {_listed(gpus, none='no GPU that pods may have yet')}"
    return f"{_listed(gpus, none='no GPU that pods may have yet')}; labels {_listed(labels)}"


def _taints(node: FoundNode) -> str:
    taints = [f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}" for taint in node.taints]
    return f"; taints {', '.join(taints)}" if taints else ""


def _program(program: Program) -> str:
    where = f"{program.workload.namespace}/{program.workload.name}"
    owner = program.owner
    whose = f", {owner}" if owner.stack or owner.release or owner.manager else ""
    return f"{program.title}{f' {program.version}' if program.version else ''} ({where}{whose})"


def _modes(shares: bool | None) -> str:
    if shares is None:
        return "not known whether ReadWriteMany"
    return "ReadWriteMany" if shares else "one node at a time"


def _default(is_default: bool) -> str:
    return " [default]" if is_default else ""


def _listed(items: Iterable[str], none: str = "none") -> str:
    return ", ".join(items) or none
