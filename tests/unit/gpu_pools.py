"""Pools of a stack file, for tests of their GPUs."""

from __future__ import annotations

from typing import Any

from settings import NodePool

BOTTLEROCKET = {"family": "Bottlerocket", "alias": "bottlerocket@v1.66.0"}
P4D: dict[str, Any] = {"categories": [], "families": ["p4d"], "minGeneration": 4, "gpus": {"min": 8, "max": 8}}


def gpu_pool(**changed: Any) -> NodePool:
    """A pool with nodes of one to eight GPUs and a limit of eight, as in the stack file."""
    section: dict[str, Any] = {
        "categories": ["g"],
        "minGeneration": 5,
        "gpus": {"min": 1, "max": 8},
        "capacityTypes": ["spot", "on-demand"],
        "zones": ["us-east-1a", "us-east-1b"],
        "limits": {"gpus": 8},
        "consolidation": {"policy": "WhenEmpty", "after": "5m"},
    }
    return NodePool.model_validate({**section, **changed})


def cpu_pool(**changed: Any) -> NodePool:
    """Nodes without GPUs."""
    return NodePool.model_validate({"categories": ["m"], "limits": {"cpu": 64}, **changed})
