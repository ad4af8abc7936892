"""A network in EC2 for tests of the aws stand-in, and the tokens of EC2's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_support import Made, SimulatedAws

import contracts
from rehearsal.providers.aws import functions
from rehearsal.providers.protocol.model import Properties

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


class Network:
    """A VPC with the parts that tests need, each made at its first use."""

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
        """An instance with a public address, which must be in a VPC with an internet gateway."""
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


HTTPS = {"protocol": "tcp", "fromPort": 443, "toPort": 443}
