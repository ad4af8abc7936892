"""What the aws stand-in refuses of EC2 in preview, and what EC2 itself refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_network import (
    ASSOCIATION,
    ENDPOINT,
    FLOW_LOG,
    GATEWAY,
    GET_AMI,
    GROUP,
    HTTPS,
    INGRESS,
    INSTANCE,
    NAT,
    ROUTE,
    RULE,
    SUBNET,
    TABLE,
    TAG,
    TEMPLATE,
    VPC,
    Network,
)
from aws_support import SimulatedAws, simulated_aws

from rehearsal.providers.aws import functions
from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(server: SimulatedAws) -> Iterator[SimulatedAws]:
    yield server
    server.delete_all()


@pytest.fixture
def network(aws: SimulatedAws) -> Network:
    return Network(aws)


@pytest.mark.parametrize(
    ("token", "inputs", "property", "reason"),
    [
        (VPC, {"cidrBlock": "10.0.0.1/16"}, "cidrBlock", 'did you mean "10.0.0.0/16"'),
        (VPC, {"cidrBlock": "10.0.0.0/8"}, "cidrBlock", "between /16 and /28"),
        (VPC, {"cidrBlock": "10.0.0/16"}, "cidrBlock", "not a valid IPv4 CIDR block"),
        (VPC, {"tags": {}}, "cidrBlock", "exactly one of cidrBlock, ipv4IpamPoolId"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "instanceTenancy": "host"}, "instanceTenancy", "one of default, dedicated"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"aws:x": "y"}}, "tags", "reserved"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "region": "us-east-9"}, "region", "invalid AWS Region"),
        (
            SUBNET,
            {"vpcId": UNKNOWN, "cidrBlock": "10.0.0.0/24", "availabilityZone": "eu-west-1a"},
            "availabilityZone",
            "no availability zone",
        ),
        (NAT, {"subnetId": UNKNOWN}, "allocationId", "required"),
        (
            NAT,
            {"subnetId": UNKNOWN, "allocationId": "e", "connectivityType": "private"},
            "allocationId",
            "not supported",
        ),
        (ROUTE, {"routeTableId": "r", "destinationCidrBlock": "0.0.0.0/0"}, "carrierGatewayId", "exactly one of"),
        (
            ROUTE,
            {"routeTableId": "r", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": UNKNOWN, "natGatewayId": "n"},
            "gatewayId",
            "exactly one of",
        ),
        (ASSOCIATION, {"routeTableId": "r"}, "subnetId", "exactly one of"),
        (
            GROUP,
            {"ingress": [{"protocol": "tpc", "fromPort": 1, "toPort": 1, "self": True}]},
            "ingress[0].protocol",
            "invalid protocol",
        ),
        (
            GROUP,
            {"ingress": [{"protocol": "tcp", "fromPort": 1, "toPort": 70000, "self": True}]},
            "ingress[0].fromPort",
            "invalid ports",
        ),
        (GROUP, {"ingress": [HTTPS]}, "ingress[0]", "needs one of"),
        (GROUP, {"name": "sg-mine"}, "name", "must match"),
        (GROUP, {"description": "naïve"}, "description", "invalid description"),
        (INGRESS, {"securityGroupId": "g", "ipProtocol": "tcp", "cidrIpv4": "10.0.0.0/8"}, "fromPort", "must be given"),
        (INGRESS, {"securityGroupId": "g", "ipProtocol": "-1"}, "cidrIpv4", "none was given"),
        (INGRESS, {"securityGroupId": "g", "ipProtocol": "-1", "cidrIpv4": "10.0.0.9/8"}, "cidrIpv4", "did you mean"),
        (RULE, {**HTTPS, "type": "in", "securityGroupId": "g", "self": True}, "type", "one of ingress, egress"),
        (RULE, {**HTTPS, "type": "ingress", "securityGroupId": "g"}, "cidrBlocks", "must be set"),
        (
            TEMPLATE,
            {"metadataOptions": {"httpTokens": "needed"}},
            "metadataOptions.httpTokens",
            "one of optional, required",
        ),
        (
            TEMPLATE,
            {"metadataOptions": {"httpPutResponseHopLimit": 0}},
            "metadataOptions.httpPutResponseHopLimit",
            "range (1 - 64)",
        ),
        (TEMPLATE, {"cpuOptions": {"coreCount": 1}}, "cpuOptions", "does not support"),
        (
            TEMPLATE,
            {"blockDeviceMappings": [{"ebs": {"volumeType": "gp3", "iops": 100}}]},
            "blockDeviceMappings[0].ebs.iops",
            "3000",
        ),
        (ENDPOINT, {"vpcId": "v", "serviceName": "com.amazonaws.eu-west-1.s3"}, "serviceName", "does not exist"),
        (
            ENDPOINT,
            {"vpcId": "v", "serviceName": "com.amazonaws.us-east-1.s3", "subnetIds": ["s"]},
            "subnetIds",
            "not Gateway",
        ),
        (
            ENDPOINT,
            {"vpcId": "v", "serviceName": "com.amazonaws.us-east-1.sts"},
            "vpcEndpointType",
            "only S3 and DynamoDB",
        ),
        (
            FLOW_LOG,
            {"vpcId": "v", "trafficType": "SOME", "logDestination": "l", "iamRoleArn": "r"},
            "trafficType",
            "one of",
        ),
        (FLOW_LOG, {"vpcId": "v", "trafficType": "ALL", "logDestination": "l"}, "iamRoleArn", "needs iamRoleArn"),
    ],
)
def test_preview_refuses(aws: SimulatedAws, token: str, inputs: Properties, property: str, reason: str) -> None:
    assert reason in aws.refusals(token, inputs).get(property, "")


def deleting(what: str, *others: tuple[str, Callable[[Network], Properties]]) -> Callable[[Network], None]:
    """Deletes a part of the network while resources of `others` use it."""

    def act(network: Network) -> None:
        held = getattr(network, what)
        for number, (token, inputs) in enumerate(others):
            network.aws.create(token, inputs(network), name=f"holder{number}")
        network.aws.delete(held)

    return act


def creating(
    token: str, inputs: Callable[[Network], Properties], *before: Callable[[Network], Any]
) -> Callable[[Network], None]:
    def act(network: Network) -> None:
        for step in before:
            step(network)
        network.aws.create(token, inputs(network), name="second")

    return act


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (
            creating(SUBNET, lambda n: {"vpcId": n.vpc.id, "cidrBlock": "10.0.1.128/25"}, lambda n: n.subnet),
            "InvalidSubnet.Conflict",
        ),
        (creating(SUBNET, lambda n: {"vpcId": n.vpc.id, "cidrBlock": "10.1.0.0/24"}), "InvalidSubnet.Range"),
        (creating(SUBNET, lambda n: {"vpcId": "vpc-0", "cidrBlock": "10.0.0.0/24"}), "InvalidVpcID.NotFound"),
        (creating(GROUP, lambda n: {"vpcId": "vpc-0"}), "InvalidVpcID.NotFound"),
        (
            creating(
                GROUP,
                lambda n: {"vpcId": n.vpc.id, "name": "a"},
                lambda n: n.aws.create(GROUP, {"vpcId": n.vpc.id, "name": "a"}),
            ),
            "InvalidGroup.Duplicate",
        ),
        (
            creating(
                INGRESS,
                lambda n: {"securityGroupId": "sg-0123456789abcdef0", "ipProtocol": "-1", "cidrIpv4": "10.0.0.0/8"},
            ),
            "InvalidGroup.NotFound",
        ),
        (
            creating(
                INGRESS,
                lambda n: {"securityGroupId": n.group.id, "ipProtocol": "-1", "referencedSecurityGroupId": "sg-0"},
            ),
            "InvalidGroup.NotFound",
        ),
        (
            creating(NAT, lambda n: {"subnetId": n.subnet.id, "allocationId": "eipalloc-0"}),
            "InvalidAllocationID.NotFound",
        ),
        (creating(NAT, lambda n: {"subnetId": n.subnet.id, "allocationId": n.address.id}), "Gateway.NotAttached"),
        (creating(NAT, Network.nat, lambda n: n.aws.create(NAT, n.nat())), "Resource.AlreadyAssociated"),
        (
            creating(
                ROUTE,
                lambda n: {"routeTableId": n.table.id, "destinationCidrBlock": "0.0.0.0/0", "natGatewayId": "nat-0"},
            ),
            "InvalidNatGatewayID.NotFound",
        ),
        (
            creating(
                ROUTE,
                lambda n: {"routeTableId": n.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": n.gateway.id},
                lambda n: n.aws.create(
                    ROUTE, {"routeTableId": n.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": n.gateway.id}
                ),
            ),
            "RouteAlreadyExists",
        ),
        (
            creating(
                ASSOCIATION,
                lambda n: {
                    "subnetId": n.subnet.id,
                    "routeTableId": n.aws.create(TABLE, {"vpcId": n.vpc.id}, "other").id,
                },
                lambda n: n.aws.create(ASSOCIATION, {"subnetId": n.subnet.id, "routeTableId": n.table.id}),
            ),
            "Resource.AlreadyAssociated",
        ),
        (creating(ENDPOINT, lambda n: n.interface_endpoint(securityGroupIds=["sg-0"])), "InvalidGroup.NotFound"),
        (
            creating(ENDPOINT, Network.interface_endpoint, lambda n: n.aws.create(ENDPOINT, n.interface_endpoint())),
            "conflicting DNS domain",
        ),
        (creating(TAG, lambda n: {"resourceId": "sg-0", "key": "k", "value": "v"}), "InvalidID"),
        (deleting("subnet", (NAT, Network.nat)), "DependencyViolation"),
        (deleting("subnet", (ENDPOINT, Network.interface_endpoint)), "DependencyViolation"),
        (deleting("group", (ENDPOINT, Network.interface_endpoint)), "DependencyViolation"),
        (
            deleting(
                "group",
                (GROUP, lambda n: {"vpcId": n.vpc.id, "ingress": [{**HTTPS, "securityGroups": [n.group.id]}]}),
            ),
            "DependencyViolation",
        ),
        (deleting("address", (NAT, Network.nat)), "InvalidIPAddress.InUse"),
        (deleting("gateway", (NAT, Network.nat)), "DependencyViolation"),
        (
            creating(
                ROUTE,
                lambda n: {
                    "routeTableId": n.table.id,
                    "destinationCidrBlock": "0.0.0.0/0",
                    "networkInterfaceId": "eni-0",
                },
            ),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (lambda n: (n.addressed(), n.aws.delete(n.gateway)), "DependencyViolation"),
        (deleting("subnet", (INSTANCE, Network.instance)), "DependencyViolation"),
        (deleting("group", (INSTANCE, Network.instance)), "DependencyViolation"),
        (deleting("vpc", (GATEWAY, lambda n: {"vpcId": n.vpc.id})), "DependencyViolation"),
        (deleting("vpc", (GROUP, lambda n: {"vpcId": n.vpc.id})), "DependencyViolation"),
        (
            deleting("table", (ASSOCIATION, lambda n: {"subnetId": n.subnet.id, "routeTableId": n.table.id})),
            "DependencyViolation",
        ),
    ],
)
def test_ec2_refuses(network: Network, act: Callable[[Network], None], code: str) -> None:
    with pytest.raises(Refused) as refused:
        act(network)
    assert code in str(refused.value)


def test_an_image_that_nobody_publishes_is_refused(aws: SimulatedAws) -> None:
    asked = {"owners": ["amazon"], "filters": [{"name": "name", "values": ["al2023-ami-minimal-0"]}]}
    with pytest.raises(Refused, match="Your query returned no results"):
        functions.call(aws.provider, GET_AMI, asked)
