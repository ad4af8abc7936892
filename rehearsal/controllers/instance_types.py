"""What Karpenter may buy: the file of instance types that its KWOK provider reads when it starts.

Each offering carries the labels that Karpenter's AWS provider gives an instance type, or says that it has none. So the
stack's own requirements on `karpenter.k8s.aws/…` are decided by Karpenter itself, and nodes get those labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import contracts
from contracts import InstanceType
from rehearsal.aws import nodes
from settings.allocatable import MEMORY_OVERHEAD, reserved_mib, reserved_millicores

GPU_RESOURCES = {"NVIDIA": "nvidia.com/gpu"}
SPOT, ON_DEMAND = "spot", "on-demand"

PREFIX = "karpenter.k8s.aws/instance-"
GPU_COUNT = f"{PREFIX}gpu-count"
# Their order is that of the label reference, https://karpenter.sh/docs/reference/instance-types.
_LABELS = (
    "category",
    "family",
    "generation",
    "size",
    "cpu",
    "memory",
    "local-nvme",
    "gpu-name",
    "gpu-manufacturer",
    "gpu-count",
    "gpu-memory",
)
# Spot prices move by the hour; what matters is that spot is the cheaper way to have a type.
_SPOT_SHARE = 0.35
# What the KWOK provider takes off every type (kwok/cloudprovider/helpers.go); on AWS it is kubelet's reservation.
_KWOK_MILLICORES, _KWOK_MIB = 100, 10
# The size of the root volume is the node class's, which a type does not know.
_ANY_DISK = "16Ti"
FILE = "instance-types.json"
_SPOT_IS_OUT = "spot-is-out"


def labels(instance_type: InstanceType) -> dict[str, str]:
    """The `karpenter.k8s.aws/instance-…` labels of a type, as far as its contract has the facts; sizes are in MiB."""
    found = {
        "category": instance_type.category,
        "family": instance_type.family,
        "generation": str(instance_type.generation),
        "size": instance_type.size,
        "cpu": str(instance_type.vcpu),
        "memory": str(instance_type.memory_mib),
    }
    if instance_type.nvme_gb:
        found["local-nvme"] = str(instance_type.nvme_gb)
    if instance_type.gpu_name and instance_type.gpu_manufacturer:
        found |= {
            "gpu-name": _kebab(instance_type.gpu_name),
            "gpu-manufacturer": _kebab(instance_type.gpu_manufacturer),
            "gpu-count": str(instance_type.gpu_count),
            "gpu-memory": str(instance_type.gpu_memory_mib),
        }
    return {PREFIX + key: value for key, value in found.items()}


def extended_resources(instance_type: InstanceType) -> dict[str, str]:
    """The GPUs that a device plugin reports."""
    resource = GPU_RESOURCES.get(instance_type.gpu_manufacturer or "")
    return {resource: str(instance_type.gpu_count)} if resource and instance_type.gpu_count else {}


def described(
    instance_type: InstanceType, *, region: str, zones: Sequence[str], capacity_types: Sequence[str]
) -> dict[str, Any]:
    """An instance type in the form of the KWOK provider, with an offering for each zone and way to pay."""
    price = instance_type.price or 0.0
    prices = {ON_DEMAND: price, SPOT: round(price * _SPOT_SHARE, 6)}
    own = labels(instance_type)
    of_type = [
        {"key": key, "operator": "In", "values": [own[key]]} if key in own else {"key": key, "operator": "DoesNotExist"}
        for key in (PREFIX + label for label in _LABELS)
    ]
    offerings = [
        {
            "Price": prices[capacity_type],
            "Available": True,
            "Requirements": [
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": [capacity_type]},
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]},
                {"key": "topology.kubernetes.io/region", "operator": "In", "values": [region]},
                *of_type,
            ],
        }
        for capacity_type in capacity_types
        for zone in zones
        if capacity_type != SPOT or instance_type.spot
    ]
    return {
        "name": instance_type.name,
        "offerings": offerings,
        "architecture": nodes.ARCHITECTURES[instance_type.arch],
        "operatingSystems": ["linux"],
        "resources": _resources(instance_type),
    }


def catalogue(
    types: Iterable[InstanceType], *, region: str, zones: Sequence[str], spot: bool = True
) -> list[dict[str, Any]]:
    """The types that are sold, in the form of the KWOK provider. Without `spot` every spot offering is out."""
    capacity_types = (SPOT, ON_DEMAND) if spot else (ON_DEMAND,)
    return [
        described(one, region=region, zones=zones, capacity_types=capacity_types)
        for one in types
        if one.price is not None
    ]


def write(path: Path, *, region: str, zones: Sequence[str], spot: bool) -> None:
    """Writes the file for Karpenter."""
    types = catalogue(contracts.instance_types().values(), region=region, zones=zones, spot=spot)
    path.write_text(json.dumps(types), encoding="utf-8")


def offers_spot(folder: Path) -> bool:
    """Whether Karpenter was started with spot offerings; `folder` is the controllers'."""
    return f'"{SPOT}"' in (folder / FILE).read_text(encoding="utf-8")


def spot_is_out(folder: Path) -> bool:
    """Whether no spot instance is to be had; `folder` is the controllers'."""
    return (folder / _SPOT_IS_OUT).exists()


def set_spot_out(folder: Path, *, out: bool) -> None:
    """Takes every spot offering out, or brings them back. Karpenter starts anew to see it."""
    if out:
        (folder / _SPOT_IS_OUT).touch()
    else:
        (folder / _SPOT_IS_OUT).unlink(missing_ok=True)


def _resources(instance_type: InstanceType) -> dict[str, str]:
    """Capacity, chosen so that the KWOK provider leaves of it what AWS's would: no pod is put where it won't fit.

    The least of both capacities, because a pool's limits count them.
    """
    cpu = 1000 * instance_type.vcpu
    memory = int(instance_type.memory_mib * (1 - MEMORY_OVERHEAD))
    return {
        "cpu": f"{min(cpu, cpu - reserved_millicores(instance_type) + _KWOK_MILLICORES)}m",
        "memory": f"{min(memory, memory - reserved_mib(instance_type) + _KWOK_MIB)}Mi",
        "pods": str(instance_type.max_pods_eni),
        "ephemeral-storage": _ANY_DISK,
        **extended_resources(instance_type),
    }


def _kebab(text: str) -> str:
    return text.lower().replace(" ", "-")
