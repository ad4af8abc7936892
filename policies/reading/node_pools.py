"""Karpenter's NodePools: which instance types they may buy, and whether these types have GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import contracts
from contracts import InstanceType
from policies.reading.pods import GPU, is_gpu_resource, object_name
from policies.reading.resources import NotDecidedError, Resource, Stack, at, items, number, texts

GPU_TAINT_KEYS = (GPU, "nvidia.com/gpu.present", "gpu")
"""Taint keys that public charts and blueprints use for GPU nodes. The first is the usual one."""

_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_LABELS: Mapping[str, Callable[[InstanceType], Any]] = {
    _INSTANCE_TYPE: lambda one: one.name,
    "kubernetes.io/arch": lambda one: _ARCHITECTURES.get(one.arch, one.arch),
}
# Labels of AWS instances have one of two domains: Karpenter's or EKS Auto Mode's ("Create a Node Pool for EKS Auto
# Mode", Amazon EKS User Guide, read on 2026-11-30).
_KARPENTER, _AUTO_MODE = "karpenter.k8s.aws", "eks.amazonaws.com"
_AWS_LABELS: Mapping[str, Callable[[InstanceType], Any]] = {
    "instance-category": lambda one: one.category,
    "instance-family": lambda one: one.family,
    "instance-generation": lambda one: one.generation,
    "instance-size": lambda one: one.size,
    "instance-cpu": lambda one: one.vcpu,
    "instance-memory": lambda one: one.memory_mib,
    "instance-gpu-count": lambda one: one.gpu_count or None,
    "instance-gpu-name": lambda one: one.gpu_name and one.gpu_name.lower(),
    "instance-gpu-manufacturer": lambda one: one.gpu_manufacturer and one.gpu_manufacturer.lower(),
    "instance-gpu-memory": lambda one: one.gpu_memory_mib or None,
    "instance-local-nvme": lambda one: one.nvme_gb or None,
}
# In these domains, labels that begin like this limit the instance type; other labels do not.
_OF_INSTANCES = "instance-"
_NOT_ABOUT_TYPES = ("instance-tenancy",)
_NAMES = ("instance-type", "instance-family", "instance-category", "instance-size")
_NODE_CLASSES = (_KARPENTER, _AUTO_MODE)
_NODE_POOL_LABEL = "karpenter.sh/nodepool"
_CAPACITY_TYPE = "karpenter.sh/capacity-type"
_MEBIBYTE = 2**20
# The hypervisor and the operating system use some memory. Karpenter assumes 7.5 % (vmMemoryOverheadPercent).
_USABLE_MEMORY = 0.925
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Gte", "Lt", "Lte")


def requirements(pool: Resource) -> list[Any]:
    """What a pool requires of its instances."""
    return items(at(pool.props, "spec.template.spec.requirements"))


def capacity_types(pool: Resource) -> set[str]:
    """The capacity types that a pool may buy. Reserved counts only if it is named: it needs a node class with it."""
    wanted = [one for one in requirements(pool) if one.get("key") == _CAPACITY_TYPE]
    if not wanted:
        return {"on-demand"}
    named = {value for one in wanted if one.get("operator") == "In" for value in texts(one.get("values"))}
    return {
        capacity
        for capacity in named or {"spot", "on-demand"}
        if all(_holds(capacity, one.get("operator"), texts(one.get("values"))) for one in wanted)
    }


def type_label(key: str) -> Callable[[InstanceType], Any] | None:
    """How to get a node label from the instance type; None if it does not depend on it, or no policy knows how."""
    domain, _, name = key.partition("/")
    return _AWS_LABELS.get(name) if domain in _NODE_CLASSES else _LABELS.get(key)


def instance_types(pool: Resource) -> list[InstanceType]:
    """The known instance types that a pool may buy at most. Requirements in `unread` may exclude some of them."""
    found = list(contracts.instance_types().values())
    for one in requirements(pool):
        read = type_label(one.get("key") or "")
        if read and one.get("operator") in _OPERATORS:
            operator, values = one.get("operator"), texts(one.get("values"))
            found = [instance for instance in found if _holds(read(instance), operator, values)]
    return found


def unread(pool: Resource) -> list[str]:
    """The parts of a pool's requirements that no policy can read."""
    group = _node_class_group(pool)
    found = [] if group in _NODE_CLASSES else [f"its node class (group {group})"]
    for one in requirements(pool):
        key = str(one.get("key"))
        domain, _, name = key.partition("/")
        narrows = domain in _NODE_CLASSES and name.startswith(_OF_INSTANCES) and name not in _NOT_ABOUT_TYPES
        if (narrows and type_label(key) is None) or one.get("operator") not in _OPERATORS:
            found.append(f"its requirement {key}")
    return found


def unlisted(pool: Resource) -> list[str]:
    """The names in a pool's requirements that our list of instance types does not have."""
    catalogue = contracts.instance_types().values()
    found: list[str] = []
    for one in requirements(pool):
        key = str(one.get("key"))
        read = type_label(key) if key.rpartition("/")[2] in _NAMES else None
        if read and one.get("operator") == "In":
            known = {str(read(instance)) for instance in catalogue}
            unknown = [value for value in texts(one.get("values")) if value not in known]
            found += [f"{value} of its requirement {key} (not in our list of instance types)" for value in unknown]
    return found


def not_decided(what: str, reasons: Iterable[str]) -> NotDecidedError:
    """The error for `what` cannot be decided, such as `whether nodes of the NodePool x have GPUs`."""
    return NotDecidedError(f"{what}: no policy can read {', '.join(reasons)}")


def _node_class_group(pool: Resource) -> str:
    return str(at(pool.props, "spec.template.spec.nodeClassRef.group", _KARPENTER))


def _holds(label: Any, operator: Any, values: list[str]) -> bool:
    if operator in ("Exists", "DoesNotExist"):
        return (label is not None) is (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (label is not None and str(label) in values) is (operator == "In")
    have, limit = number(label), number(values[0] if values else None)
    if have is None or limit is None:
        return False
    return {"Gt": have > limit, "Gte": have >= limit, "Lt": have < limit, "Lte": have <= limit}.get(
        str(operator), False
    )


def taints(pool: Resource) -> list[Mapping[str, Any]]:
    """The permanent taints of a pool's nodes."""
    return items(at(pool.props, "spec.template.spec.taints"))


def all_taints(pool: Resource) -> list[Mapping[str, Any]]:
    """All taints of a pool's nodes, also the startup taints: what makes a node ready must tolerate these."""
    return [*taints(pool), *items(at(pool.props, "spec.template.spec.startupTaints"))]


def limits(pool: Resource) -> Mapping[str, Any]:
    """What a pool's nodes may have together."""
    return at(pool.props, "spec.limits", {})


def is_static(pool: Resource) -> bool:
    """Whether a pool has a fixed number of nodes. Its only limit is `nodes`, and Karpenter does not consolidate it."""
    return "replicas" in set(at(pool.props, "spec", {}))


def is_gpu_pool(pool: Resource) -> bool:
    """Whether a pool is for GPUs: it has a GPU limit or taint, or all types that it may buy have GPUs.

    Raises NotDecidedError if that depends on something no policy can read.
    """
    if any(is_gpu_resource(name) for name in limits(pool)):
        return True
    if any(taint.get("key") in GPU_TAINT_KEYS for taint in taints(pool)):
        return True
    reasons, found = unread(pool), instance_types(pool)
    with_gpus = sum(one.gpu_manufacturer == "NVIDIA" for one in found)
    if not found:
        reasons += unlisted(pool) or ["its requirements (no instance type in our list meets them)"]
    elif _node_class_group(pool) in _NODE_CLASSES and (with_gpus in (0, len(found)) or not reasons):
        return with_gpus == len(found)
    raise not_decided(f"whether nodes of the NodePool {object_name(pool)} have GPUs", reasons)


def machines(stack: Stack, pool: Resource) -> list[tuple[InstanceType, dict[str, float]]]:
    """The machines that a pool may buy and their resources. GPUs have the names that nodes advertise."""
    return stack.fact(("machines", pool.urn), lambda: list(_read_machines(stack, pool)))


def _read_machines(stack: Stack, pool: Resource) -> Iterator[tuple[InstanceType, dict[str, float]]]:
    # The number of shares depends on the overlay and the machine's GPUs. Infinity means: not checked here.
    shares = dict.fromkeys(advertised(stack, pool), float("inf")) if overlays_of(stack, pool) else None
    for one in instance_types(pool):
        machine = {"cpu": float(one.vcpu), "memory": one.memory_mib * _MEBIBYTE * _USABLE_MEMORY}
        if one.gpu_manufacturer == "NVIDIA":
            machine |= {GPU: float(one.gpu_count)} if shares is None else shares
        yield one, machine


def node_labels(pool: Resource) -> Mapping[str, Any]:
    """The labels of a pool's nodes."""
    return at(pool.props, "spec.template.metadata.labels", {})


def may_have_labels(pool: Resource, selector: Mapping[str, Any]) -> bool:
    """Whether nodes of a pool may match a selector. At least one of its labels must be known."""
    labels = {**node_labels(pool), _NODE_POOL_LABEL: object_name(pool)}
    known = [key for key in selector if key in labels or type_label(key)]
    return bool(known) and all(labels.get(key, value) == value for key, value in selector.items())


def may_match(pool: Resource, term: Mapping[str, Any]) -> bool:
    """Whether nodes of a pool may match a node affinity term. At least one label that it requires must be known."""
    labels = {**node_labels(pool), _NODE_POOL_LABEL: object_name(pool)}
    expressions = [
        (str(one.get("key")), one.get("operator"), texts(one.get("values")))
        for one in items(term.get("matchExpressions"))
    ]
    required = [key for key, operator, _ in expressions if operator not in ("NotIn", "DoesNotExist")]
    return (not required or any(key in labels or type_label(key) for key in required)) and all(
        _holds(labels[key], operator, values) for key, operator, values in expressions if key in labels
    )


def overlays_of(stack: Stack, pool: Resource) -> list[Resource]:
    """The NodeOverlays that set the GPU resources of a pool's nodes. Raises NotDecidedError."""
    with_gpus = [one for one in stack.of_kind("NodeOverlay") if any(map(is_gpu_resource, _capacity(one)))]
    return [one for one in with_gpus if _covers(one, pool)]


def _capacity(overlay: Resource) -> Mapping[str, Any]:
    return at(overlay.props, "spec.capacity", {})


def _covers(overlay: Resource, pool: Resource) -> bool:
    """Whether an overlay applies to all nodes of a pool, or to none. Raises NotDecidedError if it may apply to some."""
    labels = {**node_labels(pool), _NODE_POOL_LABEL: object_name(pool)}
    for one in items(at(overlay.props, "spec.requirements")):
        key, operator, values = str(one.get("key")), one.get("operator"), texts(one.get("values"))
        read = type_label(key)
        if key in labels or (read is None and not _is_well_known(key)):
            answers = {_holds(labels.get(key), operator, values)}
        else:
            answers = {_holds(read(instance), operator, values) for instance in instance_types(pool)} if read else set()
        if answers == {False}:
            return False
        if answers != {True}:
            why = f"the requirement {key} of the NodeOverlay {object_name(overlay)}"
            raise not_decided(f"what nodes of the NodePool {object_name(pool)} advertise", [why])
    return True


def _is_well_known(key: str) -> bool:
    """Whether a label is one of Kubernetes, Karpenter or AWS. Nodes have these without an entry in their pool."""
    domain = key.partition("/")[0]
    return domain in _NODE_CLASSES or domain.endswith(("kubernetes.io", "karpenter.sh"))


def advertised(stack: Stack, pool: Resource) -> set[str]:
    """The resources by which pods request a pool's GPUs: those of its NodeOverlays, else whole GPUs."""
    overlaid: dict[str, Any] = {}
    for overlay in overlays_of(stack, pool):
        overlaid |= _capacity(overlay)
    names = {resource for resource, amount in overlaid.items() if is_gpu_resource(resource) and str(amount) != "0"}
    if names:
        return names
    limited = {resource for resource in limits(pool) if is_gpu_resource(resource)}
    return limited or {GPU}
