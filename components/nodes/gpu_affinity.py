"""A profile's choice of GPU as node affinity, for the scheduler and Karpenter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings.pools.gpu_choice import GpuChoice
    from settings.pools.pool import Pool

_MIB = 1024


def match_expressions(choice: GpuChoice, pool: Pool) -> list[dict[str, Any]]:
    """The requirements on a node of the pool, by the labels with which its nodes say what their GPUs are.

    A MIG slice has its profile's memory on every node, so it needs none for memory.
    """
    labels = pool.gpu_labels
    found: list[dict[str, Any]] = []
    if choice.model is not None and labels.product is not None:
        found.append({"key": labels.product, "operator": "In", "values": [choice.model]})
    if choice.min_memory is not None and labels.memory is not None and pool.gpu.sharing != "mig":
        shares = (pool.gpu.replicas or 1) if pool.gpu.sharing == "mps" else 1
        least = math.ceil(choice.min_memory * _MIB * shares)
        found.append({"key": labels.memory, "operator": "Gt", "values": [str(least - 1)]})
    return found
