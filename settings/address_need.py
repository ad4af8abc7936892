"""How many addresses the private subnets have, and how many of them nodes and notebooks take: pure arithmetic.

The VPC CNI takes addresses for a node before its pods need them ("WARM_ENI_TARGET …" and "WARM_PREFIX_TARGET …" in
aws/amazon-vpc-cni-k8s, docs/eni-and-ip-target.md and docs/prefix-and-ip-target.md). So two small pods on a large
machine take 50 addresses each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import contracts
from contracts import InstanceType
from settings.cidr import node_subnet
from settings.language.section import Findings
from settings.pools.allocatable import memory_for_pods, vcpu_for_pods

if TYPE_CHECKING:
    from settings.cluster import Cluster, SystemNodes
    from settings.network import Network
    from settings.notebooks.profiles import Profile
    from settings.people.teams import Team
    from settings.pools.node_pools import NodePool

PREFIX_ADDRESSES = 16
"""Addresses in the /28 that a network interface gets at a time with prefix delegation."""

# AWS keeps the first four addresses and the last of a subnet ("Subnet CIDR blocks", VPC user guide).
_KEPT_BY_AWS = 5

# Pods with an address of their own: on every node, in addition on a node with GPUs (the GPU Operator's), and on a
# system node (controllers and services). Most other pods of the platform use their node's address.
_DAEMONS, _GPU_DAEMONS, _SYSTEM_PODS = 2, 8, 12

_ADD_A_RANGE = ["add network.secondaryCidr, such as 100.64.0.0/16"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """Addresses that a pool takes at its limits: `least` and `most` are those of the best and the worst machines."""

    nodes: int
    instance_type: InstanceType
    least: int
    most: int


def node_addresses(instance_type: InstanceType, pods: int, *, prefixes: bool = False) -> int:
    """Addresses that a node takes from its subnet for `pods`: theirs, and those that the VPC CNI keeps ready.

    It keeps one network interface ready (WARM_ENI_TARGET 1, the default), or with `prefixes` one /28
    (WARM_PREFIX_TARGET 1). Each interface has a primary address, which no pod gets.
    """
    for_pods = instance_type.ips_per_eni - 1
    most_interfaces = (instance_type.max_pods_eni - 2) // for_pods
    if prefixes:
        taken = min(-(-pods // PREFIX_ADDRESSES) + 1, most_interfaces * for_pods)
        return PREFIX_ADDRESSES * taken + -(-taken // for_pods)
    return min(-(-pods // for_pods) + 1, most_interfaces) * instance_type.ips_per_eni


def subnet_addresses(network: Network, zones: Sequence[str]) -> int:
    """Addresses that the pools' nodes and their pods can have in some of the network's zones."""
    return sum(
        node_subnet(network.cidr, network.secondary_cidr, index).num_addresses - _KEPT_BY_AWS
        for index, zone in enumerate(network.zones)
        if zone in zones
    )


def notebooks_at_quotas(teams: Mapping[str, Team], profiles: Mapping[str, Profile]) -> int:
    """Notebooks that run when each team uses up its quota with the smallest profile that it may start."""
    count = 0
    for team in teams.values():
        own = [profiles[name] for name in team.profiles if name in profiles]
        if own:
            by_cpu = int(team.quota.cpu / min(one.cpu for one in own))
            by_memory = int(team.quota.memory / min(one.memory for one in own))
            count += min(team.quota.notebooks, by_cpu, by_memory)
    return count


def pool_need(pool: NodePool, notebooks: int = 0, *, prefixes: bool = False) -> Need:
    """What a pool at its limits takes, with `notebooks` on each of its nodes."""
    pods = (_GPU_DAEMONS if pool.is_gpu else _DAEMONS) + notebooks
    needs = []
    for one in pool.types_within_limits:
        nodes = _nodes_at_limits(pool, one)
        needs.append((nodes * node_addresses(one, min(pods, one.max_pods_eni), prefixes=prefixes), nodes, one))
    least, nodes, instance_type = min(needs, key=lambda need: need[:2])
    return Need(nodes=nodes, instance_type=instance_type, least=least, most=max(need[0] for need in needs))


class AddressUser(Protocol):
    """The sections of a stack on EKS by which its pods need addresses."""

    @property
    def network(self) -> Network:
        """The VPC."""
        ...

    @property
    def cluster(self) -> Cluster:
        """With the system nodes."""
        ...

    @property
    def node_pools(self) -> Mapping[str, NodePool]:
        """By name."""
        ...

    @property
    def teams(self) -> Mapping[str, Team]:
        """By name."""
        ...

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """By name."""
        ...


def address_findings(stack: AddressUser) -> Findings:
    """Limits and quotas that are accepted although the subnets run out of addresses before these are reached.

    Pools that are only in some zones are counted against the subnets of those zones.
    """
    network, pools = stack.network, stack.node_pools
    notebooks = notebooks_at_quotas(stack.teams, stack.profiles)

    def needs_of(names: Sequence[str], *, prefixes: bool) -> dict[str, Need]:
        share = -(-notebooks // sum(pool_need(pool, prefixes=prefixes).nodes for pool in pools.values()))
        return {name: pool_need(pools[name], share, prefixes=prefixes) for name in names}

    for zones in dict.fromkeys([network.zones, *(pool.zones for pool in pools.values())]):
        names = [name for name, pool in pools.items() if set(pool.zones) <= set(zones)]
        everywhere = set(zones) == set(network.zones)
        needs = needs_of(names, prefixes=network.prefix_delegation)
        # With a secondary range the system nodes stay in the first range.
        system = 0 if network.secondary_cidr or not everywhere else _system_addresses(stack.cluster.system_nodes)
        have = subnet_addresses(network, zones)
        least = system + sum(need.least for need in needs.values())
        if least <= have:
            continue
        each = ", ".join(
            f"{name} {need.least:,} on {need.nodes:,} {need.instance_type.name}, up to {need.most:,} on other types"
            for name, need in needs.items()
        )
        with_prefixes = system + sum(need.least for need in needs_of(names, prefixes=True).values())
        # A way out that only leads to the next warning is not offered.
        spread = _one_notebook_a_node(stack, notebooks, prefixes=True)
        prefixes_help = max(with_prefixes, spread.least if spread and everywhere else 0) <= have
        where = "" if everywhere else f" in {', '.join(zones)}"
        ways = [
            *_ADD_A_RANGE[: not network.secondary_cidr],
            *([f"set network.prefixDelegation: true ({with_prefixes:,} at least)"] if prefixes_help else []),
            "lower the pools' limits",
        ]
        yield (
            _place(network),
            f"is small: the nodes' subnets{where} have {have:,} addresses, and the node pools need at least {least:,} "
            f"at their limits ({each}). That includes {notebooks:,} notebooks, as many as the teams' quotas allow. "
            f"When the subnets are full, pods get no address and wait. To make room: {', or '.join(ways)}",
        )
        return

    spread = _one_notebook_a_node(stack, notebooks, prefixes=network.prefix_delegation)
    have = subnet_addresses(network, network.zones)
    if spread and spread.least > have:
        ways = [*_ADD_A_RANGE[: not network.secondary_cidr], "lower the teams' quotas"]
        yield (
            _place(network),
            f"is small: the nodes' subnets have {have:,} addresses. {spread.nodes:,} of the {notebooks:,} notebooks "
            f"that the teams' quotas allow need {spread.least:,} when each has its own node "
            f"({spread.instance_type.name}), as Karpenter buys them when notebooks start one after another. When the "
            f"subnets are full, pods get no address and wait. To make room: {', or '.join(ways)}",
        )


def _place(network: Network) -> tuple[str, str]:
    return "network", "secondaryCidr" if network.secondary_cidr else "cidr"


def _one_notebook_a_node(stack: AddressUser, notebooks: int, *, prefixes: bool) -> Need | None:
    """Addresses for one notebook a node, on the cheapest type that fits, up to the limits of the pools without GPUs."""
    profiles = [one for one in stack.profiles.values() if one.gpu is None]
    pools = [pool for pool in stack.node_pools.values() if not pool.is_gpu]
    fitting = {
        one
        for pool in pools
        for one in pool.types_within_limits
        if any(vcpu_for_pods(one) >= each.cpu and memory_for_pods(one) >= each.memory for each in profiles)
    }
    if not fitting:
        return None
    cheapest = min(fitting, key=lambda one: (math.inf if one.price is None else one.price, one.name))
    admitted = sum(_nodes_at_limits(pool, cheapest) for pool in pools if cheapest in pool.types_within_limits)
    nodes = min(notebooks, admitted)
    taken = nodes * node_addresses(cheapest, _DAEMONS + 1, prefixes=prefixes)
    return Need(nodes=nodes, instance_type=cheapest, least=taken, most=taken)


def _nodes_at_limits(pool: NodePool, instance_type: InstanceType) -> int:
    limits = pool.limits
    by_limit = [
        -(-limit // amount)
        for limit, amount in (
            (limits.cpu, instance_type.vcpu),
            (limits.gpus, instance_type.gpu_count),
            (limits.memory and limits.memory * 1024, instance_type.memory_mib),
        )
        if limit and amount
    ]
    return min(by_limit, default=1)


def _system_addresses(system_nodes: SystemNodes) -> int:
    catalogue = contracts.instance_types()
    known = [catalogue[name] for name in system_nodes.instance_types if name in catalogue]
    return system_nodes.count * min((node_addresses(one, _SYSTEM_PODS) for one in known), default=0)
