"""How the GPUs of a pool are shared: derives the settings of all consumers from the pool's one definition.

The device plugin advertises shares, Karpenter learns what an instance with shares has, the NodePool limits their
number, and a pod requests one by the name that the device plugin gives it. Whole GPUs and shares never have the same
name (`renameByDefault`), so a pod gets what it requested. All functions are pure; `pool` is the stack file's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

import contracts
from components.ground.system_nodes import NODE_POOL_LABEL
from settings.pools.gpu_shares import GPU_RESOURCE, advertised
from settings.pools.labels import DEVICE_PLUGIN_CONFIG_LABEL, MIG_CONFIG_LABEL

if TYPE_CHECKING:
    from settings import NodePool
    from settings.pools.labels import Taint
    from settings.pools.pool import Pool

# "false" keeps the operator's DaemonSets off a node.
OPERANDS_LABEL = "nvidia.com/gpu.deploy.operands"

# The configuration of nodes without the label. No pool has this name, because it contains an underscore.
WHOLE_GPUS = "whole_gpus"
_WHOLE = {"version": "v1"}
MIG_OFF = "all-disabled"

GPU_COUNT_LABEL = "karpenter.k8s.aws/instance-gpu-count"


def node_labels(name: str, pool: NodePool) -> dict[str, str]:
    """The labels that select the configuration of a pool's nodes; none for CPU pools."""
    if not pool.is_gpu:
        return {}
    if pool.ami.family == "Bottlerocket":
        # Bottlerocket has its own device plugin, which user data configures. A second one would conflict with it.
        return {OPERANDS_LABEL: "false"}
    # A plugin begins with the configuration of nodes without the label, and starts again where the label's is another
    # (k8s-device-plugin v0.19.3, cmd/config-manager). Kubernetes refuses a pod that gets there meanwhile
    # (UnexpectedAdmissionError). A pod for shares can't: the first configuration has none.
    shared = device_plugin_config(pool) != _WHOLE
    labels = {DEVICE_PLUGIN_CONFIG_LABEL: name if shared else WHOLE_GPUS}
    return {**labels, MIG_CONFIG_LABEL: name} if pool.gpu.sharing == "mig" else labels


def node_overlays(name: str, pool: NodePool) -> dict[str, dict[str, Any]]:
    """The `spec`s of the pool's NodeOverlays (karpenter.sh/v1alpha1), by their names; none for whole GPUs.

    Karpenter knows how many GPUs an instance has, but not that they are shared: without overlays it would buy an
    instance for each pod. There is an overlay for each number of GPUs, because shares depend on it.
    """
    if not pool.is_gpu or pool.gpu.sharing == "none":
        return {}
    counts = sorted({instance_type.gpu_count for instance_type in pool.instance_types})
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


def device_plugin_config(pool: Pool, *, strategy: bool = False) -> dict[str, Any]:
    """The configuration of NVIDIA's device plugin (v1) for the pool's nodes.

    With `strategy` it has the pool's MIG strategy, which the operator sets for the whole cluster. A pod can't have two
    shares: it would not get more of the GPU, so the plugin refuses it (k8s-device-plugin, "Shared Access to GPUs").
    """
    if strategy and pool.gpu.sharing == "mig":
        return {"version": "v1", "flags": {"migStrategy": pool.mig_strategy}}
    if pool.gpu.sharing not in ("time-slicing", "mps"):
        return {**_WHOLE}
    kind = "timeSlicing" if pool.gpu.sharing == "time-slicing" else "mps"
    shared = {
        "renameByDefault": True,
        "failRequestsGreaterThanOne": True,
        "resources": [{"name": GPU_RESOURCE, "replicas": pool.gpu.replicas}],
    }
    return {"version": "v1", "sharing": {kind: shared}}


def mig_config(pool: Pool) -> list[dict[str, Any]]:
    """How mig-parted (v1) partitions the GPUs of the pool's nodes."""
    slices = dict(pool.mig_slices)
    return [{"devices": "all", "mig-enabled": True, "mig-devices": slices}]


def plugin_configs(pools: Mapping[str, Pool], *, strategies: bool = False) -> dict[str, str]:
    """The configurations of NVIDIA's device plugin as YAML: one per pool, by the pool's name, and one of whole GPUs.

    `strategies` as in `device_plugin_config`.
    """
    own = {name: device_plugin_config(pool, strategy=strategies) for name, pool in pools.items()}
    plugin = {WHOLE_GPUS: {**_WHOLE}, **own}
    return {name: as_yaml(config) for name, config in plugin.items()}


def operator_values(pools: Mapping[str, NodePool]) -> dict[str, Any]:
    """The GPU Operator's values that define how the GPUs of pools that it manages are shared."""
    managed = {name: pool for name, pool in pools.items() if is_managed(pool)}
    # If user data did not set the mode (`components.nodes.user_data`): an instance cannot reset an A100.
    return sharing_values(managed, with_reboot=True)


def sharing_values(
    pools: Mapping[str, Pool], *, default: str = WHOLE_GPUS, with_reboot: bool = False
) -> dict[str, Any]:
    """The GPU Operator's values that define how GPUs are shared: one configuration per pool, by the pool's name.

    Nodes without a label of a configuration get `default`. `with_reboot`: a node may be started again to partition it.
    """
    plugin_data = plugin_configs(pools)
    partitioned = {name: pool for name, pool in pools.items() if pool.gpu.sharing == "mig"}
    values: dict[str, Any] = {
        "devicePlugin": {
            "config": {
                "create": True,
                "name": _named("gpulab-device-plugin", plugin_data),
                "default": default,
                "data": plugin_data,
            }
        },
        # Without MIG it has no effect: both strategies treat a GPU that is not partitioned as whole.
        "mig": {"strategy": next((pool.mig_strategy for pool in partitioned.values()), "mixed")},
        "migManager": {"enabled": bool(partitioned)},
    }
    if partitioned:
        configs = {
            MIG_OFF: [{"devices": "all", "mig-enabled": False}],
            **{name: mig_config(pool) for name, pool in partitioned.items()},
        }
        mig_data = {"config.yaml": as_yaml({"version": "v1", "mig-configs": configs})}
        values["migManager"] |= {
            "config": {
                "create": True,
                "name": _named("gpulab-mig", mig_data),
                "default": default if default in partitioned else MIG_OFF,
                "data": mig_data,
            },
            "env": [
                {"name": "WITH_REBOOT", "value": str(with_reboot).lower()},
                # By default, kubelet is stopped while the mode changes if the host has the driver. On AL2023 containerd
                # then loses its containers, and the node stays NotReady (NVIDIA/mig-parted, issue 368). Kubelet does
                # not use GPUs since Kubernetes 1.25, which removed its accelerator metrics.
                {"name": "HOST_KUBELET_SYSTEMD_SERVICE", "value": ""},
            ],
        }
    return values


def is_managed(pool: NodePool) -> bool:
    """Whether the GPU Operator's DaemonSets run on the pool's nodes."""
    return pool.is_gpu and pool.ami.family == "AL2023"


def bottlerocket_settings(pool: NodePool) -> dict[str, Any]:
    """`settings.kubelet-device-plugins.nvidia` of a Bottlerocket pool: how its own device plugin shares GPUs."""
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


def tolerations(pools: Mapping[str, Pool], *, at_start: bool = True) -> list[dict[str, str]]:
    """The tolerations of a pod that must run on every node of the pools; with `at_start`, of startup taints too.

    A pod that waits until a node is ready must not tolerate startup taints.
    """
    found: list[dict[str, str]] = []
    for pool in pools.values():
        for taint in (*pool.node_taints, *(pool.startup_taints if at_start else ())):
            matching = toleration(taint)
            if taint.effect != "PreferNoSchedule" and matching not in found:
                found.append(matching)
    return found


def toleration(taint: Taint) -> dict[str, str]:
    """The toleration of exactly this taint."""
    matched = {"operator": "Exists"} if taint.value is None else {"operator": "Equal", "value": taint.value}
    return {"key": taint.key, **matched, "effect": taint.effect}


def _named(name: str, data: Mapping[str, str]) -> str:
    """A ConfigMap's name that changes with its data: the operator watches only the name, not the data."""
    return f"{name}-{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]}"


def as_yaml(document: Any) -> str:
    """A configuration as a ConfigMap holds it."""
    return yaml.safe_dump(document, sort_keys=False)
