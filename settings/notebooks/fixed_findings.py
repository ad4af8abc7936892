"""Whether fixed pools can run the stack's profiles, by what the stack file says of them. Paths are the stack's."""

from __future__ import annotations

from collections.abc import Mapping

from settings.language.section import Findings
from settings.notebooks.findings import choice_findings
from settings.notebooks.profiles import Profile, gpu_pool, gpu_request
from settings.pools.fixed_pools import FixedPool


def fixed_profile_findings(profiles: Mapping[str, Profile], pools: Mapping[str, FixedPool]) -> Findings:
    """Profiles that no pool of the stack could ever run."""
    for name, profile in profiles.items():
        for path, message in (*choice_findings(profile, pools), *_declared_findings(profile, pools)):
            yield ("profiles", name, *path), message


def may_fit(profile: Profile, pool: FixedPool) -> bool:
    """Whether a node of the pool can have one of the profile's notebooks, as far as the stack file says it."""
    return next(_gpu_findings(profile, pool), None) is None


def share_of_memory(pool: FixedPool, memory: float) -> float:
    """GiB that a pod gets of a GPU with `memory` GiB; pods that take turns may each use all of it."""
    return memory / (pool.gpu.replicas or 1) if pool.gpu.sharing == "mps" else memory


def _declared_findings(profile: Profile, pools: Mapping[str, FixedPool]) -> Findings:
    if profile.capacity_type is not None:
        yield ("capacityType",), "is for gpulab:ground.kind eks: leave it out, nobody buys these nodes"
    pool = gpu_pool(profile, pools)
    if pool is not None and pool.is_gpu:
        yield from _gpu_findings(profile, pool)


def _gpu_findings(profile: Profile, pool: FixedPool) -> Findings:
    """More GPUs, or other ones, than a node of the pool has by what is declared."""
    gpu, declared = profile.gpu, pool.gpus
    if gpu is None or declared is None:
        return
    resource, count = gpu_request(gpu, pool)
    if resource in pool.largest and count > int(pool.largest[resource]):
        yield ("gpu", "count"), f"is more than a node of pool {gpu.pool} has: {pool.largest[resource]} (gpus.count)"
    if gpu.model is not None and declared.product is not None and gpu.model != declared.product:
        yield ("gpu", "model"), f"is not what pool {gpu.pool} has, which is {declared.product} (gpus.product)"
    if gpu.min_memory is not None and declared.memory is not None and pool.gpu.sharing != "mig":
        memory = share_of_memory(pool, declared.memory)
        if gpu.min_memory > memory:
            yield (
                ("gpu", "minMemory"),
                f"is more than a GPU, or a share of one, of pool {gpu.pool} has: {memory:g} GiB (gpus.memory)",
            )
