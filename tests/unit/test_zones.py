"""Zones without a control plane: the account's names of them decide, and a preview reports it before `up`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from platform_lab import LAB, answering_eks, deploy

import settings
from components.ground.zones import ZoneError, chosen_zones
from components.platform import Platform

CASES = Path(__file__).parents[1] / "cases"
IDS = {"us-east-1a": "use1-az6", "us-east-1b": "use1-az1", "us-east-1c": "use1-az2", "us-east-1e": "use1-az3"}
ZONES = "aws:index/getAvailabilityZones:getAvailabilityZones"


@pytest.mark.parametrize(
    ("zones", "chosen"),
    [
        ("abc", "ab"),
        ("eab", "ab"),
        ("aeb", "ab"),
        ("baec", "ba"),
    ],
)
def test_control_plane_gets_the_first_two_zones_that_eks_takes(zones: str, chosen: str) -> None:
    names = [f"us-east-1{letter}" for letter in zones]
    assert chosen_zones(names, IDS) == [f"us-east-1{letter}" for letter in chosen]


def test_too_few_zones_for_a_control_plane_name_it_and_the_others() -> None:
    with pytest.raises(ZoneError) as refusal:
        chosen_zones(["us-east-1e", "us-east-1a"], IDS)
    for part in ("gpulab:network.zones", "us-east-1e (use1-az3)", "Add one of us-east-1b, us-east-1c"):
        assert part in str(refusal.value)


def test_region_without_another_zone_for_a_control_plane_is_to_be_left() -> None:
    with pytest.raises(ZoneError, match=r"us-west-1b \(usw1-az2\).* take another region \(aws:region\)\.$"):
        chosen_zones(["us-west-1a", "us-west-1b"], {"us-west-1a": "usw1-az3", "us-west-1b": "usw1-az2"})


def test_local_zones_are_not_offered(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As EC2 answers in an account that has opted in to one."""

    def zones(args: Any) -> dict[str, Any]:
        filters = [(one["name"], tuple(one["values"])) for one in args.get("filters", [])]
        local = {} if ("zone-type", ("availability-zone",)) in filters else {"us-east-1-atl-1a": "use1-atl1-az1"}
        found = {**local, **IDS}
        return {"id": "us-east-1", "names": list(found), "zoneIds": list(found.values())}

    mocks.invokes[ZONES] = zones
    network = {**LAB["gpulab:network"], "zones": ["us-east-1e", "us-east-1a"]}
    with answering_eks(mocks, monkeypatch), pytest.raises(ZoneError, match=r"Add one of us-east-1b, us-east-1c\."):
        deploy(mocks, **{"gpulab:network": network})


def test_zones_that_the_account_does_not_have_are_refused() -> None:
    with pytest.raises(ZoneError, match="names us-east-1d, which this account does not have: use zones of us-east-1a,"):
        chosen_zones(["us-east-1a", "us-east-1d"], IDS)


def test_case_is_refused_before_vpc_and_nat_are_made(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = settings.on_eks(
        settings.check_stack_file(CASES / "Pulumi.zone-without-control-plane.yaml", "lab", datetime.date(2026, 11, 30))
    )
    with answering_eks(mocks, monkeypatch), pytest.raises(ZoneError, match="us-east-1e"):
        mocks.deploy(lambda: Platform(stack.cluster.name, stack))
    assert {one.type for one in mocks.resources} <= {"gpulab:index:Platform", "pulumi:providers:aws"}


def test_nodes_are_in_every_zone_and_the_control_plane_is_not(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = ["us-east-1e", "us-east-1a", "us-east-1b"]
    with answering_eks(mocks, monkeypatch):
        cluster = {**LAB["gpulab:cluster"], "systemNodes": {"count": 3}}
        deploy(mocks, **{"gpulab:network": {**LAB["gpulab:network"], "zones": zones}, "gpulab:cluster": cluster})
    zone_of = {one.id: one.inputs["availabilityZone"] for one in mocks.all("aws:ec2/subnet:Subnet")}
    subnets = mocks.one("eks:index:Cluster").inputs["subnetIds"]
    assert [zone_of[subnet] for subnet in subnets] == zones[1:]
    nodes = mocks.one("eks:index:ManagedNodeGroup").inputs["subnetIds"]
    assert [zone_of[subnet] for subnet in nodes] == zones


def test_zones_that_cannot_be_looked_up_name_the_permission(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class AccessDeniedError(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNKNOWN

        def details(self) -> str:
            return "AccessDenied"

    def refuse(args: Any) -> Any:
        raise AccessDeniedError

    mocks.invokes[ZONES] = refuse
    with answering_eks(mocks, monkeypatch), pytest.raises(ZoneError, match="ec2:DescribeAvailabilityZones"):
        deploy(mocks)
