"""The pods that a resource creates: a Pod itself, or those of a workload, a chart or a notebook profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.reading.quantities import quantity
from policies.reading.resources import Resource, at, items, kind_of

WORKLOADS: Mapping[str, str] = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "ReplicationController": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
}
"""The path to the `spec` of the pods in each kind of workload."""

GPU = "nvidia.com/gpu"
SHARED_GPU = f"{GPU}.shared"
_GPU_PREFIXES = (GPU, "nvidia.com/mig-")

Taint = Mapping[str, Any]
Toleration = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PodShape:
    """What the scheduler sees of a pod. `place` is a dotted path to its definition; `requests` are by resource."""

    place: str
    namespace: str | None
    requests: Mapping[str, float] = field(default_factory=dict)
    tolerations: Sequence[Toleration] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_affinity: Sequence[Mapping[str, Any]] = ()
    """The terms of the required node affinity. One of them must match."""
    on_own_nodes: bool = False
    """Whether its nodes are there already, and it tolerates exactly what these have."""

    @property
    def gpus(self) -> dict[str, float]:
        """The GPUs or shares that it requests, by resource."""
        return {name: amount for name, amount in self.requests.items() if is_gpu_resource(name) and amount > 0}


def is_gpu_resource(name: str) -> bool:
    """Whether a resource is a GPU, a share of one or a MIG partition."""
    return name.startswith(_GPU_PREFIXES)


def is_extended_resource(name: str) -> bool:
    """Whether a resource comes from a device plugin: its name has a domain that is not one of Kubernetes."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def namespace_of(resource: Resource) -> str | None:
    """The namespace of an object, or None."""
    return at(resource.props, "metadata.namespace")


def labels_of(resource: Resource) -> Mapping[str, Any]:
    """The labels of an object."""
    return at(resource.props, "metadata.labels", {})


def object_name(resource: Resource) -> str:
    """The name of an object, else its name in the program: Pulumi generates a name if none is given."""
    return at(resource.props, "metadata.name", resource.name)


def pod_spec(resource: Resource) -> Mapping[str, Any] | None:
    """The `spec` of the pods of a workload; None for other objects."""
    path = WORKLOADS.get(kind_of(resource) or "")
    return at(resource.props, path) if path else None


def spec_path(resource: Resource) -> str:
    """Where that `spec` is."""
    return WORKLOADS[kind_of(resource) or ""]


def containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All containers of a pod's `spec`, init containers included, each with its place."""
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(items(spec.get(group))):
            yield f"{group}.{index}", container


def requested(spec: Mapping[str, Any]) -> dict[str, float]:
    """What the containers of a pod request together. For a limit without a request Kubernetes sets the request."""
    total: dict[str, float] = {}
    for _, container in containers(spec):
        resources = container.get("resources") or {}
        requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, value in requests.items():
            total[name] = total.get(name, 0) + (quantity(value) or 0)
    return total


def required_node_affinity(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The terms of the required node affinity in a pod's `spec`."""
    required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    return items(at(spec, f"{required}.nodeSelectorTerms"))


def workload_shape(resource: Resource) -> PodShape | None:
    """The pods of a workload; None for other objects."""
    spec = pod_spec(resource)
    if spec is None:
        return None
    return PodShape(
        place=spec_path(resource),
        namespace=namespace_of(resource),
        requests=requested(spec),
        tolerations=items(spec.get("tolerations")),
        node_selector=spec.get("nodeSelector") or {},
        node_affinity=required_node_affinity(spec),
    )


def tolerates(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    """Whether pods with these tolerations may run on a node with this taint, by Kubernetes' rules."""
    return any(_matches(toleration, taint) for toleration in tolerations)


def _matches(toleration: Toleration, taint: Taint) -> bool:
    effect = toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    key = toleration.get("key")
    if not key:
        return toleration.get("operator") == "Exists"
    if key != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return str(toleration.get("value") or "") == str(taint.get("value") or "")


def repels(taint: Taint) -> bool:
    """Whether a taint keeps pods away. PreferNoSchedule does not."""
    return taint.get("effect") in ("NoSchedule", "NoExecute")


def tolerates_everything(toleration: Toleration) -> bool:
    """Whether it tolerates any taint: `operator: Exists` without a key."""
    return toleration.get("operator") == "Exists" and not toleration.get("key")


def written(taint: Taint) -> str:
    """A taint as kubectl writes it: key=value:effect."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"
