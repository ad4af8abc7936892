"""Taints and tolerations: GPU nodes are for pods that request GPUs, and the DaemonSets they need run on each node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policies.reading import helm
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
        "description": "The namespaces where pods may tolerate everything.",
    }
}


_MAKE_PODS = either(
    helm.RELEASES,
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
    """Otherwise any pod can start there and take the place of pods that need GPUs."""
    if not any(taint.get("key") in GPU_TAINT_KEYS for taint in taints(pool)) and is_gpu_pool(pool):
        yield "its nodes have GPUs but no GPU taint, so any pod may start there"


@resource_policy(
    "gpu-pool-taint-effect",
    "The taint of a NodePool of GPU nodes has an effect that keeps pods away",
    fix="Set the effect in spec.template.spec.taints to NoSchedule",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: spec.template.spec.taints"),
)
def gpu_pool_taint_effect(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """PreferNoSchedule is only a preference: Karpenter still buys a GPU node for a CPU pod."""
    for taint in taints(pool):
        if taint.get("key") in GPU_TAINT_KEYS and not repels(taint):
            yield f"the taint {written(taint)} does not keep pods away"


@resource_policy(
    "gpu-request-without-toleration",
    "A pod that requests a GPU tolerates the taint of GPU nodes",
    fix="Add {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule} to its tolerations",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
)
def gpu_request_without_toleration(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise it stays pending: EKS has no admission plugin that adds the toleration."""
    for shape in _shapes(resource):
        if shape.gpus and not shape.on_own_nodes and not _tolerates_gpu_nodes(shape):
            gpus = ", ".join(shape.gpus)
            yield f"{shape.place} requests {gpus} but does not tolerate a GPU taint: its pods stay pending"


@resource_policy(
    "gpu-toleration-without-request",
    "A pod that tolerates GPU nodes requests a GPU (DaemonSets excepted)",
    fix="Set nvidia.com/gpu in resources.limits, or remove the toleration",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
)
def gpu_toleration_without_request(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise it can take a place on a GPU node, and Karpenter cannot remove the node."""
    if kind_of(resource) == "DaemonSet":
        return
    for shape in _shapes(resource):
        named = [one for one in shape.tolerations if one.get("key") in GPU_TAINT_KEYS]
        if named and not shape.gpus:
            yield f"{shape.place} tolerates {named[0].get('key')} but does not request a GPU"


@resource_policy(
    "toleration-of-everything",
    "Pods outside kube-system do not tolerate every taint",
    fix="Name the key of each taint in tolerations",
    severity=MEDIUM,
    concerns=_MAKE_PODS,
    limits=_SYSTEM_NAMESPACE,
)
def toleration_of_everything(resource: Resource, limits: Limits) -> Iterator[Found]:
    """Such a pod starts anywhere, also on GPU nodes and on nodes that are being removed. DaemonSets may do so."""
    if kind_of(resource) == "DaemonSet":
        return
    for shape in _shapes(resource):
        if shape.namespace in limits["namespaces"]:
            continue
        if any(map(tolerates_everything, shape.tolerations)):
            yield f"{shape.place} tolerates every taint, including the GPU taint"


@stack_policy(
    "daemonset-misses-pool-taint",
    "A DaemonSet that serves GPU nodes tolerates every taint of every GPU pool",
    fix="Add the pool's taint to the DaemonSet's tolerations (in values: daemonsets.tolerations, or tolerations)",
    severity=HIGH,
    framework=best_practices("Compute Resources: GPU device plugins"),
)
def daemonset_misses_pool_taint(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Without a device plugin a node advertises no GPUs: you pay for it, and its pods stay pending."""
    pools, undecided = passing(stack.of_kind("NodePool"), is_gpu_pool)
    yield from undecided
    for daemonset in stack.of_kind("DaemonSet"):
        yield from about(daemonset, _missed(pools, _daemonset_tolerations(daemonset)))
    for release in helm.releases(stack):
        yield from about(release, _missed(pools, _release_daemonsets(release)))


@stack_policy(
    "system-node-group-taint",
    "In a stack with Karpenter, a managed node group has a taint",
    fix="Add {key: CriticalAddonsOnly, value: 'true', effect: NO_SCHEDULE} to its taints",
    severity=MEDIUM,
    framework=best_practices(
        "Karpenter: run the Karpenter controller on EKS Fargate or on a worker node of a node group"
    ),
)
def system_node_group_taint(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Notebooks fill nodes without a taint, and Karpenter and DNS then have no place to run."""
    if any(stack.of_kind("NodePool")):
        for group in stack.of_type("aws:eks/nodeGroup:NodeGroup"):
            yield from about(group, _open_group(group))


def _open_group(group: Resource) -> Iterator[Found]:
    effects = [taint.get("effect") for taint in items(group.props.get("taints"))]
    if not any(effect in ("NO_SCHEDULE", "NO_EXECUTE") for effect in effects):
        yield "any pod can run on its nodes, which are for what the cluster itself needs"


def _shapes(resource: Resource) -> Iterator[PodShape]:
    shape = workload_shape(resource)
    if shape:
        yield shape
    else:
        yield from profile_shapes(resource)
        yield from _chart_shapes(resource)


def _chart_shapes(resource: Resource) -> Iterator[PodShape]:
    """The components of any chart but the hub's: each mapping of values with `tolerations`, and its requests."""
    if not helm.is_release(resource) or helm.chart_name(resource) in _SERVES_GPU_NODES:
        return
    for place, layer in helm.own_values(resource):
        for path, mapping in mappings(layer, place):
            if "tolerations" in mapping and not path.startswith(f"{place}.singleuser"):
                requests = {**at(mapping, "resources.requests", {}), **at(mapping, "resources.limits", {})}
                yield PodShape(
                    place=path,
                    namespace=helm.namespace(resource),
                    requests=dict.fromkeys(requests, 1.0),
                    tolerations=items(mapping["tolerations"]),
                )


def _tolerates_gpu_nodes(shape: PodShape) -> bool:
    return any(tolerates_everything(one) or one.get("key") in GPU_TAINT_KEYS for one in shape.tolerations)


# The charts with DaemonSets on GPU nodes, and where their values have the tolerations of these.
_SERVES_GPU_NODES: dict[str, tuple[str, ...]] = {
    "gpu-operator": ("daemonsets", "node-feature-discovery.worker"),
    "nvidia-device-plugin": ("",),
    "dcgm-exporter": ("",),
    "node-feature-discovery": ("worker",),
    "kube-prometheus-stack": ("prometheus-node-exporter",),
    "prometheus-node-exporter": ("",),
    "aws-ebs-csi-driver": ("node",),
    "aws-efs-csi-driver": ("node",),
    "csi-driver-nfs": ("node",),
    "seaweedfs-csi-driver": ("node", "mountService"),
}
# These charts, or a chart inside them, tolerate everything by default.
_TOLERATES_ALL_BY_DEFAULT = (
    "kube-prometheus-stack",
    "prometheus-node-exporter",
    "aws-efs-csi-driver",
    "csi-driver-nfs",
)


def _daemonset_tolerations(daemonset: Resource) -> Iterator[tuple[str, list[Any]]]:
    """A DaemonSet's tolerations, if it is for GPU nodes: it tolerates a GPU taint or is in kube-system."""
    spec = pod_spec(daemonset) or {}
    tolerations = items(spec.get("tolerations"))
    in_system = at(daemonset.props, "metadata.namespace") == "kube-system"
    names_gpus = any(one.get("key") in GPU_TAINT_KEYS for one in tolerations)
    if in_system or names_gpus:
        yield "spec.template.spec.tolerations", tolerations


def _release_daemonsets(release: Resource) -> Iterator[tuple[str, list[Any]]]:
    chart = helm.chart_name(release)
    for path in _SERVES_GPU_NODES.get(chart, ()):
        values = helm.values(release)
        tolerations = at(values, f"{path}.tolerations" if path else "tolerations")
        node = at(values, path, {}) if path else values
        if _tolerates_all_taints(node) or (tolerations is None and chart in _TOLERATES_ALL_BY_DEFAULT):
            continue
        yield f"values.{path}.tolerations" if path else "values.tolerations", items(tolerations)


def _tolerates_all_taints(node: Any) -> bool:
    """Whether a CSI driver's values make it tolerate every taint."""
    return at(node, "tolerateAllTaints") is True


def _missed(pools: list[Any], daemonsets: Iterator[tuple[str, list[Any]]]) -> Iterator[Found]:
    for place, tolerations in daemonsets:
        for pool in pools:
            missed: list[Taint] = [
                taint for taint in all_taints(pool) if repels(taint) and not tolerates(tolerations, taint)
            ]
            if missed:
                shown = ", ".join(map(written, missed))
                yield f"{place} does not tolerate {shown} of the NodePool {object_name(pool)}, so it never runs there"
