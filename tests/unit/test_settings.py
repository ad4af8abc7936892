"""The settings API: what a program gets from a stack's configuration, and that all mistakes are reported at once."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from settings_lab import OLD_IMAGE, STACK, TODAY, Changes, load, mistakes

from settings.network import ENDPOINTS_WITHOUT_NAT
from settings.pools.instance_choice import LAB_PRICE


def test_defaults_that_depend_on_the_rest():
    lab = load()
    assert lab.cluster.name == "gpulab-dev"
    assert lab.node_pools["gpu"].zones == lab.network.zones
    assert lab.node_pools["gpu"].termination_grace_period == "10m"
    assert lab.node_pools["gpu"].consolidation.policy == "WhenEmpty"
    assert lab.node_pools["cpu"].consolidation.policy == "WhenEmptyOrUnderutilized"
    production = load({("gpulab:lifecycle",): {"kind": "production"}})
    assert production.node_pools["gpu"].termination_grace_period == "24h"


def test_only_a_locked_production_protects():
    kinds = [{"kind": "lab", "expires": "2027-06-30"}, {"kind": "production"}, {"kind": "production", "unlock": True}]
    assert [load({("gpulab:lifecycle",): kind}).lifecycle.protects for kind in kinds] == [False, True, False]


def test_a_lab_lives_through_its_last_day():
    assert load({("gpulab:lifecycle", "expires"): str(TODAY)}).lifecycle.expires == TODAY
    yesterday = TODAY - datetime.timedelta(days=1)
    assert "gpulab:lifecycle.expires" in mistakes({("gpulab:lifecycle", "expires"): str(yesterday)})


def test_every_resource_tells_owner_and_stack():
    lab = load({("gpulab:tags",): {"Team": "ml"}})
    assert lab.resource_tags == {
        "Team": "ml",
        "Owner": "ml-platform@example.com",
        "CostCenter": "research-042",
        "Project": "gpulab",
        "Stack": "dev",
        "Lifecycle": "lab",
        "Expires": "2027-06-30",
    }
    # A node whose tags change is replaced, so a lab that lives longer must not change them.
    of_the_stack = ("Lifecycle", "Expires")
    assert lab.node_tags == {key: value for key, value in lab.resource_tags.items() if key not in of_the_stack}


def test_without_nat_the_needed_endpoints_come_by_themselves():
    asked = {("gpulab:network", "interfaceEndpoints"): ["ecr.api", "bedrock"]}
    assert load(asked).network.endpoints == ("ecr.api", "bedrock")
    assert load({**asked, ("gpulab:network", "nat"): "none"}).network.endpoints == (*ENDPOINTS_WITHOUT_NAT, "bedrock")


def test_instance_types_satisfy_their_pool():
    pools = load({("gpulab:nodePools", "gpu", "minGeneration"): 5, ("gpulab:nodePools", "gpu", "sizes"): ["xlarge"]})
    gpu = pools.node_pools["gpu"]
    assert gpu.is_gpu
    assert {found.name for found in gpu.instance_types} == {"g5.xlarge", "g6.xlarge", "g6e.xlarge"}
    assert gpu.instance_types[0].name == "g6.xlarge", "the cheapest comes first"
    assert not any(found.has_gpu for found in pools.node_pools["cpu"].instance_types)


GPU_POOL: dict[str, Any] = {"categories": ["g", "p"], "gpus": {"min": 1, "max": 8}, "limits": {"gpus": 8}}


@pytest.mark.parametrize(
    ("lifecycle", "pool", "ceiling"),
    [
        ({"kind": "lab", "expires": "2027-06-30"}, GPU_POOL, 15),
        ({"kind": "production"}, GPU_POOL, 40),
        ({"kind": "lab", "expires": "2027-06-30"}, {**GPU_POOL, "maxPrice": 60}, 60),
        # What is named is meant, and reserved capacity is paid for.
        ({"kind": "lab", "expires": "2027-06-30"}, {**GPU_POOL, "categories": [], "families": ["p5"]}, None),
        (
            {"kind": "production"},
            {**GPU_POOL, "capacityTypes": ["reserved"], "capacityReservations": ["cr-0123456789abcdef0"]},
            None,
        ),
    ],
    ids=["lab", "production", "said", "families", "reserved"],
)
def test_what_a_machine_may_cost(lifecycle: Any, pool: Any, ceiling: float | None) -> None:
    found = load({("gpulab:lifecycle",): lifecycle, ("gpulab:nodePools", "gpu"): pool}).node_pools["gpu"]
    assert found.max_price == ceiling
    dearest = max(one.price or 0 for one in found.instance_types)
    assert dearest <= (ceiling or dearest)
    assert max(one.price or 0 for one in found.at_any_price.instance_types) >= dearest


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({("gpulab:network", "nat"): "single"}, False),
        ({("gpulab:hub",): {"registry": {"mirror": "123456789012.dkr.ecr.us-east-1.amazonaws.com/quay"}}}, False),
        ({("gpulab:hub",): {"enabled": False}}, False),
        ({("gpulab:teams",): {}}, False),
    ],
)
def test_hub_whose_images_no_endpoint_reaches_is_warned_of(changes: Changes, warned: bool) -> None:
    team = {"description": "Text", "quota": {"gpus": 0, "cpu": 8, "memory": 32, "notebooks": 2}, "profiles": ["python"]}
    profile = {"displayName": "Python", "image": "quay.io/jupyter/scipy-notebook:2026-08-03", "cpu": 1, "memory": 2}
    lab: Changes = {
        ("gpulab:network", "nat"): "none",
        ("gpulab:identity",): {"administrators": ["ada@example.com"]},
        ("gpulab:teams",): {"research": team},
        ("gpulab:profiles",): {"python": profile},
    }
    found = [one.message for one in load({**lab, **changes}).warnings if one.key == "gpulab:network.nat"]
    assert ["hub.registry.mirror" in message for message in found] == [True] * warned


@pytest.mark.parametrize(("given", "kind"), [({}, "cloudnative-pg"), ({"database": {"kind": "rds"}}, "rds")])
def test_thrift_leaves_a_lab_the_database_that_it_names(given: dict[str, Any], kind: str) -> None:
    """Otherwise becoming thrifty would delete a lab's data on RDS."""
    thrifty = {
        ("gpulab:lifecycle", "thrift"): True,
        ("gpulab:identity",): {"administrators": ["a@example.com"], **given},
    }
    identity = load(thrifty).identity
    assert identity is not None
    assert identity.database.kind == kind


def test_thrift_in_production_is_the_only_mistake_that_it_makes():
    section = {"kind": "production", "thrift": True}
    identity = {"administrators": ["ada@example.com"], "database": {"kind": "rds"}}
    network = {**STACK["gpulab:network"], "nat": "per-az"}
    found = mistakes({("gpulab:lifecycle",): section, ("gpulab:network",): network, ("gpulab:identity",): identity})
    assert "gpulab:lifecycle.thrift" in found
    assert not {"gpulab:network.nat", "gpulab:identity.database.kind"} & found.keys()


@pytest.mark.parametrize(
    ("pool", "found"),
    [
        # A ceiling of the price is named where it is the cause.
        (
            {"categories": ["g"], "gpus": {"min": 1, "max": 8}, "maxPrice": 0.4},
            {"maxPrice": "leaves no instance type: it is 0.4, and the cheapest is g4dn.xlarge at 0.53 USD an hour"},
        ),
        # A family that images know and the catalogue does not: one mistake, and no advice about images.
        (
            {"families": ["g7"], "gpus": {"min": 1, "max": 1}, "ami": OLD_IMAGE},
            {"families[0]": "matches no instance type of the catalogue: AWS has it, and a newer release of gpulab may"},
        ),
    ],
)
def test_a_pool_that_has_no_machine_says_what_takes_the_last_one(pool, found):
    said = mistakes({("gpulab:nodePools", "gpu"): {**pool, "limits": {"gpus": 8}}})
    assert said.keys() == {f"gpulab:nodePools.gpu.{key}" for key in found}
    assert all(said[f"gpulab:nodePools.gpu.{key}"].startswith(message) for key, message in found.items())


def test_an_empty_ceiling_of_the_price_is_none_that_was_given():
    pool = {"categories": ["g"], "gpus": {"min": 1, "max": 8}, "limits": {"gpus": 8}, "maxPrice": None}
    assert load({("gpulab:nodePools", "gpu"): pool}).node_pools["gpu"].max_price == LAB_PRICE


@pytest.mark.parametrize(
    ("lifecycle", "database", "foreign"),
    [
        (
            {},
            {"kind": "cloudnative-pg", "instanceClass": "db.t4g.small", "multiAz": True, "backupDays": 3},
            ["instanceClass", "multiAz", "backupDays"],
        ),
        ({}, {"kind": "cloudnative-pg", "maxStorage": 100, "finalSnapshot": True}, ["maxStorage", "finalSnapshot"]),
        ({}, {"kind": "rds", "instances": 3}, ["instances"]),
        ({"thrift": True}, {"instanceClass": "db.foo.small"}, ["instanceClass"]),
        ({"kind": "production", "expires": None}, {"kind": "cloudnative-pg"}, []),
        ({"kind": "production", "expires": None}, {}, []),
    ],
)
def test_keys_of_a_database_of_another_kind_are_refused(lifecycle, database, foreign):
    section = {"administrators": ["ada@example.com"], "database": database}
    changes = {
        ("gpulab:identity",): section,
        ("gpulab:lifecycle",): {**STACK["gpulab:lifecycle"], **lifecycle},
    }
    if not foreign:
        assert load(changes).identity is not None
        return
    found = mistakes(changes)
    assert found.keys() == {f"gpulab:identity.database.{key}" for key in foreign}
    assert all("leave it out" in message for message in found.values())


def test_a_hubs_volume_has_no_keys_of_rds():
    hub = {"database": {"kind": "volume", "instanceClass": "db.t4g.small", "backupDays": 3}}
    found = mistakes({("gpulab:hub",): hub})
    assert {"gpulab:hub.database.instanceClass", "gpulab:hub.database.backupDays"} <= found.keys()
