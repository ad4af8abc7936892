"""`gpulab:nodePools` on an existing cluster: nodes that are there, told apart by their labels."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

import contracts
from contracts import MigGpu
from settings.ground import on_eks_only
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, matching, whole
from settings.pools.gpu import Gpu, MigStrategy
from settings.pools.gpu_fitting import fits
from settings.pools.gpu_shares import GPU_TAINT, advertised
from settings.pools.labels import MEMORY_LABEL, POOL_LABEL, PRODUCT_LABEL, AnyKey, LabelValue, SiteTaint
from settings.pools.pool import DeclaredGpu, GpuLabels

NodeName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a node")]

CONTROL_PLANE_TAINTS = (
    SiteTaint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule"),
    SiteTaint(key="node-role.kubernetes.io/etcd", effect="NoExecute"),
)
"""The taints of nodes of the control plane: of kubeadm and Talos, and of RKE2 (its etcd)."""

_MIB = 1024

_THERE = "the nodes are there: selector or nodes says which"
_STAY = "nobody replaces these nodes"


class FixedGpus(Section):
    """What one node has of GPUs. What is left out is read from the labels of NVIDIA's feature discovery."""

    elsewhere = on_eks_only(**dict.fromkeys(("min", "max"), "count says how many one node has"))

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
    taints: tuple[SiteTaint, ...] = Field(
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
        if self.gpus_of_a_node is None or not self.nodes:
            return None
        return self.gpus_of_a_node * len(self.nodes)

    @property
    def gpus_of_a_node(self) -> int | None:
        """The most GPUs that one of its nodes has; None where that or the slices of a GPU are not known."""
        return self.gpus.count if self.gpus is not None and self.slices_are_known else None

    @property
    def slices_are_known(self) -> bool:
        """Whether it is known how many MIG slices one of its GPUs gives."""
        return self.gpu.profile is None or len(self._slices_of_a_gpu) == 1

    @property
    def is_open(self) -> bool:
        """Whether pods that need no GPU may run on its nodes: the platform's taint on them would forbid it."""
        return not self.is_gpu or not any(
            taint.key == GPU_TAINT.key and taint.effect != "PreferNoSchedule" for taint in self.node_taints
        )

    def node_selector(self, name: str) -> dict[str, str]:
        """The labels that its nodes have, or the label that they get where the stack file names them."""
        return {POOL_LABEL: name} if self.nodes else dict(self.selector)

    @property
    def node_taints(self) -> tuple[SiteTaint, ...]:
        """Every taint of its nodes that pods have to tolerate."""
        return (*self.taints, *(CONTROL_PLANE_TAINTS if self.include_control_plane else ()))

    @property
    def gpu_labels(self) -> GpuLabels:
        """The labels of NVIDIA's feature discovery, for what is not declared."""
        declared = self.gpus or FixedGpus()
        return GpuLabels(
            product=PRODUCT_LABEL if declared.product is None else None,
            memory=MEMORY_LABEL if declared.memory is None else None,
        )

    @property
    def declared_gpu(self) -> DeclaredGpu:
        """What its GPUs are, by the stack file."""
        declared = self.gpus or FixedGpus()
        return DeclaredGpu(product=declared.product, memory=declared.memory)

    @property
    def together(self) -> dict[str, str]:
        """The GPUs that all its nodes have; found nodes say the rest."""
        return {} if self.most_gpus is None else advertised(self, self.most_gpus)

    @property
    def largest(self) -> dict[str, str]:
        """The GPUs that one of its nodes has; found nodes say the rest."""
        return {} if self.gpus_of_a_node is None else advertised(self, self.gpus_of_a_node)

    @property
    def mig_slices(self) -> dict[str, int]:
        """The slices of one GPU by MIG profile; empty without MIG. Of one profile at least 1: see `gpus_of_a_node`."""
        if self.gpu.profile:
            return {self.gpu.profile: min(self._slices_of_a_gpu, default=1)}
        return dict(self.gpu.layout)

    @property
    def _slices_of_a_gpu(self) -> set[int]:
        """How many slices of its MIG profile fit on a GPU of its product: several where the product is not declared."""
        profiles = [gpu.profiles.get(self.gpu.profile or "") for gpu in self._partitioned()]
        return {len(profile.starts) for profile in profiles if profile}

    def _partitioned(self) -> list[MigGpu]:
        """How GPUs like its own can be partitioned, as far as the stack file says what they are."""
        product, memory = (self.gpus.product or "", self.gpus.memory) if self.gpus else ("", None)
        found = [
            (mib, gpu)
            for (name, mib), gpu in contracts.mig_gpus().items()
            if name.replace(" ", "-") in product or not product
            if memory is None or abs(mib / _MIB - memory) <= memory / 10
        ]
        of_its_size = [gpu for mib, gpu in found if f"{mib // _MIB}GB" in product]
        return of_its_size or [gpu for _, gpu in found]

    @property
    def mig_strategy(self) -> MigStrategy:
        """How pods ask for these."""
        return self.gpu.strategy or "mixed"

    @property
    def startup_taints(self) -> tuple[SiteTaint, ...]:
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
    def _slices_that_the_gpus_have(self, facts: Facts) -> Findings:
        if self.gpu.sharing != "mig" or not (able := self._partitioned()):
            return  # of GPUs that nobody declared, or that are not listed, nothing is known
        if self.gpu.profile and not self._slices_of_a_gpu:
            known = ", ".join(dict.fromkeys(name for gpu in able for name in gpu.profiles))
            yield ("gpu", "profile"), f"is not a MIG profile of its GPUs, which have {known}"
        if self.gpu.layout and not any(fits(self.gpu.layout, gpu) for gpu in able):
            yield ("gpu", "layout"), "does not fit on one of its GPUs: take fewer or smaller slices"

    @rule
    def _nodes_that_come_and_go(self, facts: Facts) -> Findings:
        if self.gpu.warm is not None:
            yield ("gpu", "warm"), "is for gpulab:ground.kind eks: these nodes are there anyway, leave it out"
        if self.gpu.image_cache is not None:
            yield ("gpu", "imageCache"), "is for gpulab:ground.kind eks: these nodes keep their images, leave it out"
