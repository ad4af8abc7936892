"""EC2's types of the aws stand-in: round trips, drift, replacements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from aws_network import (
    ASSOCIATION,
    DEFAULT_GROUP,
    EIP,
    ENDPOINT,
    FLOW_LOG,
    GATEWAY,
    GROUP,
    HTTPS,
    INGRESS,
    INSTANCE,
    NAT,
    RANGE,
    ROUTE,
    RULE,
    SUBNET,
    TABLE,
    TAG,
    TEMPLATE,
    VPC,
    Network,
)
from aws_support import DEFAULT_TAGS, Made, SimulatedAws, simulated_aws

from rehearsal.providers.protocol.model import UNKNOWN, InitFailed, Properties, Refused


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


ROUND_TRIPS: dict[str, tuple[str, Callable[[Network], Properties], Callable[[Network], Properties]]] = {
    "vpc": (VPC, lambda n: {"cidrBlock": "10.9.0.0/16"}, lambda n: {"enableDnsHostnames": True, "tags": {"Name": "x"}}),
    "subnet": (
        SUBNET,
        lambda n: {"vpcId": n.vpc.id, "cidrBlock": "10.0.9.0/24", "availabilityZone": "us-east-1b"},
        lambda n: {"mapPublicIpOnLaunch": True, "tags": {"kubernetes.io/role/elb": "1"}},
    ),
    "gateway": (GATEWAY, lambda n: {"vpcId": n.vpc.id}, lambda n: {"tags": {"Name": "x"}}),
    "address": (EIP, lambda n: {"domain": "vpc"}, lambda n: {"tags": {"Name": "x"}}),
    "instance": (INSTANCE, Network.instance, lambda n: {"sourceDestCheck": True, "tags": {"Name": "x"}}),
    "address of an instance": (
        EIP,
        lambda n: {"domain": "vpc", "instance": n.aws.create(INSTANCE, n.instance()).id},
        lambda n: {"instance": n.aws.create(INSTANCE, n.instance(), name="newer").id},
    ),
    "route to an instance": (
        ROUTE,
        lambda n: {"routeTableId": n.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": n.gateway.id},
        lambda n: {
            "gatewayId": None,
            "networkInterfaceId": n.aws.create(INSTANCE, n.instance()).outputs["primaryNetworkInterfaceId"],
        },
    ),
    "nat": (NAT, Network.nat, lambda n: {"tags": {"Name": "x"}}),
    "private nat": (
        NAT,
        lambda n: {"subnetId": n.subnet.id, "connectivityType": "private"},
        lambda n: {"tags": {"a": "b"}},
    ),
    "table": (
        TABLE,
        lambda n: {"vpcId": n.vpc.id, "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": n.gateway.id}]},
        lambda n: {"routes": [{"cidrBlock": "10.200.0.0/16", "gatewayId": n.gateway.id}]},
    ),
    "route": (
        ROUTE,
        lambda n: {"routeTableId": n.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": n.gateway.id},
        lambda n: {"gatewayId": None, "natGatewayId": n.aws.create(NAT, n.nat()).id},
    ),
    "association": (
        ASSOCIATION,
        lambda n: {"subnetId": n.subnet.id, "routeTableId": n.table.id},
        lambda n: {"routeTableId": n.aws.create(TABLE, {"vpcId": n.vpc.id}, name="other").id},
    ),
    "group": (
        GROUP,
        lambda n: {"vpcId": n.vpc.id, "ingress": [{**HTTPS, "cidrBlocks": ["10.0.0.0/16"], "self": True}]},
        lambda n: {
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            "tags": {"a": "b"},
        },
    ),
    "default group": (
        DEFAULT_GROUP,
        lambda n: {"vpcId": n.vpc.id, "ingress": [], "egress": []},
        lambda n: {"egress": [{**HTTPS, "cidrBlocks": ["0.0.0.0/0"], "description": "out"}], "tags": {"Name": "d"}},
    ),
    "ingress rule": (
        INGRESS,
        lambda n: {
            "securityGroupId": n.group.id,
            "ipProtocol": "tcp",
            "fromPort": 1,
            "toPort": 2,
            "cidrIpv4": "10.0.0.0/8",
        },
        lambda n: {"toPort": 3, "description": "wider"},
    ),
    "egress rule": (
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        lambda n: {"securityGroupId": n.group.id, "ipProtocol": "-1", "referencedSecurityGroupId": n.group.id},
        lambda n: {"tags": {"a": "b"}},
    ),
    "rule": (
        RULE,
        lambda n: {
            **HTTPS,
            "securityGroupId": n.group.id,
            "type": "ingress",
            "cidrBlocks": ["10.1.0.0/16", "10.2.0.0/16"],
        },
        lambda n: {"description": "from elsewhere"},
    ),
    "gateway endpoint": (
        ENDPOINT,
        lambda n: {"vpcId": n.vpc.id, "serviceName": "com.amazonaws.us-east-1.s3", "routeTableIds": [n.table.id]},
        lambda n: {"routeTableIds": [n.table.id, n.aws.create(TABLE, {"vpcId": n.vpc.id}, name="other").id]},
    ),
    "interface endpoint": (
        ENDPOINT,
        Network.interface_endpoint,
        lambda n: {"securityGroupIds": [n.aws.create(GROUP, {"vpcId": n.vpc.id}, name="other").id]},
    ),
    "template": (
        TEMPLATE,
        lambda n: {
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": 50, "encrypted": "true"}}],
            "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "node"}}],
            "vpcSecurityGroupIds": [n.group.id],
            "userData": "IyEvYmluL3No",
            "updateDefaultVersion": True,
        },
        lambda n: {"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2}},
    ),
    "flow log": (
        FLOW_LOG,
        lambda n: {
            "vpcId": n.vpc.id,
            "trafficType": "ALL",
            "logDestination": "arn:aws:logs:us-east-1:123456789012:log-group:flows",
            "iamRoleArn": "arn:aws:iam::123456789012:role/flows",
        },
        lambda n: {"tags": {"Name": "flows"}},
    ),
    "tag": (TAG, lambda n: {"resourceId": n.vpc.id, "key": "k", "value": "v"}, lambda n: {"value": "w"}),
}


@pytest.mark.parametrize(("token", "inputs", "change"), ROUND_TRIPS.values(), ids=list(ROUND_TRIPS))
def test_a_resource_is_made_read_changed_and_deleted(
    aws: SimulatedAws,
    network: Network,
    token: str,
    inputs: Callable[[Network], Properties],
    change: Callable[[Network], Properties],
) -> None:
    given = inputs(network)
    made = aws.create(token, given)
    assert aws.drift(made) == {}
    if "tagsAll" in made.outputs:
        assert made.outputs["tagsAll"] == DEFAULT_TAGS | given.get("tags", {})
    changed = {**given, **change(network)}
    aws.update(made, changed)
    assert aws.drift(made) == {}
    # Exactly what a program would see in the next preview.
    checked = aws.check(token, changed, made.inputs)
    assert not aws.provider.resource_type(token).difference(made.inputs, checked, made.outputs).changes
    assert aws.drift(made) == {}
    aws.delete(made)
    if token != DEFAULT_GROUP:
        assert aws.drift(made) == {"gone": True}
    aws.delete(made)


def test_what_changed_behind_its_back_is_seen(aws: SimulatedAws, network: Network) -> None:
    group = aws.create(GROUP, {"vpcId": network.vpc.id, "ingress": [{**HTTPS, "cidrBlocks": ["10.0.0.0/8"]}]}, "inline")
    aws.ec2.create_tags(Resources=[network.vpc.id], Tags=[{"Key": "Owner", "Value": "somebody else"}])
    aws.ec2.modify_subnet_attribute(SubnetId=network.subnet.id, MapPublicIpOnLaunch={"Value": True})
    aws.ec2.authorize_security_group_ingress(
        GroupId=group.id,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    assert aws.drift(network.vpc) == {"tags": {"Owner": "somebody else"}, "tagsAll": {"Owner": "somebody else"}}
    assert aws.drift(network.subnet) == {"mapPublicIpOnLaunch": True}
    assert [rule["fromPort"] for rule in aws.drift(group)["ingress"]] == [443, 22]


def test_rules_of_other_resources_are_no_drift(aws: SimulatedAws, network: Network) -> None:
    route = {"routeTableId": network.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": network.gateway.id}
    aws.create(ROUTE, route)
    rule = {"securityGroupId": network.group.id, "ipProtocol": "-1", "cidrIpv4": "10.0.0.0/16"}
    aws.create(INGRESS, rule)
    aws.create(NAT, network.nat())
    for made in (network.table, network.group, network.address):
        assert aws.drift(made) == {}


def test_a_template_gets_a_version_a_change(aws: SimulatedAws) -> None:
    made = aws.create(TEMPLATE, {"instanceType": "m7i.large"})
    kind, asked = aws.provider.resource_type(TEMPLATE), aws.request(TEMPLATE, "lab")
    checked = aws.check(TEMPLATE, {"instanceType": "m7i.xlarge"}, made.inputs)
    assert kind.preview(checked, made.outputs, asked)["latestVersion"] is UNKNOWN
    aws.update(made, {"instanceType": "m7i.xlarge", "updateDefaultVersion": True})
    assert (made.outputs["latestVersion"], made.outputs["defaultVersion"]) == (2, 2)
    assert aws.replaced_by(made, {"instanceType": "m7i.large", "name": "chosen"}) == {"name"}


def test_a_new_image_or_first_script_is_a_new_instance(aws: SimulatedAws, network: Network) -> None:
    given = network.instance()
    made = aws.create(INSTANCE, given)
    assert aws.replaced_by(made, {**given, "ami": "ami-0"}) == {"ami"}
    assert aws.replaced_by(made, {**given, "userData": "#!/bin/sh"}) == {"userData"}
    assert aws.replaced_by(made, {**given, "userDataReplaceOnChange": False, "userData": "#!/bin/sh"}) == set()


def test_a_vpc_has_a_second_range_while_it_overlaps_none_and_is_not_in_use(aws: SimulatedAws, network: Network) -> None:
    vpc = network.vpc.id
    with pytest.raises(Refused) as overlapping:
        aws.create(RANGE, {"vpcId": vpc, "cidrBlock": "10.0.128.0/20"}, name="overlapping")
    assert "InvalidVpc.Range" in str(overlapping.value)
    made = aws.create(RANGE, {"vpcId": vpc, "cidrBlock": "100.64.0.0/16"})
    assert aws.drift(made) == {}
    assert aws.replaced_by(made, {"vpcId": vpc, "cidrBlock": "100.65.0.0/16"}) == {"cidrBlock"}
    inside = {"vpcId": vpc, "cidrBlock": "100.64.0.0/18", "availabilityZone": "us-east-1a"}
    subnet = aws.create(SUBNET, inside, name="inside")
    with pytest.raises(Refused) as in_use:
        aws.delete(made)
    assert "InvalidCidrBlock.InUse" in str(in_use.value)
    aws.delete(subnet)
    aws.delete(made)
    assert aws.read(made) is None


def test_what_cannot_be_changed_replaces(aws: SimulatedAws, network: Network) -> None:
    rule = {**HTTPS, "securityGroupId": network.group.id, "type": "ingress", "cidrBlocks": ["10.1.0.0/16"]}
    made = aws.create(RULE, rule)
    assert aws.replaced_by(network.vpc, {"cidrBlock": "10.1.0.0/16"}) == {"cidrBlock"}
    assert aws.replaced_by(made, {**rule, "toPort": 444}) == {"toPort"}
    assert aws.replaced_by(made, {**rule, "description": "x"}) == set()


def test_a_resource_that_could_not_be_completed_stays_in_the_state(aws: SimulatedAws, network: Network) -> None:
    broken = {"vpcId": network.vpc.id, "ingress": [{**HTTPS, "securityGroups": ["sg-0"]}]}
    kind, asked = aws.provider.resource_type(GROUP), aws.request(GROUP, "broken")
    with pytest.raises(InitFailed, match=r"InvalidGroup\.NotFound") as failed:
        kind.create(aws.check(GROUP, broken, name="broken"), asked)
    made = Made(GROUP, "broken", failed.value.id, failed.value.outputs, failed.value.outputs)
    aws.made.append(made)
    aws.update(made, {"vpcId": network.vpc.id, "ingress": []})
    assert aws.drift(made) == {}
