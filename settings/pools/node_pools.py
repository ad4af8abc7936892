"""`gpulab:nodePools`: the nodes that Karpenter may start, one pool for each kind of node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StrictInt

from contracts import InstanceType
from settings.ground import on_existing_only
from settings.language.section import Facts, Findings, rule
from settings.language.values import (
    DISTINCT,
    NEVER,
    Duration,
    DurationOrNever,
    at_least_one,
    matching,
    repeated,
    seconds,
    whole,
    without_default,
)
from settings.pools.allocatable import memory_for_pods, vcpu_for_pods
from settings.pools.disruption import Budget, Consolidation, MaintenanceWindow
from settings.pools.gpu import Gpu, MigStrategy
from settings.pools.gpu_fitting import machine_findings, mig_slices, warm_findings
from settings.pools.gpu_shares import GPU_TAINT, advertised
from settings.pools.instance_choice import LAB_PRICE, PRODUCTION_PRICE, InstanceChoice
from settings.pools.labels import POOL_LABEL, Key, LabelValue, Taint
from settings.pools.nodes import Limits, RootVolume
from settings.pools.pool import DeclaredGpu, GpuLabels

CapacityType: TypeAlias = Literal["reserved", "spot", "on-demand"]

CAPACITY_TYPES: tuple[CapacityType, ...] = ("reserved", "spot", "on-demand")
"""In the order in which Karpenter prefers them, whatever the order in a requirement."""

# Maintenance windows add a budget for each gap between them, at most 7; the CRD takes 50.
_BUDGETS_LIMIT = 40
_AL2023_IMAGE_GIB = 20

PoolName = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        "a name of at most 40 lower-case letters, digits and hyphens, with a letter first and no hyphen at the end",
    ),
]


class NodePool(InstanceChoice):
    """One kind of node. With `gpus` it is a GPU pool: tainted, limited in GPUs, and consolidated only when empty."""

    elsewhere = on_existing_only(
        **dict.fromkeys(("selector", "nodes"), "categories or families say what is bought"),
        includeControlPlane="AWS runs the control plane",
    )

    gpu: Gpu = Field(default=Gpu(), description="How the GPUs are shared, and how notebooks start fast.")
    capacity_types: Annotated[tuple[CapacityType, ...], DISTINCT, at_least_one("capacity type")] = Field(
        default=("on-demand",),
        description="How instances are bought, in Karpenter's order of preference: reserved, spot, on-demand.",
    )
    capacity_reservations: Annotated[
        tuple[Annotated[str, matching(r"cr-[0-9a-f]{17}", "an id such as cr-0123456789abcdef0")], ...], DISTINCT
    ] = Field(default=(), description="Ids of capacity reservations, for capacity type reserved.")
    zones: Annotated[tuple[str, ...], DISTINCT] = Field(
        default=(),
        description="Zones of the network; all of them by default.",
    )
    limits: Limits = Field(description="What the pool's nodes may have together: cpu, memory, gpus.")
    root_volume: RootVolume = Field(default=RootVolume(), description="Root volume of each node.")
    labels: dict[Key, LabelValue] = Field(
        default={}, description="Extra labels of the nodes.", json_schema_extra={"additionalProperties": False}
    )
    taints: tuple[Taint, ...] = Field(default=(), description="Extra taints; GPU pools get theirs automatically.")
    startup_taints: tuple[Taint, ...] = Field(
        default=(), description="Taints that another component removes when the node is ready."
    )
    expire_after: DurationOrNever = Field(default="720h", description="Age at which a node is replaced, or Never.")
    termination_grace_period: Duration = Field(
        default="10m",
        description="How long pods may delay the end of their node: 10m by default in a lab, 24h in production.",
        json_schema_extra=without_default,
    )
    consolidation: Consolidation = Field(
        default=Consolidation(),
        description="When nodes that are not needed are removed.",
        json_schema_extra=without_default,
    )
    budgets: tuple[Budget, ...] = Field(
        default=(),
        description="Extra disruption budgets.",
        json_schema_extra={"maxItems": _BUDGETS_LIMIT},
    )
    maintenance_window: MaintenanceWindow | None = Field(
        default=None, description="Drift replaces nodes of the pool only in this time."
    )
    weight: Annotated[StrictInt, whole(1, 100)] | None = Field(
        default=None, description="Among pools that fit a pod, Karpenter tries the heaviest first."
    )

    @property
    def is_open(self) -> bool:
        """Whether pods that need no GPU may run on its nodes: those with GPUs are bought for who needs one."""
        return not self.is_gpu

    def node_selector(self, name: str) -> dict[str, str]:
        """The label that its nodes start with."""
        return {POOL_LABEL: name}

    @property
    def node_taints(self) -> tuple[Taint, ...]:
        """Every taint of its nodes when they are ready: that of GPU nodes, and its own."""
        return (*((GPU_TAINT,) if self.is_gpu else ()), *self.taints)

    @property
    def gpu_labels(self) -> GpuLabels:
        """Karpenter's labels, which are known before there is a node; those of NVIDIA's feature discovery are not."""
        prefix = "karpenter.k8s.aws/instance-gpu"
        return GpuLabels(product=f"{prefix}-name", memory=f"{prefix}-memory")

    @property
    def declared_gpu(self) -> DeclaredGpu:
        """Nothing: instance types say what it buys."""
        return DeclaredGpu(product=None, memory=None)

    @property
    def together(self) -> dict[str, str]:
        """The limits of all its nodes; GPUs and shares by their resource names."""
        quantities = {"cpu": (self.limits.cpu, ""), "memory": (self.limits.memory, "Gi")}
        known = {resource: f"{amount}{unit}" for resource, (amount, unit) in quantities.items() if amount is not None}
        return known if self.limits.gpus is None else {**known, **advertised(self, self.limits.gpus)}

    @property
    def largest(self) -> dict[str, str]:
        """The most that a pod can have on any machine within the limits, by resource."""
        types = self.types_within_limits
        found = {
            "cpu": str(max(map(vcpu_for_pods, types))),
            "memory": f"{int(max(map(memory_for_pods, types)))}Gi",
        }
        return {**found, **advertised(self, max(one.gpu_count for one in types))} if self.is_gpu else found

    @property
    def most_gpus(self) -> int | None:
        """How many GPUs its nodes may have together."""
        return self.limits.gpus

    @property
    def mig_slices(self) -> dict[str, int]:
        """The slices of one GPU by MIG profile; empty without MIG."""
        return mig_slices(self.gpu, self.instance_types) if self.gpu.sharing == "mig" else {}

    @property
    def mig_strategy(self) -> MigStrategy:
        """How pods ask for its MIG slices: as the pool says, else as its image does by default."""
        return self.gpu.strategy or ("single" if self.ami.family == "Bottlerocket" else "mixed")

    @property
    def at_any_price(self) -> NodePool:
        """The same pool without `max_price`."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**fields, "max_price": None})

    @property
    def types_within_limits(self) -> tuple[InstanceType, ...]:
        """The instance types of which the pool's limits allow at least one, cheapest first."""
        limits = self.limits
        return tuple(
            one
            for one in self.instance_types
            if (limits.cpu is None or one.vcpu <= limits.cpu)
            and (limits.memory is None or one.memory_mib <= limits.memory * 1024)
            and (limits.gpus is None or one.gpu_count <= limits.gpus)
        )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Defaults: zones by the network, consolidation by whether it has GPUs, grace period by the lifecycle.

        Only a pool by categories gets a price limit: who names a family knows what it costs.
        """
        consolidation = given.get("consolidation", {})
        if isinstance(consolidation, dict):
            policy = "WhenEmptyOrUnderutilized" if given.get("gpus") is None else "WhenEmpty"
            consolidation = {"policy": policy, **consolidation}
        defaults: dict[str, Any] = {
            "zones": list(facts.zones or ()),
            "terminationGracePeriod": "24h" if facts.production else "10m",
        }
        if given.get("categories") and given.get("capacityTypes") != ["reserved"] and facts.production is not None:
            defaults["maxPrice"] = PRODUCTION_PRICE if facts.production else LAB_PRICE
        given = {key: value for key, value in given.items() if key != "maxPrice" or value is not None}
        return {**defaults, **given, "consolidation": consolidation}

    @rule
    def _gpu_limit_only_for_gpu_pools(self, facts: Facts) -> Findings:
        if self.is_gpu and self.limits.gpus is None:
            yield ("limits", "gpus"), "is missing: a GPU pool needs a limit, in whole GPUs, on what it may cost"
        if not self.is_gpu and self.limits.gpus is not None:
            yield ("limits", "gpus"), "is for GPU pools: leave it out, or set gpus to make this one"

    @rule
    def _gpu_settings_only_for_gpu_pools(self, facts: Facts) -> Findings:
        if not self.is_gpu and self.gpu != Gpu():
            yield ("gpu",), "is for GPU pools: leave it out, or set gpus to make this one"

    @rule
    def _gpu_settings_that_the_machines_support(self, facts: Facts) -> Findings:
        if self.is_gpu:
            yield from machine_findings(self.gpu, self.instance_types, self.ami)

    @rule
    def _placeholders_within_the_limits(self, facts: Facts) -> Findings:
        if self.is_gpu and self.limits.gpus is not None:
            yield from warm_findings(self.gpu, self.instance_types, self.limits.gpus)

    @rule
    def _cpu_limit_for_cpu_pools(self, facts: Facts) -> Findings:
        if not self.is_gpu and self.limits.cpu is None:
            yield ("limits", "cpu"), "is missing: a pool without GPUs needs a limit, in vCPUs, on what it may cost"

    @rule
    def _limits_that_admit_an_instance(self, facts: Facts) -> Findings:
        amounts: list[tuple[str, int | None, str, Callable[[InstanceType], float]]] = [
            ("cpu", self.limits.cpu, "vCPU", lambda candidate: candidate.vcpu),
            ("memory", self.limits.memory, "GiB", lambda candidate: candidate.memory_mib / 1024),
            ("gpus", self.limits.gpus, "GPUs", lambda candidate: candidate.gpu_count),
        ]
        fitting = list(self.instance_types)
        one_too_small = False
        for key, limit, unit, amount in amounts:
            if limit is None or not self.instance_types:
                continue
            fitting = [candidate for candidate in fitting if amount(candidate) <= limit]
            smallest = min(self.instance_types, key=amount)
            if amount(smallest) > limit:
                one_too_small = True
                yield (
                    ("limits", key),
                    f"is less than the pool's smallest instance has: {smallest.name} has {amount(smallest):g} {unit}",
                )
        if self.instance_types and not fitting and not one_too_small:
            yield ("limits",), "together allow none of the pool's instance types: raise one of them"

    @rule
    def _capacity_types_in_order(self, facts: Facts) -> Findings:
        ordered = tuple(kind for kind in CAPACITY_TYPES if kind in self.capacity_types)
        if self.capacity_types != ordered:
            yield (
                ("capacityTypes",),
                f"must be in the order in which Karpenter prefers them: write [{', '.join(ordered)}]",
            )

    @rule
    def _reservations_with_reserved_capacity(self, facts: Facts) -> Findings:
        reserved = "reserved" in self.capacity_types
        if reserved and not self.capacity_reservations:
            yield ("capacityReservations",), "is missing: capacity type reserved needs the ids of the reservations"
        if self.capacity_reservations and not reserved:
            yield ("capacityReservations",), "has no effect: add reserved to capacityTypes, or leave it out"

    @rule
    def _not_too_many_reservations(self, facts: Facts) -> Findings:
        if len(self.capacity_reservations) > 30:
            yield ("capacityReservations",), "has more ids than an EC2NodeClass takes: 30 at most"

    @rule
    def _zones_of_the_network(self, facts: Facts) -> Findings:
        for index, zone in enumerate(self.zones):
            if facts.zones is not None and zone not in facts.zones:
                yield ("zones", index), f"must be one of the network's zones: {', '.join(facts.zones)}"

    @rule
    def _whole_gpu_nodes_only_when_empty(self, facts: Facts) -> Findings:
        if self.is_gpu and self.consolidation.policy != "WhenEmpty":
            yield (
                ("consolidation", "policy"),
                "must be WhenEmpty for a GPU pool: moving a notebook ends what it computes",
            )

    @rule
    def _room_for_the_image(self, facts: Facts) -> Findings:
        if self.ami.family == "AL2023" and self.root_volume.size < _AL2023_IMAGE_GIB:
            yield ("rootVolume", "size"), f"is too small: the image of AL2023 takes {_AL2023_IMAGE_GIB} GiB"

    @rule
    def _no_taint_twice(self, facts: Facts) -> Findings:
        taints = [(taint.key, taint.effect) for taint in (*self.taints, *self.startup_taints)]
        for key, effect in repeated(taints):
            yield ("taints",), f"must not repeat a taint: {key} with {effect} is there twice, or in startupTaints too"

    @rule
    def _not_too_many_budgets(self, facts: Facts) -> Findings:
        if len(self.budgets) > _BUDGETS_LIMIT:
            yield ("budgets",), f"has {len(self.budgets)} entries: {_BUDGETS_LIMIT} at most"

    @rule
    def _time_to_terminate(self, facts: Facts) -> Findings:
        if seconds(self.termination_grace_period) == 0:
            yield ("terminationGracePeriod",), "must be more than 0: pods need time to end in order"

    @rule
    def _older_than_its_termination(self, facts: Facts) -> Findings:
        if self.expire_after != NEVER and seconds(self.expire_after) <= seconds(self.termination_grace_period):
            yield (
                ("expireAfter",),
                f"must exceed terminationGracePeriod, which is {self.termination_grace_period}: "
                "nodes would expire before they could end",
            )

    @rule
    def _older_than_the_maintenance_window(self, facts: Facts) -> Findings:
        window = self.maintenance_window
        if window and self.expire_after != NEVER and seconds(self.expire_after) <= seconds(window.duration):
            yield (
                ("expireAfter",),
                f"must exceed the maintenance window, which lasts {window.duration}: nodes would expire within it",
            )
