"""How the GPUs of a pool are shared: one definition, and what each of its consumers makes of it.

The device plugin is told to advertise shares, Karpenter what a machine with shares has, the NodePool how many there may
be, and a pod asks for one by the name that the device plugin gives it. Whole GPUs and shares never have the same name
(`renameByDefault`), so a pod gets what it asked for. All functions are pure; `pool` is the stack file's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

import contracts
from settings.gpu_fitting import mig_slices, mig_strategy
from settings.gpu_shares import GPU_RESOURCE, shares

if TYPE_CHECKING:
    from settings import NodePool

GPU_TAINT = {"key": GPU_RESOURCE, "value": "true", "effect": "NoSchedule"}

# Which of the operator's configurations a node gets. A pool's have its name.
DEVICE_PLUGIN_CONFIG_LABEL = "nvidia.com/device-plugin.config"
MIG_CONFIG_LABEL = "nvidia.com/mig.config"
# "false" keeps the operator's DaemonSets off a node.
OPERANDS_LABEL = "nvidia.com/gpu.deploy.operands"

# The configuration of nodes that have no label. No pool's name has an underscore.
WHOLE_GPUS = "whole_gpus"
MIG_OFF = "all-disabled"

NODE_POOL_LABEL = "karpenter.sh/nodepool"
GPU_COUNT_LABEL = "karpenter.k8s.aws/instance-gpu-count"


def advertised(pool: NodePool, gpus: int) -> dict[str, str]:
    """What a node with so many GPUs has; the pool's limit, when it is the pool's limit in GPUs."""
    return {resource: str(count * gpus) for resource, count in shares(pool).items()}


def node_labels(name: str, pool: NodePool) -> dict[str, str]:
    """The labels by which a pool's nodes get their configuration; none for CPU pools."""
    if not pool.is_gpu:
        return {}
    if pool.ami.family == "Bottlerocket":
        # It has a device plugin of its own, set up by its user data: a second one would contend with it.
        return {OPERANDS_LABEL: "false"}
    labels = {DEVICE_PLUGIN_CONFIG_LABEL: name}
    return {**labels, MIG_CONFIG_LABEL: name} if pool.gpu.sharing == "mig" else labels


def node_overlays(name: str, pool: NodePool) -> dict[str, dict[str, Any]]:
    """The `spec`s of the pool's NodeOverlays (karpenter.sh/v1alpha1), by their names; none for whole GPUs.

    Karpenter knows how many GPUs a machine has, and not that they are shared: without these it would buy a machine for
    each pod. What a machine has depends on its GPUs, so there is one for each number of them.
    """
    if not pool.is_gpu or pool.gpu.sharing == "none":
        return {}
    counts = sorted({one.gpu_count for one in pool.instance_types})
    return {
        f"{name}-{count}": {
            "requirements": [
                {"key": NODE_POOL_LABEL, "operator": "In", "values": [name]},
                {"key": GPU_COUNT_LABEL, "operator": "In", "values": [str(count)]},
            ],
            "capacity": {GPU_RESOURCE: "0", **advertised(pool, count)},
        }
        for count in counts
    }


def device_plugin_config(pool: NodePool) -> dict[str, Any]:
    """The configuration of NVIDIA's device plugin (v1) for the pool's nodes.

    A pod can't have two shares of a GPU: it would get no more of it, so the plugin refuses it (k8s-device-plugin,
    "Shared Access to GPUs"). The MIG strategy is the operator's, for the whole cluster.
    """
    if pool.gpu.sharing not in ("time-slicing", "mps"):
        return {"version": "v1"}
    kind = "timeSlicing" if pool.gpu.sharing == "time-slicing" else "mps"
    shared = {
        "renameByDefault": True,
        "failRequestsGreaterThanOne": True,
        "resources": [{"name": GPU_RESOURCE, "replicas": pool.gpu.replicas}],
    }
    return {"version": "v1", "sharing": {kind: shared}}


def mig_config(pool: NodePool) -> list[dict[str, Any]]:
    """How mig-parted (v1) partitions the GPUs of the pool's nodes."""
    slices = mig_slices(pool.gpu, pool.instance_types)
    return [{"devices": "all", "mig-enabled": True, "mig-devices": slices}]


def operator_values(pools: Mapping[str, NodePool]) -> dict[str, Any]:
    """The part of the GPU Operator's values that says how GPUs are shared: one configuration a pool, by its name."""
    managed = {name: pool for name, pool in pools.items() if is_managed(pool)}
    plugin = {WHOLE_GPUS: {"version": "v1"}, **{name: device_plugin_config(pool) for name, pool in managed.items()}}
    plugin_data = {name: _yaml(config) for name, config in plugin.items()}
    partitioned = {name: pool for name, pool in managed.items() if pool.gpu.sharing == "mig"}
    values: dict[str, Any] = {
        "devicePlugin": {
            "config": {
                "create": True,
                "name": _named("gpulab-device-plugin", plugin_data),
                "default": WHOLE_GPUS,
                "data": plugin_data,
            }
        },
        # Without MIG it does nothing: a GPU that is not partitioned is whole by either strategy.
        "mig": {"strategy": next(map(mig_strategy, partitioned.values()), "mixed")},
        "migManager": {"enabled": bool(partitioned)},
    }
    if partitioned:
        configs = {
            MIG_OFF: [{"devices": "all", "mig-enabled": False}],
            **{name: mig_config(pool) for name, pool in partitioned.items()},
        }
        mig_data = {"config.yaml": _yaml({"version": "v1", "mig-configs": configs})}
        values["migManager"] |= {
            "config": {
                "create": True,
                "name": _named("gpulab-mig", mig_data),
                "default": MIG_OFF,
                "data": mig_data,
            },
            "env": [
                # Where the mode is not set yet (`components.user_data`): an instance cannot reset an A100.
                {"name": "WITH_REBOOT", "value": "true"},
                # By default, kubelet is stopped meanwhile where the driver is the host's. On AL2023 containerd then
                # loses its containers, and the node stays NotReady (NVIDIA/mig-parted, issue 368). Kubelet holds no GPU
                # since Kubernetes 1.25, which took accelerator metrics out of it.
                {"name": "HOST_KUBELET_SYSTEMD_SERVICE", "value": ""},
            ],
        }
    return values


def is_managed(pool: NodePool) -> bool:
    """Whether the GPU Operator's DaemonSets run on the pool's nodes."""
    return pool.is_gpu and pool.ami.family == "AL2023"


def bottlerocket_settings(pool: NodePool) -> dict[str, Any]:
    """`settings.kubelet-device-plugins.nvidia` of a Bottlerocket pool: the same for its own device plugin."""
    kind = pool.gpu.sharing
    if kind == "time-slicing":
        shared = {"replicas": pool.gpu.replicas, "rename-by-default": True, "fail-requests-greater-than-one": True}
        return {"device-sharing-strategy": kind, kind: shared}
    if kind == "mps":
        return {"device-sharing-strategy": kind, kind: {"replicas": pool.gpu.replicas, "rename-by-default": True}}
    if kind == "mig":
        gpus = filter(None, map(contracts.mig_gpu, pool.instance_types))
        profiles = {gpu.bottlerocket: pool.gpu.profile for gpu in gpus}
        return {"device-partitioning-strategy": kind, kind: {"profile": profiles}}
    return {}


def tolerations(pools: Mapping[str, NodePool], *, at_start: bool = True) -> list[dict[str, str]]:
    """What whatever has to run on each node of the pools tolerates: all their taints, `at_start` those of a start too.

    Who waits until a node is ready does not tolerate these.
    """
    found: list[dict[str, str]] = []
    for pool in pools.values():
        own = [
            taint.model_dump(exclude_none=True) for taint in (*pool.taints, *(pool.startup_taints if at_start else ()))
        ]
        for taint in [*([GPU_TAINT] if pool.is_gpu else []), *own]:
            matched = {"operator": "Equal", "value": taint["value"]} if "value" in taint else {"operator": "Exists"}
            toleration = {"key": taint["key"], **matched, "effect": taint["effect"]}
            if taint["effect"] != "PreferNoSchedule" and toleration not in found:
                found.append(toleration)
    return found


def _named(name: str, data: Mapping[str, str]) -> str:
    """A ConfigMap's name that changes with its data: the operator looks at the name alone, and not at the data."""
    return f"{name}-{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]}"


def _yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False)
