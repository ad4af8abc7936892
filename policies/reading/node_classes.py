"""What sets up the nodes of a NodePool: their EC2NodeClass and their device plugin's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from policies.reading import helm
from policies.reading.node_pools import node_labels
from policies.reading.pods import object_name
from policies.reading.resources import NotDecidedError, Resource, Stack, at, items, parsed

# NVIDIA/k8s-device-plugin, v0.20.0: the label by which a node names its configuration.
_CONFIG_LABEL = "nvidia.com/device-plugin.config"
# NVIDIA/mig-parted, v0.15.0.
_MIG_LABEL, _MIG_OFF = "nvidia.com/mig.config", "all-disabled"
_MIG_MODE = re.compile(r"nvidia-smi\b.*-(?:mig|-multi-instance-gpu)[ =](?:1|ENABLED)")
# bottlerocket-os/bottlerocket, settings.kubelet-device-plugins.nvidia.
_BOTTLEROCKET_MPS = re.compile(r"""^\s*["']?device-sharing-strategy["']?\s*=\s*["']mps["']""", re.MULTILINE)

# NVIDIA/nvidia-container-toolkit, v1.19.1, config.toml; in Bottlerocket's settings without the name of the vendor.
_BY_VARIABLE = re.compile(r"visible-devices-envvar-when-unprivileged[\"'\s]*=[\"'\s]*(?P<value>true|false)")


def node_class_of(stack: Stack, pool: Resource) -> Resource | None:
    """The EC2NodeClass of a pool; None if its class is of another kind or not in the stack."""
    reference = at(pool.props, "spec.template.spec.nodeClassRef", {})
    if reference.get("kind", "EC2NodeClass") != "EC2NodeClass":
        return None
    return next((one for one in stack.of_kind("EC2NodeClass") if object_name(one) == reference.get("name")), None)


def user_data(node_class: Resource) -> str:
    """What nodes of a class run or read when they start."""
    return str(at(node_class.props, "spec.userData", ""))


def gives_gpus_by_variable(node_class: Resource) -> bool:
    """Whether containers get the GPUs that NVIDIA_VISIBLE_DEVICES names.

    The default of AL2023 and AL2 is yes, that of Bottlerocket no. Raises NotDecidedError for an image that is selected
    by id, tags or name, unless user data decide it.
    """
    lines = [line for line in user_data(node_class).splitlines() if not line.lstrip().startswith("#")]
    settings = [found["value"] for line in lines for found in _BY_VARIABLE.finditer(line)]
    if settings:
        # The last one wins, in a script and in a sed command that replaces one by the other.
        return settings[-1] == "true"
    aliases = [str(term.get("alias") or "") for term in items(at(node_class.props, "spec.amiSelectorTerms"))]
    family = str(at(node_class.props, "spec.amiFamily", "")).lower()
    families = {alias.partition("@")[0] or family for alias in aliases} or {family}
    if families <= {"bottlerocket"}:
        return False
    if not families <= {"al2023", "al2", "bottlerocket"}:
        why = "its image is selected by id, tags or name"
        raise NotDecidedError(
            f"which GPUs containers get on nodes of the EC2NodeClass {object_name(node_class)}: {why}"
        )
    return True


def needs_mig_mode(stack: Stack, pool: Resource) -> bool:
    """Whether mig-manager partitions the GPUs of a pool's nodes, and user data do not set the MIG mode before."""
    if node_labels(pool).get(_MIG_LABEL, _MIG_OFF) == _MIG_OFF:
        return False
    node_class = node_class_of(stack, pool)
    return node_class is None or not _MIG_MODE.search(user_data(node_class))


def shares_by_mps(stack: Stack, pool: Resource) -> bool:
    """Whether the device plugin's configuration lets pods share the GPUs of a pool's nodes by MPS."""
    node_class = node_class_of(stack, pool)
    if node_class is not None and _BOTTLEROCKET_MPS.search(user_data(node_class)):
        return True
    return any(at(config, "sharing.mps") for config in _configurations(stack, node_labels(pool)))


def _configurations(stack: Stack, labels: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The device plugin's configuration for nodes with these labels, from each chart that has one."""
    found: list[Mapping[str, Any]] = []
    for chart, path, data in (
        ("gpu-operator", "devicePlugin.config", "data"),
        ("nvidia-device-plugin", "config", "map"),
    ):
        for release in helm.releases(stack, chart):
            given = at(helm.values(release), path, {})
            texts = at(given, data) or {}
            # If there is only one configuration, the chart nvidia-device-plugin makes it the default.
            default = given.get("default") or (next(iter(texts), None) if len(texts) == 1 else None)
            text = texts.get(labels.get(_CONFIG_LABEL) or default)
            config = parsed(text) if isinstance(text, str) else text
            if isinstance(config, Mapping):
                found.append(config)
    return found
