"""Whether the fixed pools of a stack go together, and with what gives their GPUs to pods; paths are the stack's."""

from __future__ import annotations

from collections.abc import Mapping

from settings.ground import Distribution
from settings.language.section import Findings
from settings.pools.fixed_pools import FixedPool
from settings.pools.gpu_shares import operator_findings, single_findings
from settings.pools.labels import DEVICE_PLUGIN_CONFIG_LABEL
from settings.pools.site_gpu import GpuPlugin, SiteGpu

_READ_ONLY_HOSTS: Mapping[Distribution, str] = {
    "talos": "its system extensions have them (nvidia-open-gpu-kernel-modules, nvidia-container-toolkit)",
    "kind": "its nodes are containers of a host, which has them",
}
"""Distributions on whose nodes the GPU Operator can install nothing, each with what has driver and toolkit there."""


def fixed_pool_findings(pools: Mapping[str, FixedPool], plugin: GpuPlugin) -> Findings:
    """Nodes in two pools, and ways of sharing GPUs that one cluster can't have together."""
    yield from _named_twice(pools)
    gpu_pools = {name: pool for name, pool in pools.items() if pool.is_gpu}
    yield from single_findings(gpu_pools)
    if plugin == "operator":
        partitioned = {name: pool for name, pool in gpu_pools.items() if pool.gpu.sharing == "mig"}
        yield from operator_findings(partitioned)
        yield from _slices_to_make(partitioned)
    if plugin != "present":
        yield from _shared_by_selector(gpu_pools)


def site_gpu_findings(gpu: SiteGpu, distribution: Distribution) -> Findings:
    """What the GPU Operator can't install on nodes of the distribution."""
    for key, given in (("driver", gpu.driver), ("toolkit", gpu.toolkit)):
        if given and gpu.plugin == "operator" and distribution in _READ_ONLY_HOSTS:
            yield ("gpu", key), f"must be false on {distribution}: {_READ_ONLY_HOSTS[distribution]}"


def unpartitioned_warnings(pools: Mapping[str, FixedPool], plugin: GpuPlugin) -> Findings:
    """Pools whose slices nothing in the cluster makes."""
    for name, pool in pools.items():
        if pool.gpu.sharing == "mig" and plugin == "device-plugin":
            yield (
                ("nodePools", name, "gpu", "sharing"),
                "is mig, and the device plugin makes no slices: partition the GPUs on the nodes (nvidia-mig-parted, "
                "nvidia-smi mig), or write gpulab:gpu.plugin: operator, which does it",
            )


def way_of_sharing(pool: FixedPool) -> tuple[object, ...]:
    """What is the same for pools that share their GPUs in the same way."""
    gpu = pool.gpu
    return (
        gpu.sharing,
        gpu.replicas,
        gpu.profile,
        tuple(sorted(gpu.layout.items())),
        gpu.sharing == "mig" and (pool.mig_strategy),
    )


def is_configured_by_label(name: str, pool: FixedPool) -> bool:
    """Whether its nodes have the label that selects its configuration: the stack sets it, or the site has set it."""
    return bool(pool.nodes) or pool.selector.get(DEVICE_PLUGIN_CONFIG_LABEL) == name


def _slices_to_make(partitioned: Mapping[str, FixedPool]) -> Findings:
    """The GPU Operator is told how many slices of a profile to make."""
    for name, pool in partitioned.items():
        if not pool.slices_are_known:
            yield (
                ("nodePools", name, "gpus", "product"),
                f"is missing: GPUs differ in how many slices of {pool.gpu.profile} they have. Write it as "
                "nvidia-smi -L says it, with hyphens (NVIDIA-A100-SXM4-80GB), or write gpu.layout in place of profile",
            )


def _named_twice(pools: Mapping[str, FixedPool]) -> Findings:
    first: dict[str, str] = {}
    for name, pool in pools.items():
        for index, node in enumerate(pool.nodes):
            other = first.setdefault(node, name)
            if other != name:
                yield (
                    ("nodePools", name, "nodes", index),
                    f"is in pool {other} too, and a node gets the label of one pool. For a CPU pool on a machine with "
                    f"GPUs write selector: {{kubernetes.io/hostname: {node}}} here, with the taints of pool {other}",
                )


def _shared_by_selector(pools: Mapping[str, FixedPool]) -> Findings:
    """The device plugin finds a node's configuration by a label. Nodes without it get the default, which is one."""
    unlabelled = {name: pool for name, pool in pools.items() if not is_configured_by_label(name, pool)}
    first = next(iter(unlabelled), None)
    for name, pool in unlabelled.items():
        if first is not None and way_of_sharing(pool) != way_of_sharing(unlabelled[first]):
            yield (
                ("nodePools", name, "gpu"),
                f"shares GPUs in another way than pool {first}, and both select nodes by labels of others. Name the "
                f"nodes of one of them (nodes), or label them {DEVICE_PLUGIN_CONFIG_LABEL}={name} and add that to "
                "selector",
            )
