"""What a cluster that exists says of its nodes, and the fixed pools as they are with that.

What this stack's own device plugin and feature discovery write on nodes appears only after the first `pulumi up`. It
never goes into resources, or the second preview would change them: without labels of others, GPUs in resources are
those that the stack file declares.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.quantities import amount
from settings.pools.fixed_pools import CONTROL_PLANE_TAINTS, FixedPool
from settings.pools.gpu_shares import advertised, shares
from settings.pools.labels import COUNT_LABEL, MARKS_ANNOTATION, PRODUCT_LABEL, SiteTaint
from settings.pools.site_gpu import GpuPlugin

if TYPE_CHECKING:
    from settings.existing_stack import ExistingSettings

_DISCOVERED = ("nvidia.com/", "feature.node.kubernetes.io/")
_GIB = 1024**3
# In the label of the product: NVIDIA-A100-SXM4-40GB-MIG-1g.5gb.
_SLICE = "-MIG-"


@dataclass(frozen=True, kw_only=True)
class FoundNode:
    """A node as the API server has it. `allocatable` is what pods may have of it, as Kubernetes quantities."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[SiteTaint] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)

    @property
    def vcpu(self) -> float:
        """The vCPUs that pods may have."""
        return float(amount(self.allocatable.get("cpu", "0")))

    @property
    def memory(self) -> int:
        """The whole GiB that pods may have: what the kernel keeps differs by some KiB from boot to boot."""
        return int(amount(self.allocatable.get("memory", "0"))) // _GIB

    def taints_of_others(self, stack: str) -> list[SiteTaint]:
        """The taints that the stack has not set itself, as its note on the node says."""
        note = json.loads(self.annotations.get(MARKS_ANNOTATION) or "null") or {}
        own = note["taints"] if note.get("stack") == stack else []
        return [taint for taint in self.taints if taint.model_dump(exclude_none=True) not in own]

    def gpus(self, pool: FixedPool) -> int | None:
        """Its GPUs by the labels of feature discovery; None without, or where these don't tell.

        Where all GPUs are cut into the same slices, these labels are about slices (k8s-device-plugin,
        internal/lm/mig-strategy.go). A GPU may have fewer of them than fit.
        """
        count = self.labels.get(COUNT_LABEL, "")
        if not count.isdigit():
            return None
        if pool.mig_strategy != "single" or _SLICE not in self.labels.get(PRODUCT_LABEL, ""):
            return int(count)
        return math.ceil(int(count) / sum(pool.mig_slices.values())) if pool.slices_are_known else None


class KnownPool(FixedPool):
    """A fixed pool with its nodes. `known` are those that its resources are made from."""

    known: tuple[FoundNode, ...] = ()
    labelled_by_others: bool = False
    """Whether its nodes had the labels of their GPUs before this stack."""

    @property
    def gpus_of_a_node(self) -> int | None:
        """The most GPUs that one of its nodes has: as declared, else as its labels say; None where that is unknown."""
        return max(self._counts) if self._counts else super().gpus_of_a_node

    @property
    def most_gpus(self) -> int | None:
        """How many GPUs its nodes have together, where that is known of all of them."""
        return sum(self._counts) if self._counts else super().most_gpus

    @property
    def together(self) -> dict[str, str]:
        """What all its nodes have for pods."""
        if not self.known:
            return super().together
        cpu, memory = sum(node.vcpu for node in self.known), sum(node.memory for node in self.known)
        return {**_room(cpu, memory), **super().together}

    @property
    def largest(self) -> dict[str, str]:
        """The most that a pod can have on one of its nodes."""
        if not self.known:
            return super().largest
        cpu, memory = max(node.vcpu for node in self.known), max(node.memory for node in self.known)
        return {**_room(cpu, memory), **super().largest}

    @property
    def _counts(self) -> list[int]:
        """The GPUs of each node; empty where a node's are not known."""
        declared = super().gpus_of_a_node
        if not self.is_gpu or (declared is None and not (self.labelled_by_others and self.slices_are_known)):
            return []
        counts = [node.gpus(self) if declared is None else declared for node in self.known]
        return [] if None in counts else [count for count in counts if count is not None]


def with_found(settings: ExistingSettings, nodes: Sequence[FoundNode]) -> ExistingSettings:
    """The settings with what the cluster says of the pools' nodes, for what the program makes."""
    plugin = settings.gpu.plugin
    pools: dict[str, FixedPool] = {
        name: known_pool(
            pool,
            [] if is_discovered(pool) and plugin != "present" else nodes,
            labelled_by_others=plugin == "present",
        )
        for name, pool in settings.node_pools.items()
    }
    return dataclasses.replace(settings, node_pools=pools)


def known_pool(pool: FixedPool, nodes: Iterable[FoundNode], *, labelled_by_others: bool) -> KnownPool:
    """The pool with those of the nodes that are its own."""
    fields = {name: getattr(pool, name) for name in FixedPool.model_fields}
    return KnownPool.model_construct(
        **{**fields, "known": tuple(nodes_of(pool, nodes)), "labelled_by_others": labelled_by_others}
    )


def nodes_of(pool: FixedPool, nodes: Iterable[FoundNode]) -> list[FoundNode]:
    """The pool's nodes: those that it names, or those with its labels, without tainted ones of the control plane."""
    if pool.nodes:
        return [node for node in nodes if node.name in pool.nodes]
    return [
        node
        for node in nodes
        if pool.selector.items() <= node.labels.items()
        and (pool.include_control_plane or not any(map(is_of_the_control_plane, node.taints)))
    ]


def is_of_the_control_plane(taint: SiteTaint) -> bool:
    """Whether the control plane's nodes have the taint to keep other pods off."""
    return taint.effect != "PreferNoSchedule" and taint.key in [one.key for one in CONTROL_PLANE_TAINTS]


def is_discovered(pool: FixedPool) -> bool:
    """Whether its nodes have the labels of its selector only when feature discovery has looked at them."""
    return any(key.startswith(_DISCOVERED) for key in pool.selector)


def offers(pool: FixedPool, node: FoundNode, plugin: GpuPlugin) -> dict[str, int] | None:
    """What the node has of the pool's GPU resources: as declared, else as it says itself; None where that is unknown.

    A device plugin that stays as it is has the last word.
    """
    if plugin == "present" and (there := _allocatable(pool, node)):
        return there
    declared = pool.gpus.count if pool.gpus is not None else None
    count = declared if declared is not None else node.gpus(pool)
    if count is None or not pool.slices_are_known:
        return _allocatable(pool, node) or None
    return {resource: int(number) for resource, number in advertised(pool, count).items()}


def _allocatable(pool: FixedPool, node: FoundNode) -> dict[str, int]:
    found = {resource: int(amount(node.allocatable.get(resource, "0"))) for resource in shares(pool)}
    return found if any(found.values()) else {}


def _room(cpu: float, memory: int) -> dict[str, str]:
    """VCPU and memory as Kubernetes quantities."""
    return {"cpu": f"{cpu:g}", "memory": f"{memory}Gi"}


def pool_findings(settings: ExistingSettings, nodes: Sequence[FoundNode]) -> tuple[list[str], list[str]]:
    """Errors and warnings about pools."""
    return [], []
