"""What node pools cost an hour at their limits, with the cheapest and the most expensive machines that they may buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from contracts import InstanceType
from policies.reading.node_pools import instance_types, limits
from policies.reading.pods import GPU, is_gpu_resource
from policies.reading.quantities import quantity
from policies.reading.resources import Resource, at, items, kind_of, texts

from .preview_output import Step

_MIB = 2**20
_GPU_COUNT = "karpenter.k8s.aws/instance-gpu-count"
_NODE_POOL_LABEL = "karpenter.sh/nodepool"


@dataclass(frozen=True, kw_only=True)
class AtLimits:
    """USD an hour on demand, if the pool buys the machines that cost least, or most, for each unit of its limit."""

    cheapest: float
    dearest: float
    machine: str
    """The most expensive machine."""


@dataclass(frozen=True, kw_only=True)
class PoolCost:
    """A pool before and after. None: there is no pool. A text: the cost is not known, and why."""

    name: str
    before: AtLimits | str | None
    after: AtLimits | str | None


def pool_costs(steps: Sequence[Step]) -> list[PoolCost]:
    """The pools among a preview's resources."""
    found = []
    for step in steps:
        if kind_of(_resource(step, {})) == "NodePool":
            new = None if step.op == "delete" else step.new if step.new is not None else step.old
            found.append(
                PoolCost(
                    name=at(new or step.old, "metadata.name", step.name),
                    before=_at_limits(step, step.old, steps, after=False) if step.old is not None else None,
                    after=_at_limits(step, new, steps, after=True) if new is not None else None,
                )
            )
    return found


def _resource(step: Step, inputs: Mapping[str, Any]) -> Resource:
    return SimpleNamespace(  # type: ignore[return-value]
        resource_type=step.type, props=inputs, urn=step.urn, name=step.name, opts=None, provider=None
    )


def _at_limits(step: Step, inputs: Mapping[str, Any], steps: Sequence[Step], *, after: bool) -> AtLimits | str:
    pool = _resource(step, inputs)
    limited = {name: amount for name, text in limits(pool).items() if (amount := quantity(text)) is not None}
    if not limited:
        return "it has no limit"
    types = instance_types(pool)
    priced = [item for item in types if item.price]
    if not priced:
        return "no price of its machines is known"
    shares = _shares(at(inputs, "metadata.name", step.name), steps, after=after)
    # For each limit: what a unit of it costs on the cheapest and on the most expensive machine. The pool stops at the
    # limit that it reaches first, so the lowest cost is its bound for any mix of machines.
    bounds = []
    for name, limit in limited.items():
        costs = [
            (item.price / amount * limit, item.name)
            for item in priced
            if item.price and (amount := _has(item, name, shares))
        ]
        if costs:
            bounds.append((max(costs), min(costs)))
    if not bounds:
        return f"its machines count nothing against {', '.join(limited)}"
    (dearest, machine), (cheapest, _) = min(bounds)
    return AtLimits(cheapest=cheapest, dearest=dearest, machine=machine)


def _has(machine: InstanceType, resource: str, shares: Mapping[tuple[str, int], float]) -> float:
    """How much of a limited resource a machine has."""
    if resource == "cpu":
        return machine.vcpu
    if resource == "memory":
        return machine.memory_mib * _MIB
    if resource == "nodes":
        return 1
    if is_gpu_resource(resource):
        return shares.get((resource, machine.gpu_count), machine.gpu_count if resource == GPU else 0)
    return 0


def _shares(pool: str, steps: Sequence[Step], *, after: bool) -> dict[tuple[str, int], float]:
    """How much of a resource a machine with a number of GPUs has, by the pool's NodeOverlays."""
    found: dict[tuple[str, int], float] = {}
    for step in steps:
        inputs = (step.new if after and step.new is not None else step.old) if step.op != "create" else step.new
        if inputs is None or kind_of(_resource(step, inputs)) != "NodeOverlay":
            continue
        asked = {item.get("key"): texts(item.get("values")) for item in items(at(inputs, "spec.requirements", []))}
        if pool in asked.get(_NODE_POOL_LABEL, []):
            for resource, amount in at(inputs, "spec.capacity", {}).items():
                for count in asked.get(_GPU_COUNT, []):
                    found[resource, int(count)] = quantity(amount) or 0
    return found
