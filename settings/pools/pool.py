"""What every node pool has, whoever makes its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from settings.pools.gpu import Gpu, MigStrategy
from settings.pools.labels import Taint


@dataclass(frozen=True, kw_only=True)
class GpuLabels:
    """The labels by which a node says what its GPUs are: the product, and MiB of memory of one.

    None where nodes need not say it: all nodes of the pool have what the stack file declares.
    """

    product: str | None
    memory: str | None


@dataclass(frozen=True, kw_only=True)
class DeclaredGpu:
    """What the stack file says of one of a pool's GPUs: the product, and GiB of memory. None: its nodes say it."""

    product: str | None
    memory: int | None


class Pool(Protocol):
    """A kind of node: how pods get there, and what they get of its GPUs."""

    @property
    def is_gpu(self) -> bool:
        """Whether its nodes have GPUs."""
        ...

    @property
    def gpu(self) -> Gpu:
        """How these are shared."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether pods that need no GPU may run on its nodes."""
        ...

    def node_selector(self, name: str) -> Mapping[str, str]:
        """The labels by which pods get to its nodes; `name` is the pool's in the stack file."""
        ...

    @property
    def node_taints(self) -> Sequence[Taint]:
        """Every taint of its nodes when they are ready."""
        ...

    @property
    def gpu_labels(self) -> GpuLabels:
        """The labels by which its nodes say what their GPUs are."""
        ...

    @property
    def declared_gpu(self) -> DeclaredGpu:
        """What its GPUs are, by the stack file."""
        ...

    @property
    def together(self) -> Mapping[str, str]:
        """The most that all its nodes may have, by resource, as Kubernetes writes it. What is not known is left out."""
        ...

    @property
    def largest(self) -> Mapping[str, str]:
        """The most that a pod can have on one of its nodes, in the same way."""
        ...

    @property
    def most_gpus(self) -> int | None:
        """How many GPUs its nodes may have together; None where that is not known, or for a pool without GPUs."""
        ...

    @property
    def mig_slices(self) -> Mapping[str, int]:
        """The slices of one GPU by MIG profile; empty without MIG."""
        ...

    @property
    def mig_strategy(self) -> MigStrategy:
        """How pods ask for these."""
        ...

    @property
    def taints(self) -> Sequence[Taint]:
        """Taints of its nodes, beside the one that all GPU pools have."""
        ...

    @property
    def startup_taints(self) -> Sequence[Taint]:
        """Taints that something removes when a node is ready."""
        ...

    @property
    def capacity_types(self) -> Sequence[str]:
        """How its machines are bought; empty for machines that are there."""
        ...
