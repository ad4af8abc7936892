"""A cluster that exists, for profiles that discover GPUs: its catalogue, its nodes, and pods of teams."""

from __future__ import annotations

from typing import Any

from hub_catalogue import document

from components.hub.inside.catalogue import POOL_LABEL, Catalogue, parse
from components.hub.inside.pod import PERSON_LABEL

GPU, SHARED, SLICE = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb"
GPU_TOLERATION = {"key": GPU, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
PROFILE = "found"
RTX, L40S, A100 = "NVIDIA-GeForce-RTX-4090", "NVIDIA-L40S", "NVIDIA-A100-SXM4-40GB"


def pool(*, gpu: bool = True, **other: Any) -> dict[str, Any]:
    tolerations = [GPU_TOLERATION] if gpu else []
    return {"gpu": gpu, "capacityTypes": [], "tolerations": tolerations, "limits": {}, "largest": {}, **other}


def site(pools: dict[str, Any], *, by_node: bool = False, **profile: Any) -> Catalogue:
    """Teams `research`, which may use all pools, and `vision`, with a profile that discovers GPUs."""
    found = document()
    found["pools"] = pools
    found["profiles"][PROFILE] = {
        **found["profiles"]["pytorch"],
        "displayName": "PyTorch",
        "gpu": None,
        "discovery": {"byNode": by_node},
        "cpu": 1,
        "memory": "4Gi",
        "scratch": 0,
        **profile,
    }
    for name in list(found["profiles"]):
        if (found["profiles"][name]["gpu"] or {}).get("pool") not in (None, *pools):
            del found["profiles"][name]
    for name, team in found["teams"].items():
        team["nodePools"] = list(pools) if name == "research" else [one for one in pools if not pools[one]["gpu"]]
        offered = [one for one in team["profiles"] if one in found["profiles"]]
        team["profiles"] = [*offered, PROFILE] if name != "data-platform" else offered
    return parse(found)


def node(name: str, pool_name: str, gpus: dict[str, int] | None = None, **labels: str | int) -> dict[str, Any]:
    """A ready node as the API server lists it. Labels `product`, `memory`, `replicas` are those of whole GPUs."""
    found = {f"{GPU}.{key}": str(value) for key, value in labels.items()}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, POOL_LABEL: pool_name, **found}},
        "spec": {"taints": [{"key": GPU, "value": "true", "effect": "NoSchedule"}] if gpus else []},
        "status": {
            "allocatable": {
                "cpu": "16",
                "memory": "64Gi",
                "ephemeral-storage": "100Gi",
                **{resource: str(number) for resource, number in (gpus or {}).items()},
            },
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def rtx(name: str = "desk", *, replicas: int = 8) -> dict[str, Any]:
    """A workstation whose one card eight notebooks share, by a plugin that renames shares."""
    return node(name, "desks", {GPU: 0, SHARED: replicas}, product=RTX, memory=24564, replicas=replicas)


def l40s(name: str = "rack", count: int = 2) -> dict[str, Any]:
    return node(name, "racks", {GPU: count}, product=L40S, memory=46068, replicas=1)


def pod(on: str | None, gpus: dict[str, int] | None = None, *, person: str = "ada", **spec: Any) -> dict[str, Any]:
    """A notebook's pod on a node; without a node it waits for one."""
    asked = {"cpu": "1", "memory": "4Gi", **{resource: str(number) for resource, number in (gpus or {}).items()}}
    return {
        "metadata": {"name": f"jupyter-{person}", "labels": {PERSON_LABEL: person}},
        "spec": {**({"nodeName": on} if on else {}), "containers": [{"resources": {"requests": asked}}], **spec},
        "status": {"phase": "Running" if on else "Pending"},
    }


def quota(used: dict[str, int] | None = None, **granted: int) -> dict[str, Any]:
    """A team's ResourceQuota: 16 of each GPU resource, unless it is said otherwise, by the resource's last part."""
    resources = {GPU: "gpu", SHARED: "shared", SLICE: "slice"}
    hard = {f"requests.{resource}": str(granted.get(key, 16)) for resource, key in resources.items()}
    taken = {f"requests.{resource}": str(number) for resource, number in (used or {}).items()}
    return {"spec": {"hard": hard}, "status": {"hard": hard, "used": taken}}
