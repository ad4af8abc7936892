"""What NVIDIA's device plugin makes of a node's GPUs, from the very configuration that it is given.

On AL2023 that is the GPU Operator's: without its deployed release a node has no GPU to ask for. On Bottlerocket it is
the user data of the node. So a node's shares come from the one side, and what Karpenter expects of a machine
from the other (NodeOverlays): where the two disagree, pods stay pending or too many nodes are bought, as on AWS.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from contracts import InstanceType, MigGpu, mig_gpu, node_images
from rehearsal.controllers.deployed import DeployedRelease
from rehearsal.controllers.world import NODES, Cluster, Object, place_of
from settings.pools.gpu_fitting import fits

CHART = "gpu-operator"
VENDOR = "nvidia.com/"
GPU = f"{VENDOR}gpu"

_LOG = logging.getLogger("controllers.device_plugins")
_CONFIG = "nvidia.com/device-plugin.config"
_MIG_CONFIG = "nvidia.com/mig.config"
_OPERANDS = "nvidia.com/gpu.deploy.operands"
_BOTTLEROCKET = "bottlerocket@"
_OFF = re.compile(r"accept-nvidia-visible-devices-envvar-when-unprivileged *= *false")


@dataclass(frozen=True)
class DevicePlugin:
    """The configuration of one node's plugin: MIG slices of each GPU by profile, how they are named, replicas.

    `sharing` is how pods share a GPU of which there are replicas: time-slicing or mps.
    """

    slices: Mapping[str, int] = field(default_factory=dict)
    strategy: str = "none"
    replicas: int = 1
    renamed: bool = False
    sharing: str = "time-slicing"

    def resources(self, gpus: int) -> dict[str, str]:
        """What kubelet reports of so many GPUs."""
        counts = {GPU: gpus}
        if self.slices:
            counts = {f"nvidia.com/mig-{profile}": count * gpus for profile, count in self.slices.items()}
            if self.strategy == "single":
                counts = {GPU: sum(counts.values())}
        # Only whole GPUs, or what bears their name, are shared by pods.
        shared = f"{GPU}.shared" if self.renamed else GPU
        found = {
            (shared if name == GPU else name): count * (self.replicas if name == GPU else 1)
            for name, count in counts.items()
        }
        return {name: str(count) for name, count in found.items()}


def gpu_resources(
    labels: Mapping[str, str],
    instance_type: InstanceType,
    image: str,
    user_data: str,
    operator: DeployedRelease | None,
) -> dict[str, str]:
    """What kubelet reports of the GPUs of a node with these labels; nothing where no plugin runs.

    `image` is an alias: al2023@v20260917.
    """
    if not instance_type.gpu_count or instance_type.gpu_manufacturer != "NVIDIA":
        return {}
    if not node_images().drives(image, instance_type.family):
        _LOG.warning("the driver of %s does not know the GPUs of %s", image, instance_type.name)
        return {}
    if image.startswith(_BOTTLEROCKET):
        plugin = bottlerocket_plugin(user_data, instance_type)
    elif operator is None or labels.get(_OPERANDS) == "false":
        return {}
    elif _OFF.search(user_data) and not operator.values.get("cdi", {}).get("enabled", True):
        _LOG.warning("the device plugin names GPUs by a variable, which the runtime of %s ignores", instance_type.name)
        return {}
    else:
        plugin = operator_plugin(labels, operator.values, mig_gpu(instance_type), instance_type.name)
    return plugin.resources(instance_type.gpu_count) if plugin else {}


def operator_plugin(
    labels: Mapping[str, str], values: Mapping[str, Any], gpu: MigGpu | None, machine: str
) -> DevicePlugin | None:
    """The plugin as the operator sets it up; None where it fails: at a label that names no configuration, say.

    `gpu` says how the GPUs of the `machine` can be partitioned.
    """
    config = values["devicePlugin"]["config"]
    plugin = sharing_plugin(labels, config["data"], config["default"])
    slices = _operator_slices(labels, values)
    if slices and (gpu is None or not fits(slices, gpu)):
        _LOG.warning("%s cannot be partitioned into %s", machine, slices)
        return None
    if slices and _stops_kubelet(values):
        _LOG.warning("mig-manager restarts kubelet, after which an AL2023 node stays NotReady (mig-parted, issue 368)")
        return None
    return plugin and replace(plugin, slices=slices, strategy=values["mig"]["strategy"])


def sharing_plugin(labels: Mapping[str, str], configs: Mapping[str, str], default: str) -> DevicePlugin | None:
    """The plugin by the configuration that a node's label selects; None where there is none of that name."""
    name = labels.get(_CONFIG) or default
    if name not in configs:
        _LOG.warning("no device plugin configuration %s: there are %s", name, ", ".join(configs))
        return None
    sharing = (yaml.safe_load(configs[name]) or {}).get("sharing", {})
    shared = sharing.get("mps") or sharing.get("timeSlicing") or {}
    replicas = {one["name"]: one["replicas"] for one in shared.get("resources", [])}
    return DevicePlugin(
        replicas=replicas.get(GPU, 1),
        renamed=bool(replicas) and shared.get("renameByDefault", False),
        sharing="mps" if sharing.get("mps") else "time-slicing",
    )


def report_gpus(cluster: Cluster, live: Object, gpus: Mapping[str, str]) -> None:
    """Brings the GPUs in a node's status to those of the device plugin; nothing else of NVIDIA's is left."""
    changes = {}
    for key in ("capacity", "allocatable"):
        now = live["status"].get(key, {})
        stale = [name for name in now if name.startswith(VENDOR) and name not in gpus]
        if stale or any(now.get(name) != count for name, count in gpus.items()):
            changes[key] = {**gpus, **dict.fromkeys(stale)}
    if changes:
        cluster.kubernetes.patch(f"{place_of(NODES, live)}/status", {"status": changes})


def _stops_kubelet(values: Mapping[str, Any]) -> bool:
    """Whether mig-manager stops the host's kubelet while it changes the GPUs' mode: it does, unless told otherwise."""
    environment = {one["name"]: one.get("value", "") for one in values["migManager"].get("env", [])}
    return environment.get("HOST_KUBELET_SYSTEMD_SERVICE", "kubelet.service") != ""


def _operator_slices(labels: Mapping[str, str], values: Mapping[str, Any]) -> Mapping[str, int]:
    manager = values.get("migManager", {})
    if not manager.get("enabled", True) or _MIG_CONFIG not in labels:
        return {}
    configs = yaml.safe_load(manager["config"]["data"]["config.yaml"])["mig-configs"]
    (devices,) = configs[labels[_MIG_CONFIG]]
    return devices["mig-devices"] if devices["mig-enabled"] else {}


def bottlerocket_plugin(user_data: str, instance_type: InstanceType) -> DevicePlugin:
    """Bottlerocket's own plugin, by `settings.kubelet-device-plugins.nvidia`. Raises ValueError for what is no TOML."""
    settings = tomllib.loads(user_data).get("settings", {}).get("kubelet-device-plugins", {}).get("nvidia", {})
    sharing = settings.get("device-sharing-strategy", "none")
    shared = settings.get(sharing, {}) if sharing != "none" else {}
    slices: dict[str, int] = {}
    if settings.get("device-partitioning-strategy") == "mig" and (gpu := mig_gpu(instance_type)):
        # As many of the model's profile as fit.
        profile = settings["mig"]["profile"].get(gpu.bottlerocket)
        slices = {profile: len(gpu.profiles[profile].starts)} if profile in gpu.profiles else {}
    return DevicePlugin(
        slices=slices,
        strategy="single",
        replicas=shared.get("replicas", 1),
        renamed=shared.get("rename-by-default", sharing != "none"),
    )
