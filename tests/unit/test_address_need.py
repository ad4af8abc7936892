"""Whether a network has enough addresses for its node pools and notebooks, with the VPC CNI's own examples."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import contracts
import settings
from settings.address_need import node_addresses, notebooks_at_quotas, pool_need

CASE = Path(__file__).parents[1] / "cases" / "Pulumi.addresses.yaml"
GPU = {"categories": ["g"], "minGeneration": 5, "gpus": {"min": 1, "max": 8}}
TYPES = st.sampled_from(sorted(contracts.instance_types().values(), key=lambda one: one.name))


@pytest.mark.parametrize(
    ("name", "pods", "interfaces"),
    [("t3.small", 0, 1), ("t3.small", 5, 3), ("t3.small", 9, 3), ("p3dn.24xlarge", 3, 2), ("p3dn.24xlarge", 95, 3)],
)
def test_a_node_keeps_an_interface_ready(name, pods, interfaces):
    """Of the table in the VPC CNI's docs/eni-and-ip-target.md."""
    one = contracts.instance_types()[name]
    assert node_addresses(one, pods) == interfaces * one.ips_per_eni


@pytest.mark.parametrize(("pods", "interfaces", "blocks"), [(0, 1, 1), (5, 1, 2), (16, 1, 2), (17, 1, 3), (58, 2, 5)])
def test_with_prefixes_a_node_keeps_a_block_of_16_ready(pods, interfaces, blocks):
    """Of the table in the VPC CNI's docs/prefix-and-ip-target.md."""
    one = contracts.instance_types()["t3.small"]
    assert node_addresses(one, pods, prefixes=True) == interfaces + 16 * blocks


@given(TYPES, st.booleans(), st.data())
def test_every_pod_that_a_node_takes_has_an_address_and_none_costs_less(instance_type, prefixes, data):
    # Kubelet's limit counts two pods that use the node's own address.
    pods = data.draw(st.integers(0, instance_type.max_pods_eni - 2))
    taken = node_addresses(instance_type, pods, prefixes=prefixes)
    assert taken > pods
    assert taken <= node_addresses(instance_type, pods + 1, prefixes=prefixes)


def case(pools: Mapping[str, object] | None = None, **network: object) -> settings.EksSettings:
    """The settings of the case, with changes of its network and additional pools."""
    given = yaml.safe_load(CASE.read_text(encoding="utf-8"))["config"]
    given["gpulab:network"].update(network)
    given["gpulab:nodePools"].update(pools or {})
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return settings.on_eks(settings.load(config, stack="addresses", today=datetime.date(2026, 8, 1)))


def test_a_network_that_is_too_small_for_its_pools_is_said_so_with_numbers():
    found = case()
    ((key, message),) = ((one.key, one.message) for one in found.warnings)
    assert key == "gpulab:network.cidr"
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", message)]
    # Four subnets /23, less the five of each that AWS keeps.
    assert numbers[0] == 4 * (512 - 5)
    pools = found.node_pools.values()
    assert numbers[1] > sum(pool_need(pool).least for pool in pools) > numbers[0]
    assert "2,000 notebooks" in message
    assert "network.secondaryCidr" in message
    # With blocks of 16 the pools would need 6,612, which are too many too.
    assert "network.prefixDelegation" not in message


def test_quotas_of_cpu_and_memory_bound_the_notebooks_too():
    found = case()
    assert notebooks_at_quotas(found.teams, found.profiles) == 2000
    profiles = {"python": found.profiles["python"].model_copy(update={"memory": 32})}
    assert notebooks_at_quotas(found.teams, profiles) == 1000


def test_notebooks_come_on_top_of_what_nodes_keep_ready():
    pool = case().node_pools["cpu"]
    assert pool_need(pool, 100).least > pool_need(pool, 0).least
    assert pool_need(pool, 0, prefixes=True).least < pool_need(pool, 0).least


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ({"cidr": "10.40.0.0/16"}, "gpulab:network.cidr"),
        ({"secondaryCidr": "100.64.0.0/16"}, None),
        ({"secondaryCidr": "100.64.0.0/20"}, "gpulab:network.secondaryCidr"),
        ({"prefixDelegation": True}, "gpulab:network.cidr"),
        ({"cidr": "10.40.0.0/18", "prefixDelegation": True}, "gpulab:network.cidr"),
    ],
)
def test_what_makes_room_ends_the_warning(network, key):
    assert [one.key for one in case(**network).warnings] == ([key] if key else [])


def test_blocks_of_16_are_advised_where_they_end_the_warning():
    pools = {"cpu": {"families": ["m6a"], "sizes": ["48xlarge"], "limits": {"cpu": 40_000}}}
    ((_, message),) = ((one.key, one.message) for one in case(pools=pools, cidr="10.40.0.0/17").warnings)
    assert "network.prefixDelegation: true" in message
    assert not case(pools=pools, cidr="10.40.0.0/17", prefixDelegation=True).warnings


def test_a_pool_of_one_zone_is_counted_against_its_subnet():
    pools = {"cpu": {"categories": ["m"], "limits": {"cpu": 40_000}}}
    given = {"secondaryCidr": "100.64.0.0/16"}
    assert not case(pools=pools, **given).warnings
    pools["cpu"]["zones"] = ["us-east-1a"]
    ((key, message),) = ((one.key, one.message) for one in case(pools=pools, **given).warnings)
    assert key == "gpulab:network.secondaryCidr"
    assert "in us-east-1a have 16,379 addresses" in message


def test_notebooks_that_start_one_after_another_have_a_node_each():
    """A few large instances need few addresses, and Karpenter buys them for pods that start together."""
    pools = {"cpu": {"categories": ["m"], "limits": {"cpu": 1000}}, "gpu": {**GPU, "limits": {"gpus": 8}}}
    ((key, message),) = ((one.key, one.message) for one in case(pools=pools, cidr="10.40.0.0/19").warnings)
    assert key == "gpulab:network.cidr"
    # 1,000 vCPUs are 250 nodes with 4, of which each has two network interfaces with 15 addresses.
    assert "have 4,076 addresses. 250 of the 2,000 notebooks that the teams' quotas allow need 7,500 when" in message
    assert "prefixDelegation" not in message
    assert not case(pools=pools, cidr="10.40.0.0/18").warnings
