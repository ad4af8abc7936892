"""How many addresses the private subnets have, and how many nodes and notebooks take of them: pure arithmetic.

The VPC CNI takes addresses for a node before its pods need them ("WARM_ENI_TARGET …" and "WARM_PREFIX_TARGET …" in
aws/amazon-vpc-cni-k8s, docs/eni-and-ip-target.md and docs/prefix-and-ip-target.md): of two small pods on a large
machine each costs 50.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import contracts
from contracts import InstanceType
from settings.allocatable import memory_for_pods, vcpu_for_pods
from settings.cidr import node_subnet
from settings.section import Findings

if TYPE_CHECKING:
    from settings.cluster import SystemNodes
    from settings.network import Network
    from settings.node_pools import NodePool
    from settings.profiles import Profile
    from settings.stack import StackSettings
    from settings.teams import Team

PREFIX_ADDRESSES = 16
"""Of the /28 that a network interface gets at a time with prefix delegation."""

# AWS keeps the first four addresses and the last of a subnet ("Subnet CIDR blocks", VPC user guide).
_KEPT_BY_AWS = 5

# Pods of every node that have an address of their own; most of the platform's use that of the node. On a node with GPUs
# the GPU Operator's come on top. On system nodes controllers run, and what they serve.
_DAEMONS, _GPU_DAEMONS, _SYSTEM_PODS = 2, 8, 12

_ADD_A_RANGE = ["add network.secondaryCidr, such as 100.64.0.0/16"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """Addresses that a pool takes when it is at its limits, by the machines that take the fewest and the most."""

    nodes: int
    instance_type: InstanceType
    least: int
    most: int


def node_addresses(instance_type: InstanceType, pods: int, *, prefixes: bool = False) -> int:
    """Addresses that a node takes of its subnet for so many pods: what they have, and what the VPC CNI keeps ready.

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
    """Addresses that the pools' nodes and their pods may have in some of the network's zones."""
    return sum(
        node_subnet(network.cidr, network.secondary_cidr, index).num_addresses - _KEPT_BY_AWS
        for index, zone in enumerate(network.zones)
        if zone in zones
    )


def notebooks_at_quotas(teams: Mapping[str, Team], profiles: Mapping[str, Profile]) -> int:
    """Notebooks that run when each team uses up its quota with the smallest that it may start."""
    count = 0
    for team in teams.values():
        own = [profiles[name] for name in team.profiles if name in profiles]
        if own:
            by_cpu = int(team.quota.cpu / min(one.cpu for one in own))
            by_memory = int(team.quota.memory / min(one.memory for one in own))
            count += min(team.quota.notebooks, by_cpu, by_memory)
    return count


def pool_need(pool: NodePool, notebooks: int = 0, *, prefixes: bool = False) -> Need:
    """What a pool at its limits takes, with so many notebooks on each of its nodes."""
    pods = (_GPU_DAEMONS if pool.is_gpu else _DAEMONS) + notebooks
    needs = []
    for one in pool.types_within_limits:
        nodes = _nodes_at_limits(pool, one)
        needs.append((nodes * node_addresses(one, min(pods, one.max_pods_eni), prefixes=prefixes), nodes, one))
    least, nodes, instance_type = min(needs, key=lambda need: need[:2])
    return Need(nodes=nodes, instance_type=instance_type, least=least, most=max(need[0] for need in needs))


def address_findings(stack: StackSettings) -> Findings:
    """What is accepted and runs out of addresses before it is at its limits.

    Pools that are in some zones alone are counted against the subnets of these.
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
        # With a secondary range system nodes stay in the first one.
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
        # What only brings the next warning is no way out.
        alone = _notebooks_alone(stack, notebooks, prefixes=True)
        prefixes_help = max(with_prefixes, alone.least if alone and everywhere else 0) <= have
        where = "" if everywhere else f" in {', '.join(zones)}"
        ways = [
            *_ADD_A_RANGE[: not network.secondary_cidr],
            *([f"set network.prefixDelegation: true ({with_prefixes:,} at least)"] if prefixes_help else []),
            "lower the pools' limits",
        ]
        yield (
            _place(network),
            f"is small: the nodes' subnets{where} have {have:,} addresses, and the node pools at their limits need "
            f"{least:,} at least ({each}). In that are {notebooks:,} notebooks, as many as the teams' quotas admit. "
            f"Beyond what the subnets have, pods get no address and wait. To have room: {', or '.join(ways)}",
        )
        return

    alone = _notebooks_alone(stack, notebooks, prefixes=network.prefix_delegation)
    have = subnet_addresses(network, network.zones)
    if alone and alone.least > have:
        ways = [*_ADD_A_RANGE[: not network.secondary_cidr], "lower the teams' quotas"]
        yield (
            _place(network),
            f"is small: the nodes' subnets have {have:,} addresses, and {alone.nodes:,} notebooks, of {notebooks:,} "
            f"that the teams' quotas admit, need {alone.least:,} when each has a node of its own "
            f"({alone.instance_type.name}). So Karpenter buys nodes for notebooks that start one after another. Beyond "
            f"what the subnets have, pods get no address and wait. To have room: {', or '.join(ways)}",
        )


def _place(network: Network) -> tuple[str, str]:
    return "network", "secondaryCidr" if network.secondary_cidr else "cidr"


def _notebooks_alone(stack: StackSettings, notebooks: int, *, prefixes: bool) -> Need | None:
    """What as many notebooks take as the pools without GPUs admit with a node for each: the cheapest that fits."""
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
