"""The settings of a small stack on a cluster that exists, and nodes as its API server has them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest

import settings
from settings.existing_stack import ExistingSettings
from settings.pools.found_nodes import FoundNode
from settings.pools.labels import SiteTaint

TODAY = datetime.date(2026, 6, 1)

# Two kinds of GPU, one of them shared, and a machine without.
POOLS: dict[str, Any] = {
    "cpu": {"selector": {"role": "cpu"}},
    "gpu": {"selector": {"role": "gpu"}, "gpus": {"count": 2}},
    "shared": {"nodes": ["tower"], "gpus": {"count": 1}, "gpu": {"sharing": "time-slicing", "replicas": 8}},
}
STACK: dict[str, Any] = {
    "gpulab:owner": "ml@example.com",
    "gpulab:costCenter": "lab",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2099-12-31"},
    "gpulab:ground": {"kind": "existing", "context": "k3s", "distribution": "k3s"},
    "gpulab:nodePools": POOLS,
    "gpulab:storage": {"homes": "per-person", "homeSize": 20},
}
PROFILES: dict[str, Any] = {
    "python": {"displayName": "Python", "image": "quay.io/jupyter/scipy-notebook:2026-08-03", "cpu": 1, "memory": 4},
    "pytorch": {
        "displayName": "PyTorch",
        "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03",
        "cpu": 2,
        "memory": 8,
        "gpu": {"pool": "gpu"},
    },
    "share": {
        "displayName": "A share",
        "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03",
        "cpu": 1,
        "memory": 4,
        "gpu": {"pool": "shared", "slice": "shared"},
    },
}
TEAM: dict[str, Any] = {
    "description": "Language models",
    "quota": {"cpu": 16, "memory": 64, "notebooks": 10, "gpus": 2, "slices": 8, "storage": 200},
    "profiles": list(PROFILES),
}
HUB: dict[str, Any] = {
    "gpulab:identity": {"administrators": ["ada@example.com"]},
    "gpulab:profiles": PROFILES,
    "gpulab:teams": {"research": TEAM},
}


def load(pools: Mapping[str, Any] | None = None, **changed: Any) -> ExistingSettings:
    """The settings of STACK with a hub, with other pools or sections; None leaves one out."""
    stack = {**STACK, **HUB, **{f"gpulab:{key}": value for key, value in changed.items()}}
    if pools is not None:
        stack["gpulab:nodePools"] = dict(pools)
    given = {key: json.dumps(value) if not isinstance(value, str) else value for key, value in stack.items() if value}
    found = settings.load(given, stack="lab", today=TODAY)
    assert isinstance(found, ExistingSettings)
    return found


def mistakes(pools: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, str]:
    with pytest.raises(settings.SettingsError) as refusal:
        load(pools, **changed)
    return {mistake.key.removeprefix("gpulab:"): mistake.message for mistake in refusal.value.mistakes}


def node(name: str, *taints: str, cpu: str = "16", memory: str = "64Gi", gpus: str = "", **labels: str) -> FoundNode:
    """A node with labels (`role`, `gpu_count` for nvidia.com/gpu.count) and taints (`key=value:effect`)."""
    allocatable = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": gpus} if gpus else {})}
    plain = {key.replace("gpu_", "nvidia.com/gpu."): value for key, value in labels.items()}
    return FoundNode(name=name, labels=plain, taints=[taint(one) for one in taints], allocatable=allocatable)


def taint(text: str) -> SiteTaint:
    of, _, effect = text.rpartition(":")
    key, _, value = of.partition("=")
    return SiteTaint.model_validate({"key": key, "value": value or None, "effect": effect})


NODES = (
    node("big", role="gpu"),
    node("tower", cpu="7800m", memory="31991Mi"),
    node("plain", role="cpu", cpu="32"),
)
