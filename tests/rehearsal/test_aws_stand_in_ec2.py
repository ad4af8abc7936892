from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_support import DEFAULT_TAGS, Made, SimulatedAws, simulated_aws

import contracts
from rehearsal.providers.aws import functions
from rehearsal.providers.serving import UNKNOWN, InitFailed, Properties, Refused

VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"
RANGE = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
TABLE, ROUTE = "aws:ec2/routeTable:RouteTable", "aws:ec2/route:Route"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
GATEWAY, NAT, EIP = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/natGateway:NatGateway", "aws:ec2/eip:Eip"
ENDPOINT, TEMPLATE = "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE, GET_AMI = "aws:ec2/instance:Instance", "aws:ec2/getAmi:getAmi"
DEFAULT_GROUP, TAG, FLOW_LOG = (
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/tag:Tag",
    "aws:ec2/flowLog:FlowLog",
)


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(server: SimulatedAws) -> Iterator[SimulatedAws]:
    yield server
    for made in reversed(server.made):
        server.delete(made)
    server.made.clear()


class Network:
    """A VPC with what tests hang things on, made when first asked for."""

    def __init__(self, aws: SimulatedAws) -> None:
        self.aws = aws
        self.vpc = aws.create(VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True})
        self._made: dict[str, Made] = {}

    def _once(self, name: str, make: Callable[[], Made]) -> Made:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def subnet(self) -> Made:
        inputs = {"vpcId": self.vpc.id, "cidrBlock": "10.0.1.0/24", "availabilityZone": "us-east-1a"}
        return self._once("subnet", lambda: self.aws.create(SUBNET, inputs))

    @property
    def gateway(self) -> Made:
        return self._once("gateway", lambda: self.aws.create(GATEWAY, {"vpcId": self.vpc.id}))

    @property
    def table(self) -> Made:
        return self._once("table", lambda: self.aws.create(TABLE, {"vpcId": self.vpc.id}))

    @property
    def group(self) -> Made:
        return self._once("group", lambda: self.aws.create(GROUP, {"vpcId": self.vpc.id}))

    @property
    def address(self) -> Made:
        return self._once("address", lambda: self.aws.create(EIP, {}))

    def nat(self) -> Properties:
        self.gateway  # noqa: B018 - a public one needs a way out
        return {"subnetId": self.subnet.id, "allocationId": self.address.id}

    def instance(self, **more: Any) -> Properties:
        filters = [{"name": "name", "values": [contracts.nat_image()]}]
        image = functions.call(self.aws.provider, GET_AMI, {"owners": ["amazon"], "filters": filters})
        return {
            "ami": image["id"],
            "instanceType": "t4g.micro",
            "subnetId": self.subnet.id,
            "vpcSecurityGroupIds": [self.group.id],
            "sourceDestCheck": False,
            "userData": "#!/bin/bash",
            "userDataReplaceOnChange": True,
            "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
            "maintenanceOptions": {"autoRecovery": "default"},
            "rootBlockDevice": {"volumeType": "gp3", "volumeSize": 4, "encrypted": True},
            "volumeTags": {"Owner": "ml"},
            **more,
        }

    def addressed(self) -> Made:
        """An instance with an address of its own, which has to be in a VPC with a way out."""
        self.gateway  # noqa: B018
        made = self.aws.create(INSTANCE, self.instance())
        self.aws.create(EIP, {"instance": made.id}, name="of an instance")
        return made

    def interface_endpoint(self, **more: Any) -> Properties:
        return {
            "vpcId": self.vpc.id,
            "serviceName": "com.amazonaws.us-east-1.sts",
            "vpcEndpointType": "Interface",
            "subnetIds": [self.subnet.id],
            "securityGroupIds": [self.group.id],
            "privateDnsEnabled": True,
            **more,
        }


@pytest.fixture
def network(aws: SimulatedAws) -> Network:
    return Network(aws)


HTTPS = {"protocol": "tcp", "fromPort": 443, "toPort": 443}
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
        (TEMPLATE, {"cpuOptions": {"coreCount": 1}}, "cpuOptions", "does not carry out"),
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
    """Deletes one thing of the network while what `others` made holds it."""

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


def test_an_image_that_nobody_publishes_is_refused(aws: SimulatedAws) -> None:
    asked = {"owners": ["amazon"], "filters": [{"name": "name", "values": ["al2023-ami-minimal-0"]}]}
    with pytest.raises(Refused, match="Your query returned no results"):
        functions.call(aws.provider, GET_AMI, asked)


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
