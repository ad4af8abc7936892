"""Karpenter's NodePools: which instance types they may buy, and whether these have GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import contracts
from contracts import InstanceType
from policies.reading.pods import GPU, is_gpu_resource
from policies.reading.resources import Resource, Stack, at, items, number, texts

GPU_TAINT_KEYS = (GPU, "nvidia.com/gpu.present", "gpu")
"""Keys by which GPU nodes are told from others in public charts and blueprints; the first is the usual one."""

_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_LABELS: Mapping[str, Callable[[InstanceType], Any]] = {
    "node.kubernetes.io/instance-type": lambda one: one.name,
    "kubernetes.io/arch": lambda one: _ARCHITECTURES.get(one.arch, one.arch),
    "karpenter.k8s.aws/instance-category": lambda one: one.category,
    "karpenter.k8s.aws/instance-family": lambda one: one.family,
    "karpenter.k8s.aws/instance-generation": lambda one: one.generation,
    "karpenter.k8s.aws/instance-size": lambda one: one.size,
    "karpenter.k8s.aws/instance-cpu": lambda one: one.vcpu,
    "karpenter.k8s.aws/instance-memory": lambda one: one.memory_mib,
    "karpenter.k8s.aws/instance-gpu-count": lambda one: one.gpu_count or None,
    "karpenter.k8s.aws/instance-gpu-name": lambda one: one.gpu_name and one.gpu_name.lower(),
    "karpenter.k8s.aws/instance-gpu-manufacturer": lambda one: one.gpu_manufacturer and one.gpu_manufacturer.lower(),
    "karpenter.k8s.aws/instance-gpu-memory": lambda one: one.gpu_memory_mib or None,
    "karpenter.k8s.aws/instance-local-nvme": lambda one: one.nvme_gb or None,
}
_NODE_POOL_LABEL = "karpenter.sh/nodepool"


def requirements(pool: Resource) -> list[Any]:
    """What a pool asks of its instances."""
    return items(at(pool.props, "spec.template.spec.requirements"))


def required(pool: Resource, key: str) -> list[str]:
    """The values that a requirement `In` allows; none where there is no such requirement."""
    found = [one for one in requirements(pool) if one.get("key") == key and one.get("operator") == "In"]
    return [value for one in found for value in texts(one.get("values"))]


def instance_types(pool: Resource) -> list[InstanceType]:
    """The types of the catalogue that a pool may buy. What the catalogue does not say of a type, rules nothing out."""
    found = list(contracts.instance_types().values())
    for one in requirements(pool):
        read = _LABELS.get(one.get("key") or "")
        if read:
            operator, values = one.get("operator"), texts(one.get("values"))
            found = [instance for instance in found if _holds(read(instance), operator, values)]
    return found


def _holds(label: Any, operator: Any, values: list[str]) -> bool:
    if operator in ("Exists", "DoesNotExist"):
        return (label is not None) is (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (label is not None and str(label) in values) is (operator == "In")
    have, limit = number(label), number(values[0] if values else None)
    if have is None or limit is None:
        return False
    return {"Gt": have > limit, "Gte": have >= limit, "Lt": have < limit, "Lte": have <= limit}.get(str(operator), True)


def taints(pool: Resource) -> list[Mapping[str, Any]]:
    """The taints of a pool's nodes that stay."""
    return items(at(pool.props, "spec.template.spec.taints"))


def all_taints(pool: Resource) -> list[Mapping[str, Any]]:
    """All taints of a pool's nodes: those at their start too, which what makes a node ready has to tolerate."""
    return [*taints(pool), *items(at(pool.props, "spec.template.spec.startupTaints"))]


def limits(pool: Resource) -> Mapping[str, Any]:
    """What a pool's nodes may have together."""
    return at(pool.props, "spec.limits", {})


def is_gpu_pool(pool: Resource) -> bool:
    """Whether a pool is for GPUs: it says so by a limit or a taint, or all that it may buy has GPUs."""
    if any(is_gpu_resource(name) for name in limits(pool)):
        return True
    if any(taint.get("key") in GPU_TAINT_KEYS for taint in taints(pool)):
        return True
    found = instance_types(pool)
    return bool(found) and all(one.gpu_manufacturer == "NVIDIA" for one in found)


def node_labels(pool: Resource) -> Mapping[str, Any]:
    """The labels of a pool's nodes."""
    return at(pool.props, "spec.template.metadata.labels", {})


def overlays_of(stack: Stack, pool_name: str) -> list[Resource]:
    """The NodeOverlays that select a pool by its name."""
    found = []
    for overlay in stack.of_kind("NodeOverlay"):
        for one in items(at(overlay.props, "spec.requirements")):
            if one.get("key") == _NODE_POOL_LABEL and pool_name in texts(one.get("values")):
                found.append(overlay)
                break
    return found


def advertised(stack: Stack, pool: Resource, name: str) -> set[str]:
    """The resources by which a pool's GPUs are asked for: by its NodeOverlays, else whole GPUs."""
    overlaid: dict[str, Any] = {}
    for overlay in overlays_of(stack, name):
        overlaid |= at(overlay.props, "spec.capacity", {})
    names = {resource for resource, amount in overlaid.items() if is_gpu_resource(resource) and str(amount) != "0"}
    if names:
        return names
    limited = {resource for resource in limits(pool) if is_gpu_resource(resource)}
    return limited or {GPU}
