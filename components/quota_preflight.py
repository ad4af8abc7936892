"""What a preview can know of the account: do its quotas let the node pools grow, and do the zones offer what is bought?

A new account may run no GPU instance at all, which shows much later, as a pod that stays pending. Quotas are vCPUs that
run at a time, by class of instance and way to buy ("Amazon EC2 instance type quotas", EC2 user guide). A finding is a
warning: quotas can be raised while the stack is up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.nat_instance import INSTANCE_TYPE

if TYPE_CHECKING:
    from contracts import InstanceType
    from settings import NodePool, Settings


@dataclass(frozen=True)
class Quota:
    """A quota of EC2's, in vCPUs, and what it counts: a way to buy, and Karpenter's categories of instances.

    A category is the letters of a family before its generation; of some, quotas count certain `generations` alone.
    """

    code: str
    name: str
    capacity_type: str
    categories: tuple[str, ...]
    generations: range = range(100)

    def counts(self, instance_type: InstanceType, capacity_type: str) -> bool:
        """Whether an instance of that type, bought so, counts."""
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
    """The quota that counts an instance; None for rarer classes, and for reserved capacity, which counted before."""
    return next((quota for quota in QUOTAS if quota.counts(instance_type, capacity_type)), None)


def quotas_of(pools: Iterable[NodePool]) -> list[Quota]:
    """The quotas that count any of the pools' instances, in order."""
    found = {
        quota
        for pool in pools
        for capacity_type in pool.capacity_types
        for one in pool.instance_types
        if (quota := quota_of(one, capacity_type))
    }
    return sorted(found, key=lambda quota: quota.code)


def quota_findings(pools: Mapping[str, NodePool], values: Mapping[str, float], region: str) -> Iterator[str]:
    """A sentence for each pool, and way to buy, that the quotas keep below its limit; `values` has vCPUs by code.

    A pool grows by the cheapest instances there are, so what counts is the least number of vCPUs that its limit takes.
    It may spread over several quotas. What the pools take from each other is left out.
    """
    for name, pool in pools.items():
        for capacity_type in pool.capacity_types:
            yield from _findings_of_pool(name, pool, capacity_type, values, region)


def _findings_of_pool(
    name: str, pool: NodePool, capacity_type: str, values: Mapping[str, float], region: str
) -> Iterator[str]:
    limit, unit, amount = _limit(pool)
    fitting = [one for one in pool.instance_types if amount(one) <= limit]
    by_quota: dict[Quota, list[InstanceType]] = {}
    for one in fitting:
        quota = quota_of(one, capacity_type)
        if quota is None or quota.code not in values:
            return  # something that no known quota counts lets the pool grow
        by_quota.setdefault(quota, []).append(one)
    reachable = sum(
        max(int(values[quota.code]) // one.vcpu * amount(one) for one in types) for quota, types in by_quota.items()
    )
    if not by_quota or reachable >= limit:
        return
    needs = {quota: min(-(-limit // amount(one)) * one.vcpu for one in types) for quota, types in by_quota.items()}
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
    """What limits the pool, the unit, and how much of it an instance has."""
    if pool.is_gpu:
        return pool.limits.gpus or 0, "GPUs", lambda one: one.gpu_count
    return pool.limits.cpu or 0, "vCPU", lambda one: one.vcpu


def offering_findings(settings: Settings, offered: Mapping[str, set[str]]) -> Iterator[str]:
    """A sentence for each group of machines whose instance types some of its zones do not offer; `offered` by zone."""
    zones = settings.network.zones
    for name, pool in settings.node_pools.items():
        wanted = [one.name for one in pool.instance_types]
        for without, all_of_them in _zones_without(wanted, pool.zones or zones, offered):
            rest = "it finds no instance" if all_of_them else "it grows in the others alone"
            yield f"node pool {name}: {without} offer none of its instance types, so {rest}"
    types = settings.cluster.system_nodes.instance_types
    for without, all_of_them in _zones_without(types, zones, offered):
        rest = "there are none" if all_of_them else "they are in the others alone"
        yield f"system nodes: {without} offer none of {', '.join(types)} (cluster.systemNodes.instanceTypes), so {rest}"
    if settings.network.nat == "instance":
        for without, _ in _zones_without([INSTANCE_TYPE], zones[:1], offered):
            yield f"NAT instance: {without} offers no {INSTANCE_TYPE}: put another zone first in network.zones"


def _zones_without(
    wanted: Iterable[str], zones: Sequence[str], offered: Mapping[str, set[str]]
) -> Iterator[tuple[str, bool]]:
    """Those of the zones that offer nothing of what is wanted, as one text, and whether that is all of them."""
    without = [zone for zone in zones if not {*wanted} & offered.get(zone, set())]
    if without:
        yield ", ".join(without), len(without) == len(zones)


def warn(settings: Settings, resource: pulumi.Resource, opts: pulumi.InvokeOptions) -> list[str]:
    """Asks AWS, and shows each finding as a warning of `resource`. What cannot be asked is said, and stops nothing."""
    findings: list[str] = []
    try:
        values = {
            quota.code: aws.servicequotas.get_service_quota(service_code="ec2", quota_code=quota.code, opts=opts).value
            for quota in quotas_of(settings.node_pools.values())
        }
        findings += quota_findings(settings.node_pools, values, settings.region)
    except Exception as error:  # whatever AWS or the engine says
        findings.append(f"the account's quotas are not known (servicequotas:GetServiceQuota): {error}")
    try:
        here = aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="location", values=list(settings.network.zones))
        found = aws.ec2.get_instance_type_offerings(location_type="availability-zone", filters=[here], opts=opts)
        offered: dict[str, set[str]] = {}
        for instance_type, zone in zip(found.instance_types, found.locations, strict=True):
            offered.setdefault(zone, set()).add(instance_type)
        findings += offering_findings(settings, offered)
    except Exception as error:
        findings.append(f"what the zones offer is not known (ec2:DescribeInstanceTypeOfferings): {error}")
    for finding in findings:
        pulumi.log.warn(finding, resource)
    return findings
