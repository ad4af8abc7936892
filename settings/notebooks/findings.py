"""Whether the stack's pools can run its profiles, and a team's profiles together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from contracts import InstanceType
from settings.language.section import Findings, nearest
from settings.language.values import NEVER, seconds
from settings.notebooks.profiles import SHARED, AnyPool, Profile, gpu_pool
from settings.people.names import ROLES
from settings.pools.allocatable import disk_for_pods, memory_for_pods, vcpu_for_pods
from settings.pools.gpu_choice import gpu_model, satisfying_types
from settings.pools.gpu_fitting import examples
from settings.pools.instance_choice import priced
from settings.pools.node_pools import NodePool
from settings.pools.pool import Pool

_HOUR = 3600
_NOT_THERE_YET = (
    "is for gpulab:ground.kind existing: here a node is bought when a notebook asks for its GPU, so there may be none "
    "to discover. Write pool, with model or minMemory for a kind of GPU"
)
_WAITS = "and no notebook starts there while EC2 is out of that type"

PROFILES_LIMIT = 768 * 1024
"""Bytes that profiles may take in the hub's catalogue, a ConfigMap of 1 MiB. The rest is enough for a hundred teams."""


def cpu_pools(pools: Mapping[str, AnyPool]) -> dict[str, AnyPool]:
    """The stack's pools for notebooks without GPUs: pools without, else those with GPUs that let such pods in.

    A site may have nothing but a machine with a GPU.
    """
    without = {name: pool for name, pool in pools.items() if not pool.is_gpu}
    return without or {name: pool for name, pool in pools.items() if pool.is_open}


def pools_of(profile: Profile, pools: Mapping[str, AnyPool]) -> dict[str, AnyPool]:
    """The stack's pools that the profile's notebooks may run in: the one that it names, or those without GPUs.

    Only pools that buy machines with the profile's capacity type.
    """
    kind, gpu = profile.capacity_type, profile.gpu
    possible = (
        {name: pool for name, pool in pools.items() if pool.is_gpu and name == gpu.pool} if gpu else cpu_pools(pools)
    )
    return {name: pool for name, pool in possible.items() if not kind or kind in pool.capacity_types}


def suitable_types(profile: Profile, pool: NodePool) -> tuple[InstanceType, ...]:
    """The pool's instance types that one of the profile's notebooks fits on, cheapest first."""
    return tuple(
        one
        for one in _types_with_its_gpus(profile, pool)
        if vcpu_for_pods(one) >= profile.cpu
        and memory_for_pods(one) >= profile.memory
        and _disk(one, pool) >= profile.scratch
    )


def profile_findings(profiles: Mapping[str, Profile], pools: Mapping[str, NodePool]) -> Findings:
    """Profiles that no pool of the stack could ever run; paths are the stack's."""
    for name, profile in profiles.items():
        if profile.gpu is not None and profile.gpu.discover:
            yield ("profiles", name, "gpu", "discover"), _NOT_THERE_YET
            continue
        findings = (*_gpu_findings(profile, pools), *_capacity_findings(profile, pools))
        for path, message in (*findings, *_size_findings(profile, pools)):
            yield ("profiles", name, *path), message
        yield from (
            (("profiles", name, *path), message) for path, message in _age_findings(profile, pools_of(profile, pools))
        )


def fallback_findings(pools: Mapping[str, NodePool], profiles: Mapping[str, Profile]) -> Findings:
    """Warnings about GPU pools and profiles that can use only one instance type, unless their capacity is reserved.

    EC2 can be out of a type of GPU instance for hours. Karpenter then takes another type, if the pool has one.
    """
    buying = {name: pool for name, pool in pools.items() if pool.is_gpu and pool.capacity_types != ("reserved",)}
    lone = {name: pool for name, pool in buying.items() if len(pool.types_within_limits) == 1}
    for name, pool in lone.items():
        only = pool.types_within_limits[0].name
        yield ("nodePools", name), f"can buy only {only}, {_WAITS}: {_fallback(pool)}"
    for name, profile in profiles.items():
        pool = gpu_pool(profile, buying)
        if profile.gpu is None or pool is None or profile.gpu.pool in lone:
            continue
        fitting = suitable_types(profile, pool)
        if len(fitting) == 1:
            yield (
                ("profiles", name),
                f"fits on only one instance type of pool {profile.gpu.pool}, {fitting[0].name}, {_WAITS}: make it "
                "smaller, or let the pool buy more types",
            )


def _fallback(pool: NodePool) -> str:
    """How to give more instance types to a pool that has one."""
    beyond_limits = {one.name for one in pool.instance_types if one not in pool.types_within_limits}
    dearer = {one.name for one in pool.at_any_price.instance_types if one not in pool.instance_types}
    if beyond_limits:
        return f"raise limits, which leave out {examples(beyond_limits)}"
    if dearer:
        return f"raise maxPrice, which leaves out {examples(dearer)}"
    return "add families or sizes, or another pool for the same notebooks"


def length_findings(profiles: Mapping[str, Profile]) -> Findings:
    """Profiles that are together too long for the hub's catalogue; paths are the stack's."""
    document = {name: profile.model_dump(mode="json") for name, profile in profiles.items()}
    length = len(json.dumps(document, ensure_ascii=False).encode())
    if length > PROFILES_LIMIT:
        yield (
            ("profiles",),
            f"take {length // 1024} KiB, and the hub's catalogue has room for {PROFILES_LIMIT // 1024}: move startup"
            " scripts and long values of env into the images",
        )


def default_findings(team: str, names: Iterable[str], profiles: Mapping[str, Profile]) -> Findings:
    """Profiles of a team that are the default of the same role; paths are the stack's."""
    defaults = [name for name in names if name in profiles and profiles[name].default]
    for role in ROLES:
        both = [name for name in defaults if role in profiles[name].roles]
        if len(both) > 1:
            yield (
                ("teams", team, "profiles"),
                f"have more than one default for a {role}: {', '.join(both)}. Keep one",
            )
            return


def _types_with_its_gpus(profile: Profile, pool: NodePool) -> tuple[InstanceType, ...]:
    """The types within the pool's limits whose GPUs are as the profile asks."""
    gpu = profile.gpu
    within = pool.types_within_limits
    if gpu is None:
        return within
    satisfying = satisfying_types(gpu, pool)
    return tuple(one for one in within if one in satisfying and one.gpu_count >= (gpu.count or 1))


def _disk(instance_type: InstanceType, pool: NodePool) -> float:
    cache = pool.gpu.image_cache
    own_disks = 0 if cache is not None and cache.method == "snapshot" else instance_type.nvme_gb
    return disk_for_pods(pool.root_volume.size, own_disks)


def choice_findings(profile: Profile, pools: Mapping[str, Pool]) -> Findings:
    """A pool or a share that the profile asks for and the stack does not have; paths are the profile's."""
    gpu = profile.gpu
    if gpu is None:
        if not cpu_pools(pools):
            yield (), "needs a pool without GPUs, and gpulab:nodePools has none: add one, or give the profile a gpu"
        return
    if gpu.pool is None:
        return
    pool = pools.get(gpu.pool)
    if pool is None or not pool.is_gpu:
        having_gpus = [name for name, one in pools.items() if one.is_gpu]
        near = nearest(gpu.pool, having_gpus)
        known = f"GPU pools are {', '.join(having_gpus)}" if having_gpus else "there is no GPU pool"
        hint = f'did you mean "{near}"?' if near else known
        yield ("gpu", "pool"), f"is not a GPU pool of gpulab:nodePools: {hint}"
        return
    if pool.gpu.sharing == "mps" and profile.shared_memory is not None:
        yield (
            ("sharedMemory",),
            f"has no effect: pool {gpu.pool} shares its GPUs by mps, which has its own /dev/shm. Leave it out",
        )
    yield from _sharing_findings(profile, pool)


def _gpu_findings(profile: Profile, pools: Mapping[str, NodePool]) -> Findings:
    found = list(choice_findings(profile, pools))
    yield from found
    gpu = profile.gpu
    if gpu is None or gpu.pool is None or any(path[:1] == ("gpu",) for path, _ in found):
        return
    pool = pools[gpu.pool]
    most = max((one.gpu_count for one in pool.instance_types), default=0)
    limit = pool.limits.gpus
    dearer = _at_a_higher_price(profile, {gpu.pool: pool})
    if gpu.count is not None and most and gpu.count > most:
        yield ("gpu", "count"), f"is more than any instance type of pool {gpu.pool} has: {most} at most{dearer}"
    elif gpu.count is not None and limit is not None and gpu.count > limit:
        yield ("gpu", "count"), f"is more than pool {gpu.pool} may have in total, which is {limit} (limits.gpus)"
    elif pool.instance_types and not satisfying_types(gpu, pool):
        models = examples({gpu_model(one) for one in pool.instance_types})
        yield ("gpu",), f"asks for a GPU that pool {gpu.pool} does not have: it has {models}{dearer}"
    elif satisfying_types(gpu, pool) and not _types_with_its_gpus(profile, pool):
        fitting = examples(one.name for one in satisfying_types(gpu, pool))
        yield (
            ("gpu",),
            f"asks for more GPUs of the kind than one instance within {gpu.pool}'s limits has ({fitting}){dearer}",
        )


def _capacity_findings(profile: Profile, pools: Mapping[str, NodePool]) -> Findings:
    """A capacity type that none of the profile's pools buys."""
    if profile.capacity_type is None or pools_of(profile, pools):
        return
    own = pools_of(profile.model_copy(update={"capacity_type": None}), pools)
    if own:
        bought = "; ".join(f"{name} has {', '.join(pool.capacity_types)}" for name, pool in own.items())
        yield (
            ("capacityType",),
            f"is a capacity type that none of the profile's pools has ({bought}): add it to capacityTypes of one",
        )


def _sharing_findings(profile: Profile, pool: Pool) -> Findings:
    """A whole GPU of a pool that shares its GPUs, or a slice that the pool does not make."""
    gpu = profile.gpu
    if gpu is None:
        return
    slices = sorted(pool.mig_slices) if pool.gpu.sharing == "mig" else [SHARED]
    if pool.gpu.sharing == "none":
        if gpu.slice is not None:
            yield ("gpu", "slice"), f"is not available: pool {gpu.pool} gives whole GPUs, ask for count"
    elif gpu.slice is None:
        yield (
            ("gpu", "count"),
            f"is for whole GPUs, and pool {gpu.pool} shares them ({pool.gpu.sharing}): write slice: {slices[0]}",
        )
    elif gpu.slice not in slices:
        yield ("gpu", "slice"), f"is not a slice of pool {gpu.pool}, which makes {', '.join(slices)}"


def _size_findings(profile: Profile, pools: Mapping[str, NodePool]) -> Findings:
    """More vCPU, memory or scratch than a node has for pods."""
    own = pools_of(profile, pools)
    candidates = [(one, pool) for pool in own.values() for one in _types_with_its_gpus(profile, pool)]
    if not candidates or any(suitable_types(profile, pool) for pool in own.values()):
        return  # nothing is wrong, or it is reported already
    where = f"pool {next(iter(own))}" if len(own) == 1 else f"the pools {', '.join(own)}"
    dearer = _at_a_higher_price(profile, own)
    too_large = False
    for key, asked, unit, amounts in (
        ("cpu", profile.cpu, "vCPU", [vcpu_for_pods(one) for one, _ in candidates]),
        ("memory", profile.memory, "GiB", [memory_for_pods(one) for one, _ in candidates]),
        ("scratch", profile.scratch, "GiB", [_disk(one, pool) for one, pool in candidates]),
    ):
        if asked > max(amounts):
            too_large = True
            most = int(max(amounts) * 4) / 4 if key == "cpu" else int(max(amounts))
            yield (key,), f"is more than a node of {where} has for one notebook: {most:g} {unit} at most{dearer}"
    if not too_large:
        yield (), f"fits on no node of {where}: none has its cpu, memory and scratch together{dearer}"


def _at_a_higher_price(profile: Profile, pools: Mapping[str, NodePool]) -> str:
    """What to do where only a pool's maxPrice keeps out machines that would fit; empty where it is not that."""
    for name, pool in pools.items():
        if pool.max_price is None or suitable_types(profile, pool):
            continue
        if fitting := suitable_types(profile, pool.at_any_price):
            return (
                f"; {priced(fitting[0])} would fit, but nodePools.{name}.maxPrice is {pool.max_price:g}: raise it, or "
                "make the profile smaller"
            )
    return ""


def _age_findings(profile: Profile, pools: Mapping[str, NodePool]) -> Findings:
    """Notebooks that could outlive any node that they run on."""
    for name, pool in pools.items():
        if pool.expire_after == NEVER:
            continue
        window = seconds(pool.maintenance_window.duration) if pool.maintenance_window else 0
        longest = seconds(pool.expire_after) - window
        if seconds(profile.lifetime) >= longest:
            less = ", minus a maintenance window" if window else ""
            yield (
                ("lifetime",),
                f"must be less than {longest / _HOUR:g}h, as pool {name} replaces nodes at {pool.expire_after}{less}",
            )
            return
