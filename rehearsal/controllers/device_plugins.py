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
from dataclasses import dataclass
from typing import Any

import yaml

from contracts import InstanceType, mig_gpu, node_images
from rehearsal.controllers.deployed import DeployedRelease
from settings.pools.gpu_fitting import fits

CHART = "gpu-operator"

_LOG = logging.getLogger("controllers.device_plugins")
_GPU = "nvidia.com/gpu"
_CONFIG = "nvidia.com/device-plugin.config"
_MIG_CONFIG = "nvidia.com/mig.config"
_OPERANDS = "nvidia.com/gpu.deploy.operands"
_BOTTLEROCKET = "bottlerocket@"
_OFF = re.compile(r"accept-nvidia-visible-devices-envvar-when-unprivileged *= *false")


@dataclass(frozen=True)
class DevicePlugin:
    """The configuration of one node's plugin: MIG slices of each GPU by profile, how they are named, replicas."""

    slices: Mapping[str, int]
    strategy: str
    replicas: int = 1
    renamed: bool = False

    def resources(self, gpus: int) -> dict[str, str]:
        """What kubelet reports of so many GPUs."""
        counts = {_GPU: gpus}
        if self.slices:
            counts = {f"nvidia.com/mig-{profile}": count * gpus for profile, count in self.slices.items()}
            if self.strategy == "single":
                counts = {_GPU: sum(counts.values())}
        # Only whole GPUs, or what bears their name, are shared by pods.
        shared = f"{_GPU}.shared" if self.renamed else _GPU
        found = {
            (shared if name == _GPU else name): count * (self.replicas if name == _GPU else 1)
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
        plugin = operator_plugin(labels, operator.values, instance_type)
    return plugin.resources(instance_type.gpu_count) if plugin else {}


def operator_plugin(
    labels: Mapping[str, str], values: Mapping[str, Any], instance_type: InstanceType
) -> DevicePlugin | None:
    """The plugin as the operator sets it up; None where it fails: at a label that names no configuration, say."""
    config = values["devicePlugin"]["config"]
    name = labels.get(_CONFIG) or config["default"]
    if name not in config["data"]:
        _LOG.warning("no device plugin configuration %s: there are %s", name, ", ".join(config["data"]))
        return None
    sharing = (yaml.safe_load(config["data"][name]) or {}).get("sharing", {})
    shared = sharing.get("mps") or sharing.get("timeSlicing") or {}
    replicas = {one["name"]: one["replicas"] for one in shared.get("resources", [])}
    slices, gpu = _operator_slices(labels, values), mig_gpu(instance_type)
    if slices and (gpu is None or not fits(slices, gpu)):
        _LOG.warning("%s cannot be partitioned into %s", instance_type.name, slices)
        return None
    if slices and _stops_kubelet(values):
        _LOG.warning("mig-manager restarts kubelet, after which an AL2023 node stays NotReady (mig-parted, issue 368)")
        return None
    return DevicePlugin(
        slices=slices,
        strategy=values["mig"]["strategy"],
        replicas=replicas.get(_GPU, 1),
        renamed=bool(replicas) and shared.get("renameByDefault", False),
    )


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
