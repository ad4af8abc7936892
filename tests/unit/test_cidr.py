"""The address plan holds for every VPC that the settings admit."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.cidr import (
    LARGEST_VPC_PREFIX,
    MAX_ZONES,
    SMALLEST_VPC_PREFIX,
    ZoneSubnets,
    zone_subnets,
)

# RFC 1918 and RFC 6598.
PRIVATE_RANGES = [IPv4Network(range_) for range_ in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
# AWS keeps the first four addresses and the last of a subnet ("Subnet CIDR blocks", VPC user guide).
KEPT_BY_AWS = 5


@st.composite
def vpc_blocks(draw: st.DrawFn) -> IPv4Network:
    block = draw(st.sampled_from(PRIVATE_RANGES))
    prefix = draw(st.integers(LARGEST_VPC_PREFIX, SMALLEST_VPC_PREFIX))
    place = draw(st.integers(0, 2 ** (prefix - block.prefixlen) - 1))
    return IPv4Network((int(block.network_address) + place * 2 ** (32 - prefix), prefix))


def plan(vpc: IPv4Network, zones: int = MAX_ZONES) -> list[ZoneSubnets]:
    return [zone_subnets(str(vpc), index) for index in range(zones)]


def blocks(zones: list[ZoneSubnets]) -> list[IPv4Network]:
    return [block for zone in zones for block in (zone.public, zone.private, zone.intra)]


@given(vpc_blocks())
def test_subnets_lie_in_the_vpc_and_apart(vpc: IPv4Network) -> None:
    subnets = blocks(plan(vpc))
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not [pair for pair in combinations(subnets, 2) if pair[0].overlaps(pair[1])]


@given(vpc_blocks(), st.integers(2, MAX_ZONES - 1))
def test_a_further_zone_moves_nothing(vpc: IPv4Network, zones: int) -> None:
    assert plan(vpc, zones + 1)[:zones] == plan(vpc, zones)


@given(vpc_blocks())
def test_nodes_and_pods_get_the_most_addresses(vpc: IPv4Network) -> None:
    zones = plan(vpc)
    private = sum(zone.private.num_addresses for zone in zones)
    assert private > sum(subnet.num_addresses for subnet in blocks(zones)) / 2
    assert 2 * private >= vpc.num_addresses


@given(vpc_blocks())
def test_subnets_are_large_enough_for_what_lives_in_them(vpc: IPv4Network) -> None:
    for zone in plan(vpc):
        # EKS wants 6 free addresses for its network interfaces and advises 16; a load balancer wants a /27 with 8 free.
        assert zone.intra.num_addresses - KEPT_BY_AWS >= 16
        assert zone.public.prefixlen <= 27
        # At 29 pods a node, the smallest plan still holds a dozen nodes in each zone.
        assert zone.private.num_addresses - KEPT_BY_AWS >= 12 * 30


@given(vpc_blocks())
def test_every_zone_keeps_a_free_stretch_for_one_more_large_subnet(vpc: IPv4Network) -> None:
    quarters = list(vpc.subnets(prefixlen_diff=2))
    for quarter, zone in zip(quarters, plan(vpc), strict=True):
        free = [
            block
            for block in quarter.subnets(prefixlen_diff=2)
            if not any(block.overlaps(used) for used in blocks([zone]))
        ]
        assert free
        assert all(block.overlaps(quarter) for block in blocks([zone]))


@pytest.mark.parametrize(
    ("vpc", "index", "complaint"),
    [
        ("10.0.0.1/16", 0, "host bits"),
        ("10.0.0.0/15", 0, "prefix"),
        ("10.0.0.0/21", 0, "prefix"),
        ("10.0.0.0/16", MAX_ZONES, "room for zones"),
        ("10.0.0.0/16", -1, "room for zones"),
    ],
)
def test_what_the_plan_cannot_hold_is_refused(vpc: str, index: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        zone_subnets(vpc, index)
