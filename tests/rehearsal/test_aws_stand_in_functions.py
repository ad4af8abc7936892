from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_support import REGION, SimulatedAws, simulated_aws

from rehearsal.providers.protocol.model import Refused


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAws]:
    with simulated_aws() as server:
        yield server


def test_account_partition_and_region(aws: SimulatedAws) -> None:
    who = aws.provider.invoke("aws:index/getCallerIdentity:getCallerIdentity", {})
    assert who["accountId"] in who["arn"]
    assert aws.provider.invoke("aws:index/getPartition:getPartition", {})["dnsSuffix"] == "amazonaws.com"
    here = aws.provider.invoke("aws:index/getRegion:getRegion", {})
    assert (here["region"], here["description"]) == (REGION, "US East (N. Virginia)")
    assert (
        aws.provider.invoke("aws:index/getRegion:getRegion", {"region": "eu-west-1"})["endpoint"]
        == "ec2.eu-west-1.amazonaws.com"
    )


def test_availability_zones(aws: SimulatedAws) -> None:
    token = "aws:index/getAvailabilityZones:getAvailabilityZones"
    zones = aws.provider.invoke(token, {"excludeNames": ["us-east-1e"], "state": "available"})
    assert zones["names"][:2] == ["us-east-1a", "us-east-1b"]
    assert "us-east-1e" not in zones["names"]
    assert len(zones["names"]) == len(zones["zoneIds"])
    assert aws.provider.invoke(token, {"region": "eu-west-1"})["names"][0] == "eu-west-1a"
    only = [{"name": "zone-type", "values": ["availability-zone"]}]
    assert aws.provider.invoke(token, {"filters": only})["names"][:2] == ["us-east-1a", "us-east-1b"]


def test_parameters(aws: SimulatedAws) -> None:
    aws.provider.cloud().client("ssm").put_parameter(Name="/a", Value="b", Type="SecureString")
    found = aws.provider.invoke("aws:ssm/getParameter:getParameter", {"name": "/a"})
    assert (found["value"], found["insecureValue"], found["version"]) == ("b", "", 1)
    with pytest.raises(Refused, match="ParameterNotFound"):
        aws.provider.invoke("aws:ssm/getParameter:getParameter", {"name": "/missing"})


def test_addon_versions(aws: SimulatedAws) -> None:
    token = "aws:eks/getAddonVersion:getAddonVersion"
    asked = {"addonName": "vpc-cni", "kubernetesVersion": "1.36"}
    default = aws.provider.invoke(token, asked)["version"]
    assert default.startswith("v1.")
    assert aws.provider.invoke(token, {**asked, "mostRecent": True})["version"] >= default
    with pytest.raises(Refused, match="no-such-addon"):
        aws.provider.invoke(token, {**asked, "addonName": "no-such-addon"})


@pytest.mark.parametrize(
    ("token", "args", "message"),
    [
        ("aws:index/getRegion:getRegion", {"region": "us-east-9"}, "invalid AWS Region: us-east-9"),
        ("aws:index/getRegion:getRegion", {"nam": "us-east-1"}, "has no property nam"),
        ("aws:ssm/getParameter:getParameter", {}, "name is needed"),
        ("aws:eks/getCluster:getCluster", {"name": "none"}, "No cluster found for name: none"),
        ("aws:ec2/getSubnet:getSubnet", {"id": "subnet-0"}, "InvalidSubnetID.NotFound"),
    ],
)
def test_functions_refuse(aws: SimulatedAws, token: str, args: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=message):
        aws.provider.invoke(token, args)
