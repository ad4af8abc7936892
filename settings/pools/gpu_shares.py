"""The resource names by which pods ask for a pool's GPUs, and how many of each one GPU gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from settings.language.section import Findings
from settings.pools.node_pools import NodePool
from settings.pools.pool import Pool

GPU_RESOURCE = "nvidia.com/gpu"
SHARED_GPU_RESOURCE = f"{GPU_RESOURCE}.shared"
MIG_RESOURCE_PREFIX = "nvidia.com/mig-"


def shares(pool: Pool) -> dict[str, int]:
    """What the device plugin makes of one GPU: resource -> how many of it."""
    match pool.gpu.sharing:
        case "time-slicing" | "mps":
            return {SHARED_GPU_RESOURCE: pool.gpu.replicas or 1}
        case "mig":
            slices = pool.mig_slices
            if pool.mig_strategy == "single":
                return {GPU_RESOURCE: sum(slices.values())}
            return {f"{MIG_RESOURCE_PREFIX}{profile}": count for profile, count in slices.items()}
        case "none":
            return {GPU_RESOURCE: 1}


def resources(pools: Mapping[str, Pool]) -> list[str]:
    """Every resource by which pods ask for GPUs of the pools, sorted: what quotas have to count."""
    return sorted({resource for pool in pools.values() if pool.is_gpu for resource in shares(pool)})


def offered(pools: Mapping[str, Pool]) -> Counter[str]:
    """How much of each resource the pools may have together, by their limits."""
    found: Counter[str] = Counter()
    for pool in pools.values():
        if pool.is_gpu and pool.most_gpus is not None:
            found.update({resource: count * pool.most_gpus for resource, count in shares(pool).items()})
    return found


def strategy_findings(pools: Mapping[str, NodePool]) -> Findings:
    """MIG strategies that pools of one stack can't have together; paths are the stack's."""
    on_operator = {
        name: pool for name, pool in pools.items() if pool.gpu.sharing == "mig" and pool.ami.family == "AL2023"
    }
    strategies = {name: pool.mig_strategy for name, pool in on_operator.items()}
    first = next(iter(strategies), None)
    for name, strategy in strategies.items():
        if first is not None and strategy != strategies[first]:
            yield (
                ("nodePools", name, "gpu", "strategy"),
                f"must be {strategies[first]}, as in pool {first}: the GPU Operator has one strategy for a cluster",
            )
    whole = next((name for name, pool in pools.items() if pool.is_gpu and pool.gpu.sharing == "none"), None)
    for name, pool in pools.items():
        if pool.gpu.sharing == "mig" and pool.mig_strategy == "single" and whole is not None:
            clash = (
                "its slices would be called nvidia.com/gpu, like whole GPUs there, and a pod that asks for a GPU "
                "could get a slice"
            )
            if pool.gpu.strategy is not None:
                yield ("nodePools", name, "gpu", "strategy"), f"must not be single beside pool {whole}: {clash}"
            else:
                yield (
                    ("nodePools", name, "gpu", "sharing"),
                    f"cannot be mig on Bottlerocket beside pool {whole}: {clash}",
                )
