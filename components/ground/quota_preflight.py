"""Warns in a preview if the account's quotas limit node pools, or if zones do not offer their instance types.

A new account may not run any GPU instance, which would show much later, as a pod that stays pending. A quota is a
number of vCPUs that run at the same time, by instance class and capacity type ("Amazon EC2 instance type quotas", EC2
user guide). Findings are warnings, because quotas can be raised while the stack is up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.ground.nat_instance import INSTANCE_TYPE

if TYPE_CHECKING:
    from contracts import InstanceType
    from settings import EksSettings, NodePool


@dataclass(frozen=True)
class Quota:
    """An EC2 quota in vCPUs, and what it counts: a capacity type, and categories of instances as Karpenter names them.

    A category is the letters of a family before its generation. Some quotas count only certain `generations`.
    """

    code: str
    name: str
    capacity_type: str
    categories: tuple[str, ...]
    generations: range = range(100)

    def counts(self, instance_type: InstanceType, capacity_type: str) -> bool:
        """Whether the quota counts an instance of that type and capacity type."""
        return (
            capacity_type == self.capacity_type
            and instance_type.category in self.categories
            and instance_type.generation in self.generations
        )


_STANDARD = ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z")
_GRAPHICS = ("g", "gr", "vt")
# https://docs.aws.amazon.com/general/latest/gr/ec2-service.html
QUOTAS = (
    Quota("L-1216C47A", "Running On-Demand Standard instances", "on-demand", _STANDARD),
    Quota("L-34B43A08", "All Standard Spot Instance Requests", "spot", _STANDARD),
    Quota("L-DB2E81BA", "Running On-Demand G and VT instances", "on-demand", _GRAPHICS),
    Quota("L-3819A6DF", "All G and VT Spot Instance Requests", "spot", _GRAPHICS),
    Quota("L-417A185B", "Running On-Demand P instances", "on-demand", ("p",)),
    Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "spot", ("p",), range(2, 5)),
    Quota("L-C4BD4855", "All P5 Spot Instance Requests", "spot", ("p",), range(5, 6)),
)


def quota_of(instance_type: InstanceType, capacity_type: str) -> Quota | None:
    """The quota that counts an instance; None for rarer classes, and for reserved capacity, counted already."""
    return next((quota for quota in QUOTAS if quota.counts(instance_type, capacity_type)), None)


def quotas_of(pools: Iterable[NodePool]) -> list[Quota]:
    """The quotas that count any of the pools' instances, in order."""
    found = {
        quota
        for pool in pools
        for capacity_type in pool.capacity_types
        for instance_type in pool.instance_types
        if (quota := quota_of(instance_type, capacity_type))
    }
    return sorted(found, key=lambda quota: quota.code)


def quota_findings(pools: Mapping[str, NodePool], values: Mapping[str, float], region: str) -> Iterator[str]:
    """A sentence for each pool and capacity type that quotas keep below the pool's limit; `values` has vCPUs by code.

    A pool uses the cheapest instances, so the least number of vCPUs that reaches its limit counts. A pool may use
    several quotas. That pools share quotas is not considered.
    """
    for name, pool in pools.items():
        for capacity_type in pool.capacity_types:
            yield from _findings_of_pool(name, pool, capacity_type, values, region)


def _findings_of_pool(
    name: str, pool: NodePool, capacity_type: str, values: Mapping[str, float], region: str
) -> Iterator[str]:
    limit, unit, amount = _limit(pool)
    fitting = [instance_type for instance_type in pool.instance_types if amount(instance_type) <= limit]
    by_quota: dict[Quota, list[InstanceType]] = {}
    for instance_type in fitting:
        quota = quota_of(instance_type, capacity_type)
        if quota is None or quota.code not in values:
            return  # no known quota counts this type, so the pool can grow with it
        by_quota.setdefault(quota, []).append(instance_type)
    reachable = sum(
        max(int(values[quota.code]) // type_.vcpu * amount(type_) for type_ in types)
        for quota, types in by_quota.items()
    )
    if not by_quota or reachable >= limit:
        return
    needs = {
        quota: min(-(-limit // amount(type_)) * type_.vcpu for type_ in types) for quota, types in by_quota.items()
    }
    missing = "; ".join(
        f"quota {quota.code} ({quota.name}) is {values[quota.code]:g} vCPU, and the pool at its limit needs {need}"
        for quota, need in needs.items()
    )
    first, need = next(iter(needs.items()))
    yield (
        f"node pool {name} can grow to {reachable} of its {limit} {unit} with capacity type {capacity_type}: "
        f"{missing}. Ask for more: aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {first.code} --desired-value {need} --region {region}"
    )


def _limit(pool: NodePool) -> tuple[int, str, Callable[[InstanceType], int]]:
    """The pool's limit, its unit, and how much of it an instance type has."""
    if pool.is_gpu:
        return pool.limits.gpus or 0, "GPUs", lambda instance_type: instance_type.gpu_count
    return pool.limits.cpu or 0, "vCPU", lambda instance_type: instance_type.vcpu


def offering_findings(settings: EksSettings, offered: Mapping[str, set[str]]) -> Iterator[str]:
    """A sentence for each group of nodes whose instance types a zone does not offer; `offered` has types by zone."""
    zones = settings.network.zones
    for name, pool in settings.node_pools.items():
        wanted = [instance_type.name for instance_type in pool.instance_types]
        for without, all_of_them in _zones_without(wanted, pool.zones or zones, offered):
            rest = "it can't have any node" if all_of_them else "it grows only in the others"
            yield f"node pool {name}: AWS offers none of its instance types in {without}, so {rest}"
    types = settings.cluster.system_nodes.instance_types
    for without, all_of_them in _zones_without(types, zones, offered):
        rest = "there can't be any" if all_of_them else "they are only in the others"
        yield (
            f"system nodes: AWS offers none of {', '.join(types)} (cluster.systemNodes.instanceTypes) in {without}, "
            f"so {rest}"
        )
    if settings.network.nat == "instance":
        for without, _ in _zones_without([INSTANCE_TYPE], zones[:1], offered):
            yield (
                f"NAT instance: AWS does not offer {INSTANCE_TYPE} in {without}: put another zone first in "
                "network.zones"
            )


def _zones_without(
    wanted: Iterable[str], zones: Sequence[str], offered: Mapping[str, set[str]]
) -> Iterator[tuple[str, bool]]:
    """The zones that offer none of the wanted types, joined as one text, and whether that is all zones."""
    without = [zone for zone in zones if not {*wanted} & offered.get(zone, set())]
    if without:
        yield ", ".join(without), len(without) == len(zones)


def warn(settings: EksSettings, resource: pulumi.Resource, opts: pulumi.InvokeOptions) -> list[str]:
    """Asks AWS, and shows each finding as a warning of `resource`. A failed call is a warning too."""
    findings: list[str] = []
    try:
        values = {
            quota.code: aws.servicequotas.get_service_quota(service_code="ec2", quota_code=quota.code, opts=opts).value
            for quota in quotas_of(settings.node_pools.values())
        }
        findings += quota_findings(settings.node_pools, values, settings.region)
    except Exception as error:  # whatever AWS or the engine says
        findings.append(f"cannot look up the account's quotas (servicequotas:GetServiceQuota): {error}")
    try:
        here = aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="location", values=list(settings.network.zones))
        found = aws.ec2.get_instance_type_offerings(location_type="availability-zone", filters=[here], opts=opts)
        offered: dict[str, set[str]] = {}
        for instance_type, zone in zip(found.instance_types, found.locations, strict=True):
            offered.setdefault(zone, set()).add(instance_type)
        findings += offering_findings(settings, offered)
    except Exception as error:
        findings.append(f"cannot look up what the zones offer (ec2:DescribeInstanceTypeOfferings): {error}")
    for finding in findings:
        pulumi.log.warn(finding, resource)
    return findings
