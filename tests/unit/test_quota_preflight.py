"""What a preview reports about quotas and offerings: which pools cannot reach their limits or get any instance."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import grpc
import platform_lab
import pulumi
import pulumi_aws as aws
import pytest
from gpu_pools import P4D, cpu_pool, gpu_pool

import contracts
import settings
from components.ground import quota_preflight
from components.ground.quota_preflight import QUOTAS, offering_findings, quota_findings, quota_of
from settings import EksSettings

PLENTY = {quota.code: 10_000.0 for quota in QUOTAS}
QUOTA = "aws:servicequotas/getServiceQuota:getServiceQuota"
OFFERINGS = "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings"
ZONES = ["us-east-1a", "us-east-1b"]


def findings(values: dict[str, float], **pools: Any) -> list[str]:
    return list(quota_findings(pools, {**PLENTY, **values}, "us-east-1"))


@pytest.mark.parametrize(
    ("instance_type", "capacity_type", "code"),
    [
        ("m7i.large", "on-demand", "L-1216C47A"),
        ("t3.large", "spot", "L-34B43A08"),
        ("g5.xlarge", "on-demand", "L-DB2E81BA"),
        ("gr6.4xlarge", "spot", "L-3819A6DF"),
        ("p5.48xlarge", "on-demand", "L-417A185B"),
        ("p4d.24xlarge", "spot", "L-7212CCBC"),
        ("p5en.48xlarge", "spot", "L-C4BD4855"),
        ("p6-b200.48xlarge", "spot", None),
        ("p5.48xlarge", "reserved", None),
    ],
)
def test_quota_that_counts_an_instance(instance_type: str, capacity_type: str, code: str | None) -> None:
    quota = quota_of(contracts.instance_types()[instance_type], capacity_type)
    assert (quota.code if quota else None) == code


def test_pool_needs_the_vcpus_of_the_cheapest_way_to_its_limit() -> None:
    """16 GPUs are 16 g5.xlarge of 4 vCPUs each."""
    pool = gpu_pool(families=["g5"], categories=[], limits={"gpus": 16}, capacityTypes=["on-demand"])
    assert findings({"L-DB2E81BA": 64}, gpu=pool) == []
    (found,) = findings({"L-DB2E81BA": 63}, gpu=pool)
    assert "node pool gpu can grow to 15 of its 16 GPUs with capacity type on-demand" in found
    assert "quota L-DB2E81BA" in found
    assert "63 vCPU" in found
    assert "needs 64" in found
    assert "--quota-code L-DB2E81BA --desired-value 64 --region us-east-1" in found


def test_new_account_buys_no_gpu() -> None:
    (found,) = findings({"L-417A185B": 0}, training=gpu_pool(**P4D, capacityTypes=["on-demand"]))
    assert "can grow to 0 of its 8 GPUs" in found


def test_pool_of_two_classes_grows_by_both() -> None:
    pool = gpu_pool(categories=["g", "p"], minGeneration=4, limits={"gpus": 16}, capacityTypes=["on-demand"])
    assert findings({"L-DB2E81BA": 32, "L-417A185B": 96}, gpu=pool) == []
    (found,) = findings({"L-DB2E81BA": 28, "L-417A185B": 96}, gpu=pool)
    assert "15 of its 16" in found
    assert "L-DB2E81BA" in found
    assert "L-417A185B" in found


def test_each_way_to_buy_is_told_by_itself() -> None:
    pool = gpu_pool(limits={"gpus": 16})
    assert [("spot" in one, "L-3819A6DF" in one) for one in findings({"L-3819A6DF": 0}, gpu=pool)] == [(True, True)]


def test_reserved_capacity_was_counted_when_it_was_reserved() -> None:
    pool = gpu_pool(**P4D, capacityTypes=["reserved"], capacityReservations=["cr-0123456789abcdef0"])
    assert findings({"L-417A185B": 0, "L-7212CCBC": 0}, gpu=pool) == []


def test_cpu_pools_are_counted_in_vcpus() -> None:
    assert findings({"L-1216C47A": 64}, cpu=cpu_pool()) == []
    (found,) = findings({"L-1216C47A": 5}, cpu=cpu_pool())
    assert "can grow to 5 of its 64 vCPU" in found or "can grow to 4 of its 64 vCPU" in found


def lab(pools: Any, **network: Any) -> EksSettings:
    loaded = settings.on_eks(settings.load(platform_lab.config(), stack="dev", today=datetime.date(2027, 1, 1)))
    zones = loaded.network.model_copy(update={"zones": tuple(ZONES), **network})
    return dataclasses.replace(loaded, node_pools=pools, network=zones)


def test_zones_that_offer_nothing_of_a_pool() -> None:
    pools = {"gpu": gpu_pool(zones=ZONES), "cpu": cpu_pool(zones=ZONES), "p": gpu_pool(**P4D, zones=["us-east-1a"])}
    offered = {"us-east-1a": {"m7i.large", "g5.xlarge"}, "us-east-1b": {"m7i.large"}}
    assert list(offering_findings(lab(pools), offered)) == [
        "node pool gpu: AWS offers none of its instance types in us-east-1b, so it grows only in the others",
        "node pool p: AWS offers none of its instance types in us-east-1a, so it can't have any node",
    ]


@pytest.mark.parametrize(
    ("first", "second", "nat", "said"),
    [
        ("m7i.large t4g.micro", "m7i.large", "instance", []),
        ("m7i.large", "m7i.large t4g.micro", "single", []),
        ("m7i.large", "m7i.large t4g.micro", "instance", ["NAT instance: AWS does not offer t4g.micro in us-east-1a"]),
        (
            "t3.large",
            "m7i.large",
            "single",
            ["AWS offers none of m7i.large", "in us-east-1a, so they are only in the others"],
        ),
        ("t3.large", "", "single", ["in us-east-1a, us-east-1b, so there can't be any"]),
    ],
)
def test_zones_that_offer_nothing_for_system_nodes_and_nat(first: str, second: str, nat: str, said: list[str]) -> None:
    offered = dict(zip(ZONES, (set(first.split()), set(second.split())), strict=True))
    found = "\n".join(offering_findings(lab({}, nat=nat), offered))
    assert bool(found) == bool(said)
    assert all(part in found for part in said)


class Warned(pulumi.ComponentResource):
    def __init__(self, pools: Any) -> None:
        super().__init__("test:index:Warned", "lab")
        provider = aws.Provider("lab", region="us-east-1", opts=pulumi.ResourceOptions(parent=self))
        opts = pulumi.InvokeOptions(parent=self, provider=provider)
        self.findings = quota_preflight.warn(lab(pools), self, opts)


def test_account_is_asked_for_the_quotas_of_its_pools_alone(mocks: Any) -> None:
    mocks.invokes[QUOTA] = lambda args: {"value": 4.0, "quotaCode": args["quotaCode"]}
    mocks.invokes[OFFERINGS] = {
        "instanceTypes": ["g5.xlarge", "m7i.large"] * 2, "locations": sorted(ZONES * 2), "locationTypes": []
    }  # fmt: skip
    warned = mocks.deploy(lambda: Warned({"gpu": gpu_pool(zones=ZONES, capacityTypes=["on-demand"])}))
    assert [call.args["quotaCode"] for call in mocks.calls if call.token == QUOTA] == ["L-DB2E81BA"]
    (found,) = warned.findings
    assert "can grow to 1 of its 8 GPUs" in found


def test_what_may_not_be_asked_stops_nothing(mocks: Any) -> None:
    class AccessDeniedError(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNKNOWN

        def details(self) -> str:
            return "AccessDenied"

    def refused(args: Any) -> Any:
        raise AccessDeniedError

    mocks.invokes[QUOTA] = refused
    mocks.invokes[OFFERINGS] = refused
    warned = mocks.deploy(lambda: Warned({"gpu": gpu_pool(zones=ZONES)}))
    assert len(warned.findings) == 2
    assert "servicequotas:GetServiceQuota" in warned.findings[0]
    assert "ec2:DescribeInstanceTypeOfferings" in warned.findings[1]
