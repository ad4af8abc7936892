"""`gpulab:nodePools` on an existing cluster: nodes that are there, told apart by their labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from settings.ground import on_eks_only
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, matching, whole
from settings.pools.gpu import Gpu, MigStrategy
from settings.pools.labels import LabelValue, Taint

NodeName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a node")]
AnyKey = Annotated[
    str,
    matching(
        r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", "the key of a label"
    ),
]
"""The key of a label that nodes have already, whoever set it."""


_THERE = "the nodes are there: selector or nodes says which"
_STAY = "nobody replaces these nodes"


class FixedGpus(Section):
    """What one node has of GPUs. What is left out is read from the labels of NVIDIA's feature discovery."""

    count: Annotated[StrictInt, whole(1, 16, "GPUs")] | None = Field(default=None, description="GPUs of one node.")
    product: Annotated[str, matching(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,62}", "a product such as NVIDIA-L40S")] | None = (
        Field(default=None, description="Their product, as the label nvidia.com/gpu.product has it.")
    )
    memory: Annotated[StrictInt, whole(1, 2048, "GiB")] | None = Field(
        default=None, description="Memory of one GPU in GiB."
    )


class FixedPool(Section):
    """Nodes of one kind that are there. With `gpus` they have GPUs."""

    elsewhere = on_eks_only(
        **dict.fromkeys(("categories", "families", "minGeneration", "sizes", "architectures", "zones"), _THERE),
        **dict.fromkeys(("capacityTypes", "capacityReservations", "maxPrice", "limits", "weight"), _THERE),
        **dict.fromkeys(("expireAfter", "terminationGracePeriod", "consolidation", "budgets"), _STAY),
        **dict.fromkeys(("maintenanceWindow", "startupTaints", "ami", "rootVolume"), _STAY),
        labels="selector names labels that the nodes have",
    )

    selector: dict[AnyKey, LabelValue] = Field(
        default={},
        description="Labels that its nodes have, all of them; this or nodes.",
        json_schema_extra={"additionalProperties": False},
    )
    nodes: Annotated[tuple[NodeName, ...], DISTINCT] = Field(
        default=(),
        description="Nodes by name, which get a label of the platform and the taints; a destroy takes both off.",
    )
    taints: tuple[Taint, ...] = Field(
        default=(), description="Taints that its nodes have; with nodes, taints that they get."
    )
    include_control_plane: StrictBool = Field(
        default=False, description="Whether nodes of the control plane belong to it, although they are tainted."
    )
    gpus: FixedGpus | None = Field(default=None, description="GPUs of its nodes; makes the pool a GPU pool.")
    gpu: Gpu = Field(default=Gpu(), description="How the GPUs are shared: see its keys.")

    @property
    def is_gpu(self) -> bool:
        """Whether its nodes have GPUs."""
        return self.gpus is not None

    @property
    def most_gpus(self) -> int | None:
        """How many GPUs its nodes have together, where the stack file says it: found nodes say it otherwise."""
        if self.gpus is None or self.gpus.count is None or not self.nodes:
            return None
        return self.gpus.count * len(self.nodes)

    @property
    def mig_slices(self) -> dict[str, int]:
        """The slices of one GPU by MIG profile; empty without MIG."""
        return {self.gpu.profile: 1} if self.gpu.profile else dict(self.gpu.layout)

    @property
    def mig_strategy(self) -> MigStrategy:
        """How pods ask for these."""
        return self.gpu.strategy or "mixed"

    @property
    def startup_taints(self) -> tuple[Taint, ...]:
        """None: the nodes are there."""
        return ()

    @property
    def capacity_types(self) -> tuple[str, ...]:
        """None: nobody buys them."""
        return ()

    @rule
    def _selector_or_nodes(self, facts: Facts) -> Findings:
        if bool(self.selector) == bool(self.nodes):
            yield (), f"must have either selector or nodes, and has {'both' if self.nodes else 'neither'}"

    @rule
    def _gpu_settings_for_gpu_pools_alone(self, facts: Facts) -> Findings:
        if not self.is_gpu and self.gpu != Gpu():
            yield ("gpu",), "is for GPU pools: leave it out, or set gpus to make this one"

    @rule
    def _nodes_that_come_and_go(self, facts: Facts) -> Findings:
        if self.gpu.warm is not None:
            yield ("gpu", "warm"), "is for gpulab:ground.kind eks: these nodes are there anyway, leave it out"
        if self.gpu.image_cache is not None:
            yield ("gpu", "imageCache"), "is for gpulab:ground.kind eks: these nodes keep their images, leave it out"
