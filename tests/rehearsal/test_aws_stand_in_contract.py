from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata, resources
from typing import Any

import pytest
from aws_support import SimulatedAws, simulated_aws

from rehearsal.providers.aws import contract, distill
from rehearsal.providers.aws.base import TYPES
from rehearsal.providers.aws.forms import as_given
from rehearsal.providers.aws.inputs import each
from rehearsal.providers.protocol.model import UNKNOWN, Refused

SUBNET, TEMPLATE, ROLE = "aws:ec2/subnet:Subnet", "aws:ec2/launchTemplate:LaunchTemplate", "aws:iam/role:Role"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"


@pytest.fixture(scope="module")
def aws() -> Iterator[SimulatedAws]:
    with simulated_aws() as server:
        yield server


@pytest.mark.parametrize(
    ("token", "inputs", "expected"),
    [
        (
            SUBNET,
            {"vpcId": "v", "cidrBlok": "x"},
            {"cidrBlok": f"{SUBNET} has no property cidrBlok; did you mean cidrBlock?"},
        ),
        (SUBNET, {}, {"vpcId": f"{SUBNET} requires vpcId"}),
        (
            SUBNET,
            {"vpcId": 1, "mapPublicIpOnLaunch": "yes", "tags": {"a": True}},
            {
                "vpcId": f"{SUBNET}: vpcId must be of type string, not integer 1",
                "mapPublicIpOnLaunch": f"{SUBNET}: mapPublicIpOnLaunch must be of type boolean, not string",
                'tags["a"]': f'{SUBNET}: tags["a"] must be of type string, not boolean True',
            },
        ),
        (
            TEMPLATE,
            {"metadataOptions": {"httpToken": "required"}, "blockDeviceMappings": [{"ebs": {"volumeSize": 1.5}}]},
            {
                "metadataOptions.httpToken": f"{TEMPLATE} has no property metadataOptions.httpToken; "
                "did you mean httpTokens?",
                "blockDeviceMappings[0].ebs.volumeSize": f"{TEMPLATE}: blockDeviceMappings[0].ebs.volumeSize "
                "must be of type integer, not number 1.5",
            },
        ),
        (
            NODE_GROUP,
            {
                "clusterName": "c",
                "nodeRoleArn": "r",
                "scalingConfig": {"desiredSize": 1, "minSize": 1},
                "subnetIds": "s",
            },
            {
                "scalingConfig.maxSize": f"{NODE_GROUP} requires scalingConfig.maxSize",
                "subnetIds": f"{NODE_GROUP}: subnetIds must be of type list, not string",
            },
        ),
        (SUBNET, {"vpcId": UNKNOWN, "tags": {"a": UNKNOWN}}, {}),
        (
            ROLE,
            {"assumeRolePolicy": {"Version": "2012-10-17", "Statements": []}},
            {"assumeRolePolicy.Statement", "assumeRolePolicy.Statements"},
        ),
    ],
)
def test_problems_name_type_and_property(
    token: str, inputs: dict[str, Any], expected: dict[str, str] | set[str]
) -> None:
    problems = {one.property: one.reason for one in contract.shape(token).problems(inputs)}
    assert (problems if isinstance(expected, dict) else set(problems)) == expected


def test_every_mistake_is_told_at_once(aws: SimulatedAws) -> None:
    refused = aws.refusals(SUBNET, {"cidr": "10.0.0.0/24", "mapPublicIpOnLaunch": 1})
    assert set(refused) == {"vpcId", "cidr", "mapPublicIpOnLaunch"}


def test_what_is_not_modelled_says_where_to_add_it(aws: SimulatedAws) -> None:
    with pytest.raises(Refused, match=r"aws:dynamodb/table:Table.*rehearsal\.providers\.aws\.distill"):
        aws.provider.resource_type("aws:dynamodb/table:Table")
    with pytest.raises(Refused, match=r"aws:s3/getBucket:getBucket.*functions\.py"):
        aws.provider.invoke("aws:s3/getBucket:getBucket", {})


def test_every_type_of_the_contract_is_carried_out(aws: SimulatedAws) -> None:
    tokens = json.loads(resources.files("contracts").joinpath("aws", f"pulumi-aws-{contract.VERSION}.json").read_text())
    assert set(tokens["resources"]) == set(TYPES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_contract_is_the_installed_sdks() -> None:
    folder = resources.files("contracts").joinpath("aws")
    terraform = json.loads(folder.joinpath("terraform-aws-5.100.0.json").read_text())
    assert metadata.version("pulumi-aws") == contract.VERSION
    stored = json.loads(folder.joinpath(f"pulumi-aws-{contract.VERSION}.json").read_text())
    assert json.loads(json.dumps(distill.distill(terraform))) == stored


def test_tags_are_split_and_limited(aws: SimulatedAws) -> None:
    checked = aws.check("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16", "tags": {"Owner": "me", "Name": UNKNOWN}})
    assert checked["tagsAll"] == {"Owner": "me", "Name": UNKNOWN}
    assert aws.check("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16", "tags": UNKNOWN})["tagsAll"] is UNKNOWN
    many = {str(number): "" for number in range(50)}
    assert "at most 50 tags" in aws.refusals("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16", "tags": many})["tags"]


def test_names_are_made_once_and_bounded(aws: SimulatedAws) -> None:
    first = aws.check(TEMPLATE, {})
    assert first["name"].startswith("lab-")
    assert aws.check(TEMPLATE, {}, first)["name"] == first["name"]
    assert "(1 - 128)" in aws.refusals(TEMPLATE, {"name": "x" * 129})["name"]
    assert "(1 - 102)" in aws.refusals(TEMPLATE, {"namePrefix": "x" * 103})["namePrefix"]


def test_a_chosen_name_is_deleted_before_it_is_replaced(aws: SimulatedAws) -> None:
    group = aws.provider.resource_type("aws:ec2/securityGroup:SecurityGroup")
    chosen = {"name": "endpoints", "description": "a"}
    assert group.difference(chosen, {**chosen, "description": "b"}, {}).delete_before_replace
    made = {"name": "endpoints-0123abc", "description": "a"}
    assert not group.difference(made, {**made, "description": "b"}, {}).delete_before_replace


def test_sets_and_documents_are_compared_by_what_they_say(aws: SimulatedAws) -> None:
    endpoint = {"vpcId": "v", "serviceName": "com.amazonaws.us-east-1.s3", "policy": '{"a": 1, "b": 2}'}
    olds = aws.check("aws:ec2/vpcEndpoint:VpcEndpoint", {**endpoint, "routeTableIds": ["b", "a"]})
    news = {**endpoint, "policy": '{"b":2,"a":1}', "routeTableIds": ["a", "b"]}
    assert aws.check("aws:ec2/vpcEndpoint:VpcEndpoint", news, olds) == olds


def test_what_is_live_is_shown_in_the_programs_form() -> None:
    volume = ["object", "ec2.LaunchTemplateBlockDeviceMappingEbs"]
    assert as_given(volume, {"volumeSize": 1}, {"volumeSize": 2, "volumeType": "gp3"}) == {"volumeSize": 2}
    assert as_given(["set", "string"], ["b", "a"], ["a", "b", "c"]) == ["b", "a", "c"]
    assert as_given(["list", "string"], [], None) == []
    assert as_given("string", "x", None) is None


def test_each_gives_what_is_known_with_its_path() -> None:
    value = {"rules": [{"port": 1}, {"port": UNKNOWN}, {}], "other": UNKNOWN}
    assert list(each(value, "rules[].port")) == [("rules[0].port", 1)]
    assert list(each(value, "other[].x")) == []
