"""Taints and tolerations: GPU nodes are for pods that ask for GPUs, and what serves them runs on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.reading import releases as charts
from policies.reading.node_pools import GPU_TAINT_KEYS, all_taints, is_gpu_pool, taints
from policies.reading.pods import (
    PodShape,
    Taint,
    object_name,
    pod_spec,
    repels,
    tolerates,
    tolerates_everything,
    workload_shape,
    written,
)
from policies.reading.profiles import profile_shapes
from policies.reading.resources import Resource, Stack, at, either, is_kind, items, kind_of, mappings
from policies.rules import (
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    karpenter_docs,
    passing,
    resource_policy,
    stack_policy,
)

_SYSTEM_NAMESPACE = {
    "namespaces": {
        "type": "array",
        "items": {"type": "string"},
        "default": ["kube-system"],
        "description": "Where pods may tolerate everything.",
    }
}


_MAKE_PODS = either(
    charts.RELEASES,
    is_kind("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ConfigMap"),
)


@resource_policy(
    "gpu-pool-taint",
    "A NodePool of GPU nodes has a taint that keeps other pods away",
    fix="Add {key: nvidia.com/gpu, value: 'true', effect: NoSchedule} to spec.template.spec.taints",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: spec.template.spec.taints"),
)
def gpu_pool_taint(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Any pod could start there, and keep GPUs from those who need them."""
    if not any(taint.get("key") in GPU_TAINT_KEYS for taint in taints(pool)) and is_gpu_pool(pool):
        yield "its nodes have GPUs and no taint of GPU nodes, so any pod may start there"


@resource_policy(
    "gpu-pool-taint-effect",
    "The taint of a NodePool of GPU nodes has an effect that keeps pods away",
    fix="Set the effect in spec.template.spec.taints to NoSchedule",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: spec.template.spec.taints"),
)
def gpu_pool_taint_effect(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """PreferNoSchedule is a wish: Karpenter buys a GPU node for a CPU pod all the same."""
    for taint in taints(pool):
        if taint.get("key") in GPU_TAINT_KEYS and not repels(taint):
            yield f"the taint {written(taint)} does not keep pods away"


@resource_policy(
    "gpu-request-without-toleration",
    "A pod that asks for a GPU tolerates the taint of GPU nodes",
    fix="Add {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule} to its tolerations",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
)
def gpu_request_without_toleration(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """It would stay pending: EKS has no admission plugin that adds the toleration."""
    for shape in _shapes(resource):
        if shape.gpus and not _tolerates_gpu_nodes(shape):
            asked = ", ".join(shape.gpus)
            yield f"{shape.place} asks for {asked} and tolerates no taint of GPU nodes: its pods stay pending"


@resource_policy(
    "gpu-toleration-without-request",
    "A pod that tolerates GPU nodes asks for a GPU, a DaemonSet excepted",
    fix="Ask for nvidia.com/gpu in resources.limits, or remove the toleration",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
)
def gpu_toleration_without_request(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """It may take a place on a GPU node, and keep the node from being taken away."""
    if kind_of(resource) == "DaemonSet":
        return
    for shape in _shapes(resource):
        named = [one for one in shape.tolerations if one.get("key") in GPU_TAINT_KEYS]
        if named and not shape.gpus:
            yield f"{shape.place} tolerates {named[0].get('key')} and asks for no GPU"


@resource_policy(
    "toleration-of-everything",
    "Outside kube-system no pod tolerates every taint",
    fix="Name the key of each taint in tolerations",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
    limits=_SYSTEM_NAMESPACE,
)
def toleration_of_everything(resource: Resource, limits: Limits) -> Iterator[Found]:
    """Such a pod starts anywhere, on GPU nodes and on nodes that are going. What has to run on each is a DaemonSet."""
    if kind_of(resource) == "DaemonSet":
        return
    for shape in _shapes(resource):
        if shape.namespace in limits["namespaces"]:
            continue
        if any(map(tolerates_everything, shape.tolerations)):
            yield f"{shape.place} tolerates every taint, that of GPU nodes too"


@stack_policy(
    "daemonset-misses-pool-taint",
    "A DaemonSet that serves GPU nodes tolerates every taint of every GPU pool",
    fix="Add the pool's taint to the DaemonSet's tolerations (in values: daemonsets.tolerations, or tolerations)",
    severity=HIGH,
    framework=best_practices("Compute Resources: GPU device plugins"),
)
def daemonset_misses_pool_taint(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Without a device plugin on it, a node has no GPUs: it is paid for, and its pods stay pending."""
    pools, undecided = passing(stack.of_kind("NodePool"), is_gpu_pool)
    yield from undecided
    for daemonset in stack.of_kind("DaemonSet"):
        yield from about(daemonset, _missed(pools, _daemonset_tolerations(daemonset)))
    for release in charts.releases(stack):
        yield from about(release, _missed(pools, _release_daemonsets(release)))


@stack_policy(
    "system-node-group-taint",
    "Beside Karpenter, a managed node group has a taint",
    fix="Add {key: CriticalAddonsOnly, value: 'true', effect: NO_SCHEDULE} to its taints",
    severity=MEDIUM,
    framework=best_practices(
        "Karpenter: run the Karpenter controller on EKS Fargate or on a worker node of a node group"
    ),
)
def system_node_group_taint(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Notebooks fill nodes that have none, and Karpenter and DNS then have no place to run."""
    if any(stack.of_kind("NodePool")):
        for group in stack.of_type("aws:eks/nodeGroup:NodeGroup"):
            yield from about(group, _open_group(group))


def _open_group(group: Resource) -> Iterator[Found]:
    effects = [taint.get("effect") for taint in items(group.props.get("taints"))]
    if not any(effect in ("NO_SCHEDULE", "NO_EXECUTE") for effect in effects):
        yield "its nodes, which run what the cluster needs, take any pod"


def _shapes(resource: Resource) -> Iterator[PodShape]:
    shape = workload_shape(resource)
    if shape:
        yield shape
    else:
        yield from profile_shapes(resource)
        yield from _chart_shapes(resource)


def _chart_shapes(resource: Resource) -> Iterator[PodShape]:
    """The components of a chart other than the hub's: wherever there are tolerations, beside what is asked for."""
    if not charts.is_release(resource) or charts.chart_name(resource) in _SERVES_GPU_NODES:
        return
    for place, layer in charts.own_values(resource):
        for path, mapping in mappings(layer, place):
            if "tolerations" in mapping and not path.startswith(f"{place}.singleuser"):
                asked = {**at(mapping, "resources.requests", {}), **at(mapping, "resources.limits", {})}
                yield PodShape(
                    place=path,
                    namespace=charts.namespace(resource),
                    requests=dict.fromkeys(asked, 1.0),
                    tolerations=items(mapping["tolerations"]),
                )


def _tolerates_gpu_nodes(shape: PodShape) -> bool:
    return any(tolerates_everything(one) or one.get("key") in GPU_TAINT_KEYS for one in shape.tolerations)


# The charts that bring DaemonSets to GPU nodes: where in their values these have their tolerations.
_SERVES_GPU_NODES: dict[str, tuple[str, ...]] = {
    "gpu-operator": ("daemonsets", "node-feature-discovery.worker"),
    "nvidia-device-plugin": ("",),
    "dcgm-exporter": ("",),
    "node-feature-discovery": ("worker",),
    "kube-prometheus-stack": ("prometheus-node-exporter",),
    "prometheus-node-exporter": ("",),
    "aws-ebs-csi-driver": ("node",),
    "aws-efs-csi-driver": ("node",),
}
# Where these charts' own defaults, or those of a chart inside them, tolerate everything unless told otherwise.
_TOLERATES_ALL_BY_DEFAULT = ("kube-prometheus-stack", "prometheus-node-exporter", "aws-efs-csi-driver")


def _daemonset_tolerations(daemonset: Resource) -> Iterator[tuple[str, list[Any]]]:
    """A DaemonSet's tolerations, if it is for GPU nodes: it tolerates one of their taints, or is the system's."""
    spec = pod_spec(daemonset) or {}
    tolerations = items(spec.get("tolerations"))
    in_system = at(daemonset.props, "metadata.namespace") == "kube-system"
    names_gpus = any(one.get("key") in GPU_TAINT_KEYS for one in tolerations)
    if in_system or names_gpus:
        yield "spec.template.spec.tolerations", tolerations


def _release_daemonsets(release: Resource) -> Iterator[tuple[str, list[Any]]]:
    chart = charts.chart_name(release)
    for path in _SERVES_GPU_NODES.get(chart, ()):
        values = charts.values(release)
        tolerations = at(values, f"{path}.tolerations" if path else "tolerations")
        node = at(values, path, {}) if path else values
        if _tolerates_all_taints(node) or (tolerations is None and chart in _TOLERATES_ALL_BY_DEFAULT):
            continue
        yield f"values.{path}.tolerations" if path else "values.tolerations", items(tolerations)


def _tolerates_all_taints(node: Any) -> bool:
    """Whether a CSI driver's chart is told to tolerate every taint."""
    return at(node, "tolerateAllTaints") is True


def _missed(pools: list[Any], daemonsets: Iterator[tuple[str, list[Any]]]) -> Iterator[Found]:
    for place, tolerations in daemonsets:
        for pool in pools:
            missed: list[Taint] = [
                taint for taint in all_taints(pool) if repels(taint) and not tolerates(tolerations, taint)
            ]
            if missed:
                shown = ", ".join(map(written, missed))
                yield f"{place} does not tolerate {shown} of the NodePool {object_name(pool)}: it never runs there"
