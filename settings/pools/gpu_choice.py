"""The choice of a GPU by what people know about one: its model, or how much memory they need."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field, StrictInt

import contracts
from contracts import InstanceType
from settings.language.section import Facts, Findings, Section, nearest, rule
from settings.language.values import whole
from settings.pools.node_pools import NodePool

_MIB = 1024


class GpuChoice(Section):
    """What kind of GPU a profile asks for."""

    model: str | None = Field(
        default=None,
        description="GPU model as Karpenter labels it: a10g, l40s, a100. On an existing cluster the product as the "
        "label nvidia.com/gpu.product has it.",
    )
    min_memory: Annotated[StrictInt, whole(1, 2048, "GiB")] | None = Field(
        default=None, description="Memory of the GPU, or of a slice that has its own, in GiB."
    )

    @rule
    def _known_model(self, facts: Facts) -> Findings:
        if facts.ground == "existing":
            return  # a site has whatever it bought
        if self.model is not None and self.model not in known_models():
            near = nearest(self.model, known_models())
            hint = f'did you mean "{near}"?' if near else f"known are {', '.join(known_models())}"
            yield ("model",), f"is unknown: {hint}"


def gpu_model(instance_type: InstanceType) -> str:
    """The model of the type's GPUs as Karpenter labels it (karpenter.k8s.aws/instance-gpu-name); empty without."""
    return (instance_type.gpu_name or "").lower().replace(" ", "-")


def memory_of_a_share(pool: NodePool, instance_type: InstanceType) -> float:
    """GiB that one GPU of the pool, or one share of it, gives a pod; with a MIG layout, the largest slice.

    Pods that take turns on a GPU (time-slicing) may each use all of its memory, so all of it counts.
    """
    gpu = instance_type.gpu_memory_mib / _MIB
    if pool.gpu.sharing == "mps":
        return gpu / (pool.gpu.replicas or 1)
    if pool.gpu.sharing == "mig":
        mig = contracts.mig_gpu(instance_type)
        slices = [mig.profiles[name] for name in pool.mig_slices] if mig else []
        return max((one.memory_gb for one in slices), default=gpu)
    return gpu


def satisfying_types(choice: GpuChoice, pool: NodePool) -> tuple[InstanceType, ...]:
    """The pool's instance types whose GPUs match the choice; empty when the pool has none."""
    return tuple(
        one
        for one in pool.instance_types
        if pool.is_gpu
        and choice.model in (None, gpu_model(one))
        and (choice.min_memory is None or memory_of_a_share(pool, one) >= choice.min_memory)
    )


@cache
def known_models() -> tuple[str, ...]:
    """The GPU models of the catalogue, sorted."""
    return tuple(sorted({gpu_model(one) for one in contracts.instance_types().values() if one.gpu_count}))
