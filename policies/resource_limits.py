"""Limits and quotas: what a pool may buy, what a team may use, and whether the two fit together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policies.reading import helm
from policies.reading.node_pools import (
    advertised,
    is_gpu_pool,
    is_static,
    limits,
    machines,
    may_have_labels,
    not_decided,
    overlays_of,
    type_label,
    unlisted,
    unread,
)
from policies.reading.pods import is_extended_resource, is_gpu_resource, namespace_of, object_name
from policies.reading.profiles import (
    HUB,
    Profile,
    all_profiles,
    follows_catalogue,
    is_catalogue,
    notebook_namespaces,
    profiles,
)
from policies.reading.quantities import quantity, shown
from policies.reading.resources import NotDecidedError, Resource, Stack, at, either, is_kind, kind_of, number
from policies.rules import (
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    karpenter_docs,
    passing,
    resource_policy,
    stack_policy,
)

_LIMITS = karpenter_docs("NodePools: spec.limits")
_TENANTS = best_practices("Multi-tenancy: Quotas, limit ranges")


@resource_policy(
    "node-pool-limits",
    "A NodePool has limits",
    fix="Set spec.limits, at least cpu or nvidia.com/gpu",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=_LIMITS,
)
def node_pool_limits(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """Without limits, a mistake in a Deployment's replicas buys machines up to the account's quota.

    A pool with a fixed number of nodes is limited by that number, and Karpenter refuses resource limits in it.
    """
    if not is_static(pool) and not any(quantity(amount) is not None for amount in limits(pool).values()):
        yield "it may buy machines without a limit"


@resource_policy(
    "gpu-pool-gpu-limit",
    "A NodePool of GPU nodes has a limit of GPUs",
    fix="Set spec.limits.nvidia.com/gpu, or the limit of the resource that shared GPUs are advertised as",
    severity=HIGH,
    concerns=is_kind("NodePool"),
    framework=_LIMITS,
)
def gpu_pool_gpu_limit(pool: Resource, _limits: Limits) -> Iterator[Found]:
    """A limit of CPUs says little about the cost: of two machines with as many CPUs, one has 1 GPU, the other 8."""
    if not is_static(pool) and not any(map(is_gpu_resource, limits(pool))) and is_gpu_pool(pool):
        yield f"its limits do not count GPUs (limits: {', '.join(limits(pool)) or 'none'})"


@stack_policy(
    "shared-pool-limit-resource",
    "The limit of a NodePool with shared GPUs is in the resource that its nodes advertise",
    fix="Set spec.limits of the resource in the NodeOverlay's spec.capacity to GPUs times replicas",
    severity=HIGH,
    framework=_LIMITS,
)
def shared_pool_limit_resource(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Karpenter counts what a node has. With an overlay that is shares, so a limit of whole GPUs has no effect."""
    for pool in stack.of_kind("NodePool"):
        yield from about(pool, _limited_in_another_resource(stack, pool))


def _limited_in_another_resource(stack: Stack, pool: Resource) -> Iterator[Found]:
    if not is_static(pool) and overlays_of(stack, pool):
        for resource in sorted(advertised(stack, pool) - set(limits(pool))):
            counted = ", ".join(filter(is_gpu_resource, limits(pool))) or "no GPUs"
            yield f"its nodes advertise {resource}, but its limits count {counted}"


@stack_policy(
    "notebook-namespace-quota",
    "A namespace of notebooks has a ResourceQuota",
    fix="Add a ResourceQuota with spec.hard of requests.cpu, requests.memory, pods and requests.nvidia.com/gpu",
    severity=HIGH,
    framework=_TENANTS,
)
def notebook_namespace_quota(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Without one, a team can use all that the pools have while others wait."""
    yield from _namespaces_without(stack, "ResourceQuota", "the number of notebooks in it is not limited")


@stack_policy(
    "notebook-namespace-limit-range",
    "A namespace of notebooks has a LimitRange",
    fix="Add a LimitRange with spec.limits of type Container: default, defaultRequest and max",
    severity=MEDIUM,
    framework=_TENANTS,
)
def notebook_namespace_limit_range(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """A quota refuses pods that have no requests or limits, unless a LimitRange sets them."""
    yield from _namespaces_without(stack, "LimitRange", "a pod without limits of its own has none")


def _namespaces_without(stack: Stack, kind: str, harm: str) -> Iterator[Finding]:
    have = {namespace_of(one) for one in stack.of_kind(kind)}
    holders = {object_name(namespace): namespace for namespace in stack.of_kind("Namespace")}
    for name in sorted(notebook_namespaces(stack) - have):
        yield Finding(holders.get(name), f"the namespace {name} has no {kind}: {harm}")


@resource_policy(
    "quota-of-extended-limits",
    "A ResourceQuota counts extended resources by their requests",
    fix="Write requests.nvidia.com/gpu instead of limits.nvidia.com/gpu in spec.hard",
    severity=HIGH,
    concerns=is_kind("ResourceQuota"),
    framework=_TENANTS,
)
def quota_of_extended_limits(quota: Resource, _limits: Limits) -> Iterator[Found]:
    """Kubernetes accepts `limits.` of an extended resource and never counts it, so such a quota has no effect."""
    for name in at(quota.props, "spec.hard", {}):
        prefix, _, resource = name.partition(".")
        if (prefix == "limits" and is_extended_resource(resource)) or (
            is_extended_resource(name) and not name.startswith("requests.")
        ):
            yield f"Kubernetes never counts spec.hard.{name}"


@stack_policy(
    "quota-misses-advertised-gpu",
    "The quota of a notebook namespace names every GPU resource that a pool advertises",
    fix="Add requests.RESOURCE to spec.hard; use '0' if the team may not have any",
    severity=HIGH,
    framework=_TENANTS,
)
def quota_misses_advertised_gpu(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """A resource that a quota does not name has no limit. Shares and MIG partitions are separate resources."""
    offered: set[str] = set()
    pools, undecided = passing(stack.of_kind("NodePool"), is_gpu_pool)
    yield from undecided
    for pool in pools:
        offered |= advertised(stack, pool)
    for namespace, quotas in _quotas(stack).items():
        named = {name for quota in quotas for name in at(quota.props, "spec.hard", {})}
        for resource in sorted(offered):
            if f"requests.{resource}" not in named:
                yield Finding(quotas[0], f"{resource} has no limit in the namespace {namespace}")


@stack_policy(
    "profile-beyond-quota",
    "A profile fits the quota of its team",
    fix="Lower the profile's kubespawner_override, or raise spec.hard of the team's ResourceQuota",
    severity=MEDIUM,
)
def profile_beyond_quota(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Otherwise nobody can start it: the quota refuses its first pod."""
    quotas = _quotas(stack)
    for holder, profile in all_profiles(stack):
        for quota in quotas.get(profile.namespace or "", []):
            yield from about(holder, _beyond(profile, at(quota.props, "spec.hard", {}), object_name(quota)))


def _beyond(profile: Profile, hard: Mapping[str, Any], quota: str) -> Iterator[Found]:
    for resource, amount in profile.requests().items():
        allowed = quantity(hard.get(f"requests.{resource}", hard.get(resource, "")))
        if allowed is not None and amount > allowed:
            yield f"profile {profile.name} requests {shown(amount)} {resource}, but {quota} allows {shown(allowed)}"


@stack_policy(
    "profile-beyond-node",
    "A profile fits on a machine of its pool",
    fix="Lower the profile's kubespawner_override, or let the pool buy larger machines in its requirements",
    severity=MEDIUM,
)
def profile_beyond_node(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Otherwise Karpenter finds no machine for it, and its pods stay pending."""
    pools = list(stack.of_kind("NodePool"))
    for holder, profile in all_profiles(stack):
        if profile.shape().node_selector and pools:
            yield from about(holder, _too_large(stack, profile, pools))


def _too_large(stack: Stack, profile: Profile, pools: list[Resource]) -> Iterator[Found]:
    requests, selector = profile.requests(), profile.shape().node_selector
    by_type = {read: str(value) for key, value in selector.items() if (read := type_label(key))}
    selected = [pool for pool in pools if may_have_labels(pool, selector)]
    fitting: list[Resource] = []
    for pool in selected:
        for one, machine in machines(stack, pool):
            if all(str(read(one)) == value for read, value in by_type.items()) and _fits(requests, machine):
                fitting.append(pool)
                break
    if any(not unread(pool) for pool in fitting):
        return
    what = f"whether a machine has what profile {profile.name} requests"
    if not selected:
        labels = ", ".join(f"{key}={value}" for key, value in selector.items())
        raise NotDecidedError(f"{what}: no NodePool of the stack has the labels in its node selector ({labels})")
    reasons = [reason for pool in selected for reason in (*unread(pool), *unlisted(pool))]
    if reasons:
        raise not_decided(what, dict.fromkeys(reasons))
    names = ", ".join(sorted(map(object_name, selected)))
    wanted = ", ".join(f"{shown(amount)} {resource}" for resource, amount in requests.items())
    yield f"no machine of {names} has what profile {profile.name} requests: {wanted}"


def _fits(requests: Mapping[str, float], machine: Mapping[str, float]) -> bool:
    return all(amount <= machine.get(resource, 0) for resource, amount in requests.items() if amount)


@stack_policy(
    "quotas-beyond-pool-limits",
    "The quotas of all teams together stay within the limits of the pools",
    fix="Lower spec.hard of the ResourceQuotas, or raise spec.limits of the NodePools",
    severity=MEDIUM,
    limits={
        "overcommit": {
            "type": "number",
            "default": 1,
            "description": "How many times the pools' limits the quotas may add up to.",
        }
    },
)
def quotas_beyond_pool_limits(stack: Stack, limits_: Limits) -> Iterator[Finding]:
    """Otherwise the teams cannot all use their quotas at the same time.

    Every node has CPU and memory: if one pool does not limit them, the stack has no limit. The same holds for GPUs of
    pools that do not count them.
    """
    pools = list(stack.of_kind("NodePool"))
    offered: dict[str, float] = defaultdict(float)
    for pool in pools:
        for resource, amount in limits(pool).items():
            offered[resource] += quantity(amount) or 0
    unlimited = {resource for pool in pools for resource in ("cpu", "memory") if resource not in limits(pool)}
    not_counting = [pool for pool in pools if not any(map(is_gpu_resource, limits(pool)))]
    of_gpus, undecided = passing(not_counting, is_gpu_pool)
    yield from undecided
    for pool in of_gpus:
        unlimited |= advertised(stack, pool)
    for resource in unlimited:
        offered.pop(resource, None)
    granted: dict[str, float] = defaultdict(float)
    for quotas in _quotas(stack).values():
        for resource, amount in _hard(quotas).items():
            granted[resource] += amount
    for resource, amount in sorted(granted.items()):
        if resource in offered and amount > offered[resource] * (number(limits_["overcommit"]) or 1):
            yield Finding(
                None,
                f"all teams together may use {shown(amount)} {resource}, but the pools' limits add up to "
                f"{shown(offered[resource])}",
            )


def _quotas(stack: Stack) -> dict[str, list[Resource]]:
    """The quotas of the namespaces of notebooks."""
    notebooks = notebook_namespaces(stack)
    found: dict[str, list[Resource]] = defaultdict(list)
    for quota in stack.of_kind("ResourceQuota"):
        namespace = namespace_of(quota)
        if namespace in notebooks:
            found[namespace].append(quota)
    return found


def _hard(quotas: Iterable[Resource]) -> dict[str, float]:
    """What a namespace's quotas grant, by resource: the lowest value of all quotas. `cpu` means `requests.cpu`."""
    found: dict[str, float] = {}
    for quota in quotas:
        for name, value in at(quota.props, "spec.hard", {}).items():
            amount = quantity(value)
            if (name.startswith("requests.") or name in ("cpu", "memory")) and amount is not None:
                resource = name.removeprefix("requests.")
                found[resource] = min(found.get(resource, amount), amount)
    return found


def _starts_notebooks(resource: Resource) -> bool:
    return is_catalogue(resource) if kind_of(resource) == "ConfigMap" else helm.of_chart(HUB)(resource)


@resource_policy(
    "notebook-maximal-age",
    "Notebooks are stopped when they are idle, and at a maximum age",
    fix="Set values.cull.enabled: true and values.cull.maxAge in seconds, or lifetime in the catalogue's profiles",
    severity=MEDIUM,
    concerns=either(helm.RELEASES, is_kind("ConfigMap")),
    where=_starts_notebooks,
    limits={"maxAgeHours": {"type": "number", "default": 168, "description": "The highest maximum age, in hours."}},
)
def notebook_maximal_age(hub: Resource, limits_: Limits) -> Iterator[Found]:
    """A notebook whose code never ends keeps its GPU, and its node cannot be replaced."""
    if is_catalogue(hub):
        yield from _lifetimes(hub, limits_["maxAgeHours"])
        return
    values = helm.values(hub)
    cull = at(values, "cull", {})
    age = number(at(cull, "maxAge")) or 0
    if at(cull, "enabled") is False and follows_catalogue(values):
        return
    if at(cull, "enabled") is False:
        yield "values.cull.enabled is false: the hub never stops a notebook"
    elif age <= 0:
        yield "values.cull.maxAge is 0: a notebook may run forever"
    elif age > limits_["maxAgeHours"] * 3600:
        yield f"values.cull.maxAge is {shown(age / 3600)} h, more than {shown(limits_['maxAgeHours'])} h"


def _lifetimes(catalogue: Resource, hours: float) -> Iterator[Found]:
    seen: set[str] = set()
    for profile in profiles(catalogue):
        if profile.place in seen:
            continue  # the same profile of another team
        seen.add(profile.place)
        if not profile.lifetime:
            yield f"{profile.place} has no lifetime: a notebook may run forever"
        elif profile.lifetime > hours * 3600:
            yield f"{profile.place}: lifetime is {shown(profile.lifetime / 3600)} h, more than {shown(hours)} h"
