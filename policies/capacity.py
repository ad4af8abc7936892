"""Capacity: how nodes of notebooks are bought, replaced and given back, without taking people's work with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading.node_pools import capacity_types, is_gpu_pool, is_static, node_labels, requirements
from policies.reading.pods import object_name
from policies.reading.quantities import duration, shown
from policies.reading.resources import NotDecidedError, Resource, at, is_kind, items, texts
from policies.rules import HIGH, MEDIUM, Found, Limits, karpenter_docs, resource_policy

PURPOSE_LABEL = "gpulab.dev/purpose"
"""A pool of CPU nodes says by `notebooks` that notebooks run there. Pools of GPU nodes are for notebooks, unless they
have another purpose."""
_DISRUPTION = karpenter_docs("Disruption")


def _for_notebooks(pool: Resource) -> bool:
    purpose = node_labels(pool).get(PURPOSE_LABEL)
    return is_gpu_pool(pool) if purpose is None else purpose == "notebooks"


@resource_policy(
    "notebooks-on-spot-alone",
    "A pool of notebooks may buy other capacity than spot",
    fix="Add on-demand to the requirement karpenter.sh/capacity-type in spec.template.spec.requirements",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: Capacity Type"),
)
def notebooks_on_spot_alone(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """While there is no spot capacity, which for GPUs may be days, no notebook starts."""
    if capacity_types(pool) == {"spot"} and _for_notebooks(pool):
        yield "its notebooks run on spot capacity alone, and none starts while there is none"


@resource_policy(
    "notebook-pool-consolidation",
    "A pool of notebooks is consolidated when its nodes are empty",
    fix="Set spec.disruption.consolidationPolicy to WhenEmpty, with consolidateAfter, which Karpenter then asks for",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: Consolidation"),
)
def notebook_pool_consolidation(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Another policy, Karpenter's default too, moves pods to fewer nodes: what a notebook has in memory is lost.

    A pool with a fixed number of nodes is never consolidated.
    """
    policy = at(pool.props, "spec.disruption.consolidationPolicy", "WhenEmptyOrUnderutilized")
    if policy != "WhenEmpty" and not is_static(pool) and _for_notebooks(pool):
        yield f"its consolidation policy is {policy}, which ends notebooks to save a node"


@resource_policy(
    "notebook-pool-drift-budget",
    "A pool of notebooks replaces drifted nodes in a maintenance window alone",
    fix="Add {nodes: '0', reasons: [Drifted]} to spec.disruption.budgets, with schedule and duration of the time"
    " outside of the window, and set spec.disruption.consolidateAfter, which Karpenter asks for beside it",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: NodePool Disruption Budgets"),
)
def notebook_pool_drift_budget(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """A newer image is drift: once terminationGracePeriod is over, it ends pods that ask not to be disrupted too."""
    held = any(map(_holds_drift, items(at(pool.props, "spec.disruption.budgets"))))
    if not held and _for_notebooks(pool):
        yield "no budget keeps drifted nodes, and notebooks on them, from being replaced at any time"


def _holds_drift(budget: Mapping[str, Any]) -> bool:
    reasons = texts(budget.get("reasons"))
    return str(budget.get("nodes")) in ("0", "0%") and (not reasons or "Drifted" in reasons)


@resource_policy(
    "notebook-pool-expiry",
    "A pool of notebooks keeps its nodes for longer than a notebook runs",
    fix="Set spec.template.spec.expireAfter to a longer time, or to Never (EKS Auto Mode takes 504h at most)",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("Disruption: Expiration"),
    limits={"minimumHours": {"type": "number", "default": 168, "description": "The shortest expiry, in hours."}},
)
def notebook_pool_expiry(pool: Resource, limits: Limits) -> Iterator[Found]:
    """Expiry knows no budget: a node of that age goes, with whatever runs on it."""
    given = at(pool.props, "spec.template.spec.expireAfter", "720h")
    expiry = duration(given)
    if expiry is None:
        raise NotDecidedError(f"expireAfter of the NodePool {object_name(pool)} is {given}, which is no duration")
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
    """Without one, a single pod that must not be disrupted keeps its node, and a destroy, waiting for ever."""
    period = duration(at(pool.props, "spec.template.spec.terminationGracePeriod", ""))
    if period is None or math.isinf(period):
        yield "a pod that must not be disrupted keeps its nodes from ever going"


@resource_policy(
    "gpu-pool-types",
    "A pool of GPU nodes may buy more than one instance type",
    fix="Widen the requirements of instance-family, instance-size or instance-type in spec.template.spec.requirements",
    severity=MEDIUM,
    concerns=is_kind("NodePool"),
    framework=karpenter_docs("NodePools: Instance Types"),
)
def gpu_pool_types(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """GPUs are scarce: a pool that knows one type waits while others are free. What is reserved is of one type."""
    if capacity_types(pool) == {"reserved"}:
        return
    named = [one for one in requirements(pool) if one.get("key") == "node.kubernetes.io/instance-type"]
    for one in named:
        if one.get("operator") == "In" and len(texts(one.get("values"))) == 1 and is_gpu_pool(pool):
            yield f"it may buy {texts(one.get('values'))[0]} alone, and waits while there is none"
