"""What Karpenter asks EC2, SSM, IAM and the price list for, as the simulated AWS answers it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from aws_server_lab import Lab, running_lab
from moto.ec2.models.instance_types import INSTANCE_TYPES

import contracts
from rehearsal.cloud import starting
from rehearsal.cloud.capacity import SPOT

AL2023 = "/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{arch}/{variant}/{release}/image_id"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A server with a network, and a launch template `karpenter`."""
    with running_lab() as made:
        vpc = made.ec2.describe_subnets(SubnetIds=made.subnets[:1])["Subnets"][0]["VpcId"]
        group = made.ec2.create_security_group(VpcId=vpc, GroupName="nodes", Description="nodes")["GroupId"]
        profile = made.client("iam").create_instance_profile(InstanceProfileName="nodes")["InstanceProfile"]
        made.ec2.create_launch_template(
            LaunchTemplateName="karpenter",
            LaunchTemplateData={
                "ImageId": image(made),
                "UserData": base64.b64encode(b"MIME-Version: 1.0").decode(),
                "IamInstanceProfile": {"Name": profile["InstanceProfileName"]},
                "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 200, "VolumeType": "gp3"}}],
                "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [group]}],
                "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "Owner", "Value": "ml"}]}],
            },
        )
        yield made


@pytest.fixture(autouse=True)
def nothing_runs(lab: Lab) -> Iterator[None]:
    """Ends the instances of the test, and gives back what it took away."""
    yield
    starting.be_out_of(lab.url)
    if ids := [one["InstanceId"] for one in lab.instances()]:
        lab.ec2.terminate_instances(InstanceIds=ids)


def image(lab: Lab, release: str = "v20260917", variant: str = "standard", version: str = "1.36") -> str:
    """The id of a release of EKS's image."""
    named = f"amazon-eks-node-al2023-x86_64-{variant}-{version}-{release}"
    name = AL2023.format(version=version, arch="x86_64", variant=variant, release=named)
    return lab.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]


def fleet(lab: Lab, *types: str, kind: str = "spot", count: int = 1, **options: Any) -> dict[str, Any]:
    """An instant fleet of instances of any of these types, in the lab's first two zones."""
    overrides = [
        {"InstanceType": name, "SubnetId": subnet, "AvailabilityZone": f"us-east-1{zone}", "Priority": float(place)}
        for place, name in enumerate(types)
        for subnet, zone in zip(lab.subnets, "ab", strict=False)
    ]
    template = {"LaunchTemplateName": "karpenter", "Version": "$Latest"}
    return lab.ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template, "Overrides": overrides}],
        TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": kind},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "karpenter.sh/nodepool", "Value": "gpu"}]}],
        **options,
    )


def test_fleet_launches_the_cheapest_with_all_of_its_template(lab: Lab) -> None:
    (launched,) = fleet(lab, "g5.4xlarge", "g5.xlarge", "g5.2xlarge", count=2)["Instances"]
    assert launched["InstanceType"] == "g5.xlarge"
    assert len(launched["InstanceIds"]) == 2
    assert launched["LaunchTemplateAndOverrides"]["Overrides"]["AvailabilityZone"] == "us-east-1a"
    (one, _) = lab.instances()
    assert one["InstanceLifecycle"] == "spot"
    assert one["SpotInstanceRequestId"].startswith("sir-")
    assert one["Placement"]["AvailabilityZoneId"] == "use1-az6"
    assert [group["GroupName"] for group in one["SecurityGroups"]] == ["nodes"]
    assert one["IamInstanceProfile"]["Arn"].endswith("/nodes")
    assert {tag["Key"] for tag in one["Tags"]} > {"karpenter.sh/nodepool", "aws:ec2launchtemplate:id"}
    (mapping,) = one["BlockDeviceMappings"]
    (volume,) = lab.ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
    assert volume["Size"] == 200
    given = lab.ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData")["UserData"]
    assert base64.b64decode(given["Value"]) == b"MIME-Version: 1.0"


def test_fleet_with_overlays_goes_by_priority(lab: Lab) -> None:
    strategy = {"AllocationStrategy": "capacity-optimized-prioritized"}
    (launched,) = fleet(lab, "g5.4xlarge", "g5.xlarge", SpotOptions=strategy)["Instances"]
    assert launched["InstanceType"] == "g5.4xlarge"


def test_fleet_without_a_machine_says_why_of_each_override(lab: Lab) -> None:
    starting.be_out_of(lab.url, SPOT)
    answer = fleet(lab, "g5.xlarge")
    assert answer["Instances"] == []
    assert [one["ErrorCode"] for one in answer["Errors"]] == ["InsufficientInstanceCapacity"] * 2
    assert {one["LaunchTemplateAndOverrides"]["Overrides"]["AvailabilityZone"] for one in answer["Errors"]} == {
        "us-east-1a",
        "us-east-1b",
    }
    assert fleet(lab, "g5.xlarge", kind="on-demand")["Instances"]


def test_fleet_stays_within_the_quota_of_vcpus(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """192 vCPUs of running G and VT instances."""
    monkeypatch.setenv("GPULAB_QUOTAS", '{"L-DB2E81BA": 192, "L-3819A6DF": 192}')
    assert fleet(lab, "g5.48xlarge", kind="on-demand")["Instances"]
    answer = fleet(lab, "g5.xlarge", kind="on-demand")
    assert {one["ErrorCode"] for one in answer["Errors"]} == {"VcpuLimitExceeded"}
    assert fleet(lab, "g5.xlarge")["Instances"], "spot has a quota of its own"
    assert {one["ErrorCode"] for one in fleet(lab, "g5.48xlarge")["Errors"]} == {"MaxSpotInstanceCountExceeded"}


def test_instance_types_are_those_of_the_catalogue_in_pages(lab: Lab) -> None:
    filters = [{"Name": "processor-info.supported-architecture", "Values": ["x86_64", "arm64"]}]
    pages = list(
        lab.ec2.get_paginator("describe_instance_types").paginate(Filters=filters, PaginationConfig={"PageSize": 100})
    )
    assert {len(page["InstanceTypes"]) for page in pages[:-1]} == {100}
    found = {one["InstanceType"]: one for page in pages for one in page["InstanceTypes"]}
    assert found.keys() == contracts.instance_types().keys()
    for name, one in found.items():
        assert_part_of(one, INSTANCE_TYPES[name])
    arm = [{"Name": "processor-info.supported-architecture", "Values": ["arm64"]}]
    page = lab.ec2.describe_instance_types(Filters=arm, MaxResults=100)["InstanceTypes"]
    assert {one["ProcessorInfo"]["SupportedArchitectures"][0] for one in page} == {"arm64"}


def assert_part_of(part: Any, whole: Any) -> None:
    """What is read of a description is what EC2 says."""
    if isinstance(part, dict):
        for key, value in part.items():
            assert_part_of(value, whole[key])
    elif isinstance(part, list):
        assert len(part) == len(whole)
        for one, other in zip(part, whole, strict=True):
            assert_part_of(one, other)
    else:
        assert part == whole


def test_spot_is_cheaper_than_the_price_list(lab: Lab) -> None:
    (spot, *_) = lab.ec2.describe_spot_price_history(InstanceTypes=["g5.xlarge"])["SpotPriceHistory"]
    prices = lab.client("pricing").get_products(ServiceCode="AmazonEC2", MaxResults=100)
    on_demand = contracts.instance_types()["g5.xlarge"].price
    assert on_demand
    assert 0 < float(spot["SpotPrice"]) < on_demand
    assert prices["NextToken"]
    assert len(prices["PriceList"]) == 100


def test_alias_names_an_image_that_is_there(lab: Lab) -> None:
    (described,) = lab.ec2.describe_images(ImageIds=[image(lab, variant="nvidia")])["Images"]
    assert described["Name"] == "amazon-eks-node-al2023-x86_64-nvidia-1.36-v20260917"
    assert image(lab) != image(lab, "v20260918"), "each release has an image of its own"
    for release in ("v20260114", "v20991231"):
        with pytest.raises(lab.client("ssm").exceptions.ParameterNotFound):
            image(lab, release)


def test_profiles_are_listed_below_a_path(lab: Lab) -> None:
    iam = lab.client("iam")
    iam.create_instance_profile(InstanceProfileName="of-a-class", Path="/karpenter/us-east-1/lab/uid/")
    listed = iam.list_instance_profiles(PathPrefix="/karpenter/us-east-1/lab/uid/")["InstanceProfiles"]
    assert [one["InstanceProfileName"] for one in listed] == ["of-a-class"]
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.remove_role_from_instance_profile(InstanceProfileName="of-a-class", RoleName="node")
