"""What a node does at its first start, by its instance's user data: the labels, taints and settings of kubelet.

AL2023 reads NodeConfigs of a MIME document (awslabs/amazon-eks-ami, nodeadm), Bottlerocket its settings as TOML.
"""

from __future__ import annotations

import email
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_NODE_CONFIG = "application/node.eks.aws"
_LABELS_FLAG = "--node-labels="
_OWN_DISKS = "RAID0"
# What Karpenter calls the command of Bottlerocket that it adds for instanceStorePolicy RAID0.
_MOUNT_OWN_DISKS = "000-mount-instance-storage"


@dataclass(frozen=True)
class NodeSetup:
    """How kubelet registers a node. `reserved` is kube-reserved; `own_disks` says that pods are on the NVMe disks."""

    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    max_pods: int | None = None
    reserved: Mapping[str, str] | None = None
    own_disks: bool = False


def read(user_data: str) -> NodeSetup:
    """What user data says. Raises ValueError for what the image could not read either."""
    return _al2023(user_data) if user_data.lstrip().startswith("MIME-Version:") else _bottlerocket(user_data)


def _al2023(user_data: str) -> NodeSetup:
    labels: dict[str, str] = {}
    kubelet: dict[str, Any] = {}
    own_disks = False
    for config in _node_configs(user_data):
        spec = config.get("spec") or {}
        of_kubelet = spec.get("kubelet") or {}
        kubelet |= of_kubelet.get("config") or {}
        own_disks |= ((spec.get("instance") or {}).get("localStorage") or {}).get("strategy") == _OWN_DISKS
        for flag in of_kubelet.get("flags") or []:
            if flag.startswith(_LABELS_FLAG):
                pairs = flag.removeprefix(_LABELS_FLAG).strip('"').split(",")
                labels |= {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
    return NodeSetup(
        labels=labels,
        taints=tuple(kubelet.get("registerWithTaints") or ()),
        max_pods=kubelet.get("maxPods"),
        reserved=kubelet.get("kubeReserved"),
        own_disks=own_disks,
    )


def _node_configs(user_data: str) -> Iterator[Mapping[str, Any]]:
    for part in email.message_from_string(user_data).walk():
        if part.get_content_type() == _NODE_CONFIG:
            yield yaml.safe_load(str(part.get_payload()))


def _bottlerocket(user_data: str) -> NodeSetup:
    settings = tomllib.loads(user_data).get("settings", {})
    kubernetes = settings.get("kubernetes", {})
    taints = [
        {"key": key, "value": value, "effect": effect}
        for key, given in kubernetes.get("node-taints", {}).items()
        for value, _, effect in (one.rpartition(":") for one in given)
    ]
    return NodeSetup(
        labels=kubernetes.get("node-labels", {}),
        taints=tuple(taints),
        max_pods=kubernetes.get("max-pods"),
        reserved=kubernetes.get("kube-reserved"),
        own_disks=_MOUNT_OWN_DISKS in settings.get("bootstrap-commands", {}),
    )
