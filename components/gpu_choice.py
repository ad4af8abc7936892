"""A profile's choice of GPU as node affinity: what the scheduler and Karpenter find the machine by.

Karpenter's labels are there before the node is; those of NVIDIA's feature discovery come after it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from components.node_pools import POOL_LABEL

if TYPE_CHECKING:
    from settings import NodePool
    from settings.gpu_choice import GpuChoice

GPU_NAME_LABEL = "karpenter.k8s.aws/instance-gpu-name"
GPU_MEMORY_LABEL = "karpenter.k8s.aws/instance-gpu-memory"

_MIB = 1024


def node_affinity(choice: GpuChoice, name: str, pool: NodePool) -> dict[str, Any]:
    """The `nodeAffinity` of a pod that makes the choice in the pool of that name."""
    in_pool = {"key": POOL_LABEL, "operator": "In", "values": [name]}
    term = {"matchExpressions": [in_pool, *match_expressions(choice, pool)]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def match_expressions(choice: GpuChoice, pool: NodePool) -> list[dict[str, Any]]:
    """The requirements on a node of the pool. On each of them a MIG slice has the memory that its profile says."""
    found: list[dict[str, Any]] = []
    if choice.model is not None:
        found.append({"key": GPU_NAME_LABEL, "operator": "In", "values": [choice.model]})
    if choice.min_memory is not None and pool.gpu.sharing != "mig":
        shares = (pool.gpu.replicas or 1) if pool.gpu.sharing == "mps" else 1
        least = math.ceil(choice.min_memory * _MIB * shares)
        found.append({"key": GPU_MEMORY_LABEL, "operator": "Gt", "values": [str(least - 1)]})
    return found
