"""Whether a pool's machines can do what its `gpu` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import contracts
from contracts import InstanceType, MigGpu, MigProfile
from settings.language.section import Findings
from settings.pools.gpu import Gpu, ImageCache
from settings.pools.nodes import Ami

# awslabs/amazon-eks-ami, nodeadm, FastImagePull: a smaller instance ignores it.
SOCI_VCPU, SOCI_MEMORY_GIB = 4, 7
# The first release whose settings have `nvidia.mps` by its documentation.
_BOTTLEROCKET_MPS = "v1.54.0"
_EXAMPLES = 3


def machine_findings(gpu: Gpu, types: Sequence[InstanceType], ami: Ami) -> Findings:
    """What a pool's `gpu` asks of its instance types or image that they cannot do; paths are the pool's."""
    if gpu.sharing == "mig":
        yield from _mig_findings(gpu, types, ami)
    if ami.family == "Bottlerocket":
        yield from _bottlerocket_findings(gpu, ami)
    if gpu.image_cache is not None:
        yield from _image_cache_findings(gpu.image_cache, types, ami)


def warm_findings(gpu: Gpu, types: Sequence[InstanceType], gpu_limit: int) -> Findings:
    """More placeholders than the pool may have GPUs or slices, or placeholders that are larger than its machines."""
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
            yield path, f"is not a profile of the GPUs of {examples(lacking)}, which have {known}"
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
    """Whether a GPU has a layout's profiles, and room for all slices, each at a place where its profile may start."""
    return layout.keys() <= gpu.profiles.keys() and placements(layout, gpu) is not None


def placements(layout: Mapping[str, int], gpu: MigGpu) -> list[tuple[str, int]] | None:
    """Where each slice of a layout starts on a GPU that has its profiles, as (profile, start); None without room."""
    slices = [name for name, count in layout.items() for _ in range(count)]
    return _placed(sorted(slices, key=lambda name: -gpu.profiles[name].size), gpu.profiles, frozenset())


def _placed(
    slices: Sequence[str], profiles: Mapping[str, MigProfile], taken: frozenset[int]
) -> list[tuple[str, int]] | None:
    if not slices:
        return []
    first, *rest = slices
    for start in profiles[first].starts:
        wanted = frozenset(range(start, start + profiles[first].size))
        others = None if wanted & taken else _placed(rest, profiles, taken | wanted)
        if others is not None:
            return [(first, start), *others]
    return None


def _bottlerocket_findings(gpu: Gpu, ami: Ami) -> Findings:
    if gpu.layout:
        yield ("gpu", "layout"), "is for AL2023: Bottlerocket makes slices of one profile"
    if gpu.sharing == "mig" and gpu.strategy == "mixed":
        yield ("gpu", "strategy"), "must be single: Bottlerocket's device plugin supports only that"
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
                    f"would do nothing on {examples(diskless)}, which have no NVMe disk: an image waits for the root "
                    "volume there; leave these types out"
                ),
            )


def examples(names: Iterable[str]) -> str:
    """Some of the names, sorted."""
    ordered = sorted(names)
    return ", ".join(ordered[:_EXAMPLES]) + (", …" if len(ordered) > _EXAMPLES else "")
