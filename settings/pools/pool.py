"""What every node pool has, whoever makes its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from settings.pools.gpu import Gpu, MigStrategy
from settings.pools.labels import Taint


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
