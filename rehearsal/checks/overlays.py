"""What Karpenter expects of the GPUs of an instance type: what EC2 says of it, and what NodeOverlays make of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts import InstanceType
from rehearsal.controllers.selectors import matches

_PREFIX = "karpenter.k8s.aws/instance-"
_GPU_RESOURCES = {"NVIDIA": "nvidia.com/gpu"}


def labels(instance_type: InstanceType) -> dict[str, str]:
    """Karpenter's labels of a type, as far as its contract has the facts; sizes are in MiB.

    Source: https://karpenter.sh/docs/reference/instance-types.
    """
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
    return {_PREFIX + key: value for key, value in found.items()}


def expected_gpus(
    instance_type: InstanceType, labels: Mapping[str, str], overlays: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """The GPU resources that Karpenter counts on a node with these labels."""
    resource = _GPU_RESOURCES.get(instance_type.gpu_manufacturer or "")
    expected = {resource: str(instance_type.gpu_count)} if resource and instance_type.gpu_count else {}
    for overlay in sorted(overlays, key=lambda one: one["spec"].get("weight", 0)):
        if matches(overlay["spec"].get("requirements", []), labels):
            expected |= overlay["spec"].get("capacity", {})
    return {name: count for name, count in expected.items() if count != "0"}


def _kebab(text: str) -> str:
    return text.lower().replace(" ", "-")
