"""The resource names by which pods ask for a pool's GPUs, and how many of each one GPU gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from settings.language.section import Findings
from settings.pools.labels import SiteTaint
from settings.pools.pool import Pool

if TYPE_CHECKING:
    from settings.pools.node_pools import NodePool

GPU_RESOURCE = "nvidia.com/gpu"
SHARED_GPU_RESOURCE = f"{GPU_RESOURCE}.shared"
MIG_RESOURCE_PREFIX = "nvidia.com/mig-"

GPU_TAINT = SiteTaint(key=GPU_RESOURCE, value="true", effect="NoSchedule")
"""The taint of every GPU node that the platform makes."""


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


def advertised(pool: Pool, gpus: int) -> dict[str, str]:
    """The resources of a node with `gpus` GPUs. For the pool's limit in GPUs, the limits of its resources."""
    return {resource: str(count * gpus) for resource, count in shares(pool).items()}


def resources(pools: Mapping[str, Pool]) -> list[str]:
    """Every resource by which pods ask for GPUs of the pools, sorted: what quotas have to count."""
    return sorted({resource for pool in pools.values() if pool.is_gpu for resource in shares(pool)})


def offered(pools: Mapping[str, Pool]) -> Counter[str]:
    """How much of each resource the pools may have together. Left out: what a pool has whose GPUs nobody counted."""
    found: Counter[str] = Counter()
    having_gpus = [pool for pool in pools.values() if pool.is_gpu]
    for pool in having_gpus:
        found.update({resource: count * (pool.most_gpus or 0) for resource, count in shares(pool).items()})
    uncounted = {resource for pool in having_gpus if pool.most_gpus is None for resource in shares(pool)}
    return Counter({resource: count for resource, count in found.items() if resource not in uncounted})


def strategy_findings(pools: Mapping[str, NodePool]) -> Findings:
    """MIG strategies that pools of one stack can't have together; paths are the stack's."""
    on_operator = {
        name: pool for name, pool in pools.items() if pool.gpu.sharing == "mig" and pool.ami.family == "AL2023"
    }
    yield from operator_findings(on_operator)
    yield from single_findings(pools)


def operator_findings(partitioned: Mapping[str, Pool]) -> Findings:
    """MIG strategies that the GPU Operator can't have together; paths are the stack's."""
    strategies = {name: pool.mig_strategy for name, pool in partitioned.items()}
    first = next(iter(strategies), None)
    for name, strategy in strategies.items():
        if first is not None and strategy != strategies[first]:
            yield (
                ("nodePools", name, "gpu", "strategy"),
                f"must be {strategies[first]}, as in pool {first}: the GPU Operator has one strategy for a cluster",
            )


def single_findings(pools: Mapping[str, Pool]) -> Findings:
    """MIG slices that would be called like whole GPUs of another pool; paths are the stack's."""
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
