"""Capacity: how notebook nodes are bought, replaced and removed without losing people's work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading.node_pools import (
    capacity_types,
    instance_types,
    is_gpu_pool,
    is_static,
    node_labels,
    requirements,
)
from policies.reading.pods import object_name
from policies.reading.quantities import duration, shown
from policies.reading.resources import NotDecidedError, Resource, at, is_kind, items, texts
from policies.rules import HIGH, MEDIUM, Found, Limits, karpenter_docs, resource_policy

PURPOSE_LABEL = "gpulab.dev/purpose"
"""The label that gives a pool's purpose. `notebooks` marks a CPU pool for notebooks. GPU pools are for notebooks unless
this label gives another purpose."""
_DISRUPTION = karpenter_docs("Disruption")


def _for_notebooks(pool: Resource) -> bool:
    purpose = node_labels(pool).get(PURPOSE_LABEL)
    return is_gpu_pool(pool) if purpose is None else purpose == "notebooks"


@resource_policy(
    "notebooks-on-spot-alone",
    "A notebook pool may also buy capacity other than spot",
    fix="Add on-demand to the requirement karpenter.sh/capacity-type in spec.template.spec.requirements",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: Capacity Type"),
)
def notebooks_on_spot_alone(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Without spot capacity, which for GPUs can last for days, no notebook starts."""
    if capacity_types(pool) == {"spot"} and _for_notebooks(pool):
        yield "its notebooks run on spot capacity only, and no notebook starts while AWS has none"


@resource_policy(
    "notebook-pool-consolidation",
    "Karpenter consolidates a notebook pool only when its nodes are empty",
    fix="Set spec.disruption.consolidationPolicy to WhenEmpty, and consolidateAfter, which Karpenter then requires",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: Consolidation"),
)
def notebook_pool_consolidation(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Any other policy, Karpenter's default included, moves pods to fewer nodes, and notebooks lose their memory.

    A pool with a fixed number of nodes is never consolidated.
    """
    policy = at(pool.props, "spec.disruption.consolidationPolicy", "WhenEmptyOrUnderutilized")
    if policy != "WhenEmpty" and not is_static(pool) and _for_notebooks(pool):
        yield f"its consolidation policy is {policy}, which stops notebooks to save a node"


@resource_policy(
    "notebook-pool-drift-budget",
    "A notebook pool replaces drifted nodes only in a maintenance window",
    fix="Add {nodes: '0', reasons: [Drifted]} to spec.disruption.budgets, with the schedule and duration of the time"
    " outside the window, and set spec.disruption.consolidateAfter, which Karpenter then requires",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: NodePool Disruption Budgets"),
)
def notebook_pool_drift_budget(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """A newer image is drift. After terminationGracePeriod it ends pods too that ask not to be disrupted."""
    protected = any(map(_prevents_drift, items(at(pool.props, "spec.disruption.budgets"))))
    if not protected and _for_notebooks(pool):
        yield "no budget prevents that Karpenter replaces drifted nodes, with their notebooks, at any time"


def _prevents_drift(budget: Mapping[str, Any]) -> bool:
    reasons = texts(budget.get("reasons"))
    return str(budget.get("nodes")) in ("0", "0%") and (not reasons or "Drifted" in reasons)


@resource_policy(
    "notebook-pool-expiry",
    "A notebook pool keeps its nodes longer than a notebook may run",
    fix="Set spec.template.spec.expireAfter to a longer time, or to Never (EKS Auto Mode accepts at most 504h)",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: Expiration"),
    limits={"minimumHours": {"type": "number", "default": 168, "description": "The shortest expiry, in hours."}},
)
def notebook_pool_expiry(pool: Resource, limits: Limits) -> Iterator[Found]:
    """Budgets do not apply to expiry: a node of that age is removed with everything on it."""
    given = at(pool.props, "spec.template.spec.expireAfter", "720h")
    expiry = duration(given)
    if expiry is None:
        raise NotDecidedError(f"expireAfter of the NodePool {object_name(pool)} is {given}, which is not a duration")
    if expiry < limits["minimumHours"] * 3600 and _for_notebooks(pool):
        yield f"its nodes expire after {shown(expiry / 3600)} h, and notebooks with them"


@resource_policy(
    "node-pool-termination-grace-period",
    "A NodePool has a terminationGracePeriod",
    fix="Set spec.template.spec.terminationGracePeriod, minutes in a lab and hours in production",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: TerminationGracePeriod"),
)
def node_pool_termination_grace_period(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Without one, a single pod that must not be disrupted keeps its node, and a destroy waits forever."""
    period = duration(at(pool.props, "spec.template.spec.terminationGracePeriod", ""))
    if period is None or math.isinf(period):
        yield "a pod that must not be disrupted can keep its node forever"


@resource_policy(
    "gpu-pool-types",
    "A pool of GPU nodes may buy more than one instance type",
    fix="Widen the requirements of instance-family, instance-size or instance-type in spec.template.spec.requirements",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: Instance Types"),
)
def gpu_pool_types(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """GPUs are scarce: a pool with one type waits while other types are free. Reserved capacity has one type."""
    if capacity_types(pool) == {"reserved"}:
        return
    listing = [one for one in requirements(pool) if one.get("operator") == "In"]
    named = [texts(one.get("values")) for one in listing if one.get("key") == "node.kubernetes.io/instance-type"]
    # A type that a pool names may be missing from our list of instance types.
    left = next((names for names in named if len(names) == 1), [one.name for one in instance_types(pool)])
    if len(left) == 1 and is_gpu_pool(pool):
        yield f"it may buy only {left[0]}, and waits while AWS has none"
