"""A profile's choice of GPU as node affinity, for the scheduler and Karpenter.

It uses Karpenter's labels, which are known before the node exists; those of NVIDIA's feature discovery are not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings.pools.gpu_choice import GpuChoice
    from settings.pools.pool import Pool

GPU_NAME_LABEL = "karpenter.k8s.aws/instance-gpu-name"
GPU_MEMORY_LABEL = "karpenter.k8s.aws/instance-gpu-memory"

_MIB = 1024


def match_expressions(choice: GpuChoice, pool: Pool) -> list[dict[str, Any]]:
    """The requirements on a node of the pool.

    A MIG slice has its profile's memory on every node, so it needs none for memory.
    """
    found: list[dict[str, Any]] = []
    if choice.model is not None:
        found.append({"key": GPU_NAME_LABEL, "operator": "In", "values": [choice.model]})
    if choice.min_memory is not None and pool.gpu.sharing != "mig":
        shares = (pool.gpu.replicas or 1) if pool.gpu.sharing == "mps" else 1
        least = math.ceil(choice.min_memory * _MIB * shares)
        found.append({"key": GPU_MEMORY_LABEL, "operator": "Gt", "values": [str(least - 1)]})
    return found
