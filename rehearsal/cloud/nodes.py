"""Kubernetes nodes of instances: what kubelet would register. Those of managed node groups are made here.

Where no API server is known (see `api_server`) a node group has instances only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts import InstanceType
from rehearsal.cloud import api_server
from settings.pools.allocatable import reserved_mib, reserved_millicores

# The names of Kubernetes for what EC2 calls x86_64.
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_TAINT_EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}
_LEFT_BY_A_DRAIN = ("DaemonSet", "Node")
_DRY_RUN = {"dryRun": ["All"]}
REAL = "GPULAB_REAL_NODES"
"""The environment variable of a rehearsal whose nodes have kubelets of their own: these say what a node has."""


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """One instance, and what its node group says of its nodes. `disk_size` in GiB; taints in EKS's spelling."""

    name: str
    instance_id: str
    instance_type: InstanceType
    zone: str
    private_ip: str
    version: str
    group: str
    image_id: str
    capacity_type: str
    disk_size: int
    labels: dict[str, str]
    taints: list[dict[str, str]]


def manifest(
    *,
    name: str,
    instance_id: str,
    instance_type: InstanceType,
    zone: str,
    private_ip: str,
    version: str,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, str]],
    resources: tuple[dict[str, str], dict[str, str]],
    system: str = "Amazon Linux 2023",
) -> dict[str, Any]:
    """The Node as kubelet registers it on EKS. `resources`: capacity and allocatable.

    It is ready and KWOK keeps it alive, unless a kubelet of its own is about to take it over.
    """
    real = are_real()
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready"}
    architecture = ARCHITECTURES[instance_type.arch]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {} if real else {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                **labels,
                "node.kubernetes.io/instance-type": instance_type.name,
                "topology.kubernetes.io/region": zone[:-1],
                "topology.kubernetes.io/zone": zone,
                "kubernetes.io/arch": architecture,
                "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": name,
            },
        },
        "spec": {"providerID": f"aws:///{zone}/{instance_id}", "taints": list(taints)},
        "status": {
            "capacity": resources[0],
            "allocatable": resources[1],
            "addresses": [
                {"type": "InternalIP", "address": private_ip},
                {"type": "InternalDNS", "address": name},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [] if real else [ready],
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                "osImage": system,
                "kubeletVersion": f"v{version}.2-eks-simulated",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.12.40",
                "kubeProxyVersion": "",
                "bootID": instance_id,
                "machineID": instance_id,
                "systemUUID": instance_id,
            },
        },
    }


def resources(instance_type: InstanceType, disk_size: int) -> tuple[dict[str, str], dict[str, str]]:
    """What kubelet reports of an instance with a root volume of `disk_size` GiB: capacity, and allocatable to pods."""
    capacity = {
        "cpu": str(instance_type.vcpu),
        "memory": f"{instance_type.memory_mib}Mi",
        "pods": str(instance_type.max_pods_eni),
        "ephemeral-storage": f"{disk_size}Gi",
    }
    allocatable = {
        **capacity,
        "cpu": f"{1000 * instance_type.vcpu - reserved_millicores(instance_type)}m",
        "memory": f"{instance_type.memory_mib - reserved_mib(instance_type)}Mi",
    }
    return capacity, allocatable


def are_real() -> bool:
    """Whether nodes have kubelets of their own."""
    return REAL in os.environ


def node_taint(taint: dict[str, str]) -> dict[str, str]:
    """A taint in Kubernetes' spelling of its effect."""
    return {"key": taint["key"], "value": taint.get("value", ""), "effect": _TAINT_EFFECTS[taint["effect"]]}


def create(spec: NodeSpec) -> None:
    """Registers the node. Raises OSError when the API server does not answer or does not take it."""
    made = manifest(
        name=spec.name,
        instance_id=spec.instance_id,
        instance_type=spec.instance_type,
        zone=spec.zone,
        private_ip=spec.private_ip,
        version=spec.version,
        labels={
            **spec.labels,
            "eks.amazonaws.com/nodegroup": spec.group,
            "eks.amazonaws.com/nodegroup-image": spec.image_id,
            "eks.amazonaws.com/capacityType": spec.capacity_type,
        },
        taints=[node_taint(taint) for taint in spec.taints],
        resources=resources(spec.instance_type, spec.disk_size),
    )
    api_server.call("POST", "/api/v1/nodes", made)


def update(name: str, labels: dict[str, str | None], taints: list[dict[str, str]] | None) -> None:
    """Changes a node as its group changed: a label of None goes; `taints`, where given, replace those it has."""
    patch: dict[str, Any] = {"metadata": {"labels": labels}}
    if taints is not None:
        patch["spec"] = {"taints": [node_taint(taint) for taint in taints]}
    api_server.call("PATCH", f"/api/v1/nodes/{name}", patch, fine=(404,))


def kept_by_budgets(name: str) -> list[str]:
    """The pods that keep the node from being drained, as the API server evicts none of them. Raises OSError."""
    listed = api_server.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")
    kept = []
    for pod in json.loads(listed)["items"] if listed else []:
        metadata = pod["metadata"]
        if any(owner["kind"] in _LEFT_BY_A_DRAIN for owner in metadata.get("ownerReferences", [])):
            continue
        where = {"name": metadata["name"], "namespace": metadata["namespace"]}
        path = "/api/v1/namespaces/{namespace}/pods/{name}/eviction".format_map(where)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": where, "deleteOptions": _DRY_RUN}
        # 429: its PodDisruptionBudget allows none now. 500: it has two of them. An eviction is answered with a text.
        if not api_server.call("POST", path, eviction, fine=(429, 500)):
            kept.append("{namespace}/{name}".format_map(where))
    return kept


def delete(name: str) -> None:
    """Deletes the node; it may be gone already. Raises OSError when the API server does not answer."""
    api_server.call("DELETE", f"/api/v1/nodes/{name}", fine=(404,))
