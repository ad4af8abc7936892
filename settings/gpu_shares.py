"""By which names pods ask for the GPUs of a pool, and how many of each a GPU gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from settings.gpu_fitting import mig_slices, mig_strategy

if TYPE_CHECKING:
    from settings.node_pools import NodePool

GPU_RESOURCE = "nvidia.com/gpu"
SHARED_GPU_RESOURCE = f"{GPU_RESOURCE}.shared"
MIG_RESOURCE_PREFIX = "nvidia.com/mig-"


def shares(pool: NodePool) -> dict[str, int]:
    """What the device plugin makes of one GPU: resource -> how many of it."""
    match pool.gpu.sharing:
        case "time-slicing" | "mps":
            return {SHARED_GPU_RESOURCE: pool.gpu.replicas or 1}
        case "mig":
            slices = mig_slices(pool.gpu, pool.instance_types)
            if mig_strategy(pool) == "single":
                return {GPU_RESOURCE: sum(slices.values())}
            return {f"{MIG_RESOURCE_PREFIX}{profile}": count for profile, count in slices.items()}
        case "none":
            return {GPU_RESOURCE: 1}


def resources(pools: Mapping[str, NodePool]) -> list[str]:
    """Every resource that GPUs of the pools are asked for by: what quotas have to count, in order."""
    return sorted({resource for pool in pools.values() if pool.is_gpu for resource in shares(pool)})


def offered(pools: Mapping[str, NodePool]) -> Counter[str]:
    """How much of each resource the pools may have together, by their limits."""
    found: Counter[str] = Counter()
    for pool in pools.values():
        if pool.is_gpu and pool.limits.gpus is not None:
            found.update({resource: count * pool.limits.gpus for resource, count in shares(pool).items()})
    return found
