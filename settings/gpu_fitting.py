"""Whether a pool's machines can do what its `gpu` asks for, and the pools of a stack together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import contracts
from contracts import InstanceType, MigGpu, MigProfile
from settings.gpu import Gpu, ImageCache
from settings.machines import Ami
from settings.section import Findings

if TYPE_CHECKING:
    from settings.node_pools import NodePool

# awslabs/amazon-eks-ami, nodeadm, FastImagePull: a smaller instance ignores it.
SOCI_VCPU, SOCI_MEMORY_GIB = 4, 7
# The first release whose settings have `nvidia.mps` by its documentation.
_BOTTLEROCKET_MPS = "v1.54.0"
_EXAMPLES = 3


def machine_findings(gpu: Gpu, types: Sequence[InstanceType], ami: Ami) -> Findings:
    """What the instance types and the image of a pool cannot do of its `gpu`; paths are the pool's."""
    if gpu.sharing == "mig":
        yield from _mig_findings(gpu, types, ami)
    if ami.family == "Bottlerocket":
        yield from _bottlerocket_findings(gpu, ami)
    if gpu.image_cache is not None:
        yield from _image_cache_findings(gpu.image_cache, types, ami)


def warm_findings(gpu: Gpu, types: Sequence[InstanceType], gpu_limit: int) -> Findings:
    """Whether there are more placeholders than the pool may have GPUs or slices, or larger ones than its machines."""
    if gpu.warm is None:
        return
    shares = shares_of_a_gpu(gpu, types)
    if gpu.warm.replicas > gpu_limit * shares:
        most = f"{gpu_limit} GPUs" + (f" of {shares} shares" if shares > 1 else "")
        yield ("gpu", "warm", "replicas"), f"must not exceed what the pool may hold, which is {most}"
    for key, asked, unit, amount in (
        ("cpu", gpu.warm.cpu, "vCPU", lambda one: one.vcpu - 1),
        ("memory", gpu.warm.memory, "GiB", lambda one: one.memory_mib // 1024 - 1),
    ):
        largest = max(map(amount, types), default=0)
        if asked is not None and types and asked > largest:
            yield ("gpu", "warm", key), f"is more than any instance of the pool has for pods: {largest} {unit} at most"


def stack_findings(pools: Mapping[str, NodePool]) -> Findings:
    """What the pools of a stack cannot be together; paths are the stack's."""
    on_operator = {
        name: pool for name, pool in pools.items() if pool.gpu.sharing == "mig" and pool.ami.family == "AL2023"
    }
    strategies = {name: mig_strategy(pool) for name, pool in on_operator.items()}
    first = next(iter(strategies), None)
    for name, strategy in strategies.items():
        if first is not None and strategy != strategies[first]:
            yield (
                ("nodePools", name, "gpu", "strategy"),
                f"must be {strategies[first]}, as in pool {first}: the GPU Operator has one strategy for a cluster",
            )
    whole = next((name for name, pool in pools.items() if pool.is_gpu and pool.gpu.sharing == "none"), None)
    for name, pool in pools.items():
        if pool.gpu.sharing == "mig" and mig_strategy(pool) == "single" and whole is not None:
            clash = (
                "its slices would be called nvidia.com/gpu, as whole GPUs are there, and who asks for a GPU could get "
                "a slice"
            )
            if pool.gpu.strategy is not None:
                yield ("nodePools", name, "gpu", "strategy"), f"must not be single beside pool {whole}: {clash}"
            else:
                yield (
                    ("nodePools", name, "gpu", "sharing"),
                    f"cannot be mig on Bottlerocket beside pool {whole}: {clash}",
                )


def mig_strategy(pool: NodePool) -> str:
    """How pods ask for the pool's MIG slices: as said, else as the image has it."""
    return pool.gpu.strategy or ("single" if pool.ami.family == "Bottlerocket" else "mixed")


def shares_of_a_gpu(gpu: Gpu, types: Sequence[InstanceType]) -> int:
    """How many pods one GPU of the pool takes: 1 for whole GPUs."""
    return sum(mig_slices(gpu, types).values()) if gpu.sharing == "mig" else gpu.replicas or 1


def mig_slices(gpu: Gpu, types: Sequence[InstanceType]) -> dict[str, int]:
    """The slices of one GPU of the pool by profile; empty without MIG."""
    if gpu.profile is None:
        return dict(gpu.layout)
    profiles = [mig.profiles.get(gpu.profile) for mig in map(contracts.mig_gpu, types) if mig]
    return {gpu.profile: max((len(profile.starts) for profile in profiles if profile), default=1)}


def _mig_findings(gpu: Gpu, types: Sequence[InstanceType], ami: Ami) -> Findings:
    gpus = {one.name: contracts.mig_gpu(one) for one in types}
    without = [name for name, mig in gpus.items() if mig is None]
    if without:
        yield ("gpu", "sharing"), f"cannot be mig: the GPUs of {examples(without)} have no MIG; take types such as p4d"
        return
    able = {name: mig for name, mig in gpus.items() if mig is not None}
    asked = [gpu.profile] if gpu.profile else list(gpu.layout)
    for profile in asked:
        lacking = {name: mig for name, mig in able.items() if profile not in mig.profiles}
        if lacking:
            known = ", ".join(next(iter(lacking.values())).profiles)
            path = ("gpu", "profile") if gpu.profile else ("gpu", "layout", profile)
            yield path, f"is no profile of the GPUs of {examples(lacking)}, which have {known}"
            return
    if gpu.profile:
        yield from _same_everywhere(gpu.profile, able)
    elif gpu.layout:
        too_full = [name for name, mig in able.items() if not fits(gpu.layout, mig)]
        if too_full:
            yield ("gpu", "layout"), f"does not fit on one GPU of {examples(too_full)}: take fewer or smaller slices"
    if ami.family == "Bottlerocket":
        unknown = [name for name, mig in able.items() if mig.bottlerocket is None]
        if unknown:
            yield ("gpu", "sharing"), f"cannot be mig: Bottlerocket does not partition the GPUs of {examples(unknown)}"


def _same_everywhere(profile: str, gpus: Mapping[str, MigGpu]) -> Findings:
    counts = {len(mig.profiles[profile].starts): name for name, mig in gpus.items()}
    if len(counts) > 1:
        found = " and ".join(f"{count} times on {name}" for count, name in sorted(counts.items()))
        yield ("gpu", "profile"), f"fits {found}: put GPUs of each kind into a pool of their own"


def fits(layout: Mapping[str, int], gpu: MigGpu) -> bool:
    """Whether a GPU has a layout's profiles, and room for all slices, each at a place where its kind may begin."""
    if not layout.keys() <= gpu.profiles.keys():
        return False
    slices = [gpu.profiles[name] for name, count in layout.items() for _ in range(count)]
    return _placed(sorted(slices, key=lambda one: -one.size), frozenset())


def _placed(slices: Sequence[MigProfile], taken: frozenset[int]) -> bool:
    if not slices:
        return True
    first, *rest = slices
    wanted = (frozenset(range(start, start + first.size)) for start in first.starts)
    return any(_placed(rest, taken | one) for one in wanted if not one & taken)


def _bottlerocket_findings(gpu: Gpu, ami: Ami) -> Findings:
    if gpu.layout:
        yield ("gpu", "layout"), "is for AL2023: Bottlerocket makes slices of one profile"
    if gpu.sharing == "mig" and gpu.strategy == "mixed":
        yield ("gpu", "strategy"), "must be single: Bottlerocket's device plugin knows no other"
    if gpu.sharing == "mps" and contracts.release_number(ami.release) < contracts.release_number(_BOTTLEROCKET_MPS):
        yield ("gpu", "sharing"), f"cannot be mps with {ami.alias}: Bottlerocket has MPS from {_BOTTLEROCKET_MPS} on"


def _image_cache_findings(cache: ImageCache, types: Sequence[InstanceType], ami: Ami) -> Findings:
    path = ("gpu", "imageCache", "method")
    if cache.method == "snapshot" and ami.family != "Bottlerocket":
        yield path, "must be soci, or the pool's image Bottlerocket: AL2023 has no data volume of its own"
    if cache.method == "soci" and ami.family != "AL2023":
        yield path, "must be snapshot, or the pool's image AL2023: soci is set up by AL2023's nodeadm"
    elif cache.method == "soci":
        small = [one.name for one in types if one.vcpu < SOCI_VCPU or one.memory_mib < SOCI_MEMORY_GIB * 1024]
        if small:
            yield (
                path,
                (
                    f"would do nothing on {examples(small)}: nodeadm ignores it below {SOCI_VCPU} vCPU or "
                    f"{SOCI_MEMORY_GIB} GiB; take larger sizes"
                ),
            )
        diskless = [one.name for one in types if not one.nvme_gb]
        if diskless:
            yield (
                path,
                (
                    f"would do nothing on {examples(diskless)}, which have no NVMe disk: the root volume is what an "
                    "image waits for; leave these types out"
                ),
            )


def examples(names: Iterable[str]) -> str:
    """A few of the names, in order."""
    ordered = sorted(names)
    return ", ".join(ordered[:_EXAMPLES]) + (", …" if len(ordered) > _EXAMPLES else "")
