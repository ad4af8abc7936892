"""VPCs, subnets, internet gateways and single tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems, when_free, zone_problems
from rehearsal.providers.protocol.model import Properties, Refused, Request

_VPC_LENGTHS = (16, 28)
_VPC_SWITCHES = ("enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics")


def _switches(action: str, owner: str, names: tuple[str, ...]) -> dict[str, Call]:
    """The calls that set attributes of a VPC or a subnet. EC2 takes one attribute in each call."""
    return {name: Call(action, **{owner: "{id}", name: {"Value": f"{{{name} || `false`}}"}}) for name in names}


class Vpc(Ec2Resource):
    """A VPC with its attributes, and the ids of its main route table, default security group and network ACL."""

    token = "aws:ec2/vpc:Vpc"
    force_new = frozenset({"cidrBlock", "instanceTenancy", "ipv4IpamPoolId", "ipv4NetmaskLength"})
    defaults = {"instanceTenancy": "default", "enableDnsSupport": True}
    choices = {"instanceTenancy": ("default", "dedicated")}
    exactly_one = (("cidrBlock", "ipv4IpamPoolId"),)
    unmodelled = frozenset({"assignGeneratedIpv6CidrBlock", "ipv4IpamPoolId", "ipv6CidrBlock", "ipv6IpamPoolId"})
    kind, made_id = "vpc", "Vpc.VpcId"
    create_call = Call("create_vpc", "cidrBlock instanceTenancy tagSpecifications")
    read_call, found = Call("describe_vpcs", VpcIds=["{id}"]), "Vpcs[0]"
    outputs = fields("cidrBlock instanceTenancy dhcpOptionsId tags")
    updates = _switches("modify_vpc_attribute", "VpcId", _VPC_SWITCHES)
    set_later = frozenset(_VPC_SWITCHES)
    delete_call = Call("delete_vpc", VpcId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        mine, main = {"Name": "vpc-id", "Values": [known["id"]]}, {"Name": "association.main", "Values": ["true"]}
        group, acl = {"Name": "group-name", "Values": ["default"]}, {"Name": "default", "Values": ["true"]}
        groups = cloud.ec2.describe_security_groups(Filters=[mine, group])["SecurityGroups"]
        tables = cloud.ec2.describe_route_tables(Filters=[mine, main])["RouteTables"]
        acls = cloud.ec2.describe_network_acls(Filters=[mine, acl])["NetworkAcls"]
        return {
            **super().more_outputs(cloud, found, known),
            **{name: self._attribute(cloud, known["id"], name) for name in _VPC_SWITCHES},
            "defaultSecurityGroupId": groups[0]["GroupId"] if groups else "",
            "mainRouteTableId": tables[0]["RouteTableId"] if tables else "",
            "defaultRouteTableId": tables[0]["RouteTableId"] if tables else "",
            "defaultNetworkAclId": acls[0]["NetworkAclId"] if acls else "",
        }

    @staticmethod
    def _attribute(cloud: Cloud, id: str, name: str) -> bool:
        answer = cloud.ec2.describe_vpc_attribute(VpcId=id, Attribute=name)
        return answer[name[0].upper() + name[1:]]["Value"]


class VpcIpv4CidrBlockAssociation(DescribedResource):
    """An additional CIDR block of a VPC."""

    token = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
    force_new = frozenset({"cidrBlock", "vpcId"})
    unmodelled = frozenset({"ipv4IpamPoolId", "ipv4NetmaskLength"})
    required = ("cidrBlock",)
    service, made_id = "ec2", "CidrBlockAssociation.AssociationId"
    create_call = Call("associate_vpc_cidr_block", "vpcId cidrBlock")
    read_call = Call("describe_vpcs", Filters=[{"Name": "cidr-block-association.association-id", "Values": ["{id}"]}])
    found = (
        "Vpcs[].{vpc: VpcId, range: CidrBlockAssociationSet"
        "[?AssociationId=='{id}' && CidrBlockState.State=='associated'] | [0].CidrBlock} | [?range] | [0]"
    )
    outputs = {"vpcId": "vpc", "cidrBlock": "range"}
    delete_call = Call("disassociate_vpc_cidr_block", AssociationId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)


class Subnet(Ec2Resource):
    """A subnet of one zone."""

    token = "aws:ec2/subnet:Subnet"
    force_new = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "vpcId"})
    unmodelled = frozenset(
        {"customerOwnedIpv4Pool", "enableDns64", "ipv4IpamPoolId", "ipv6CidrBlock", "ipv6Native", "outpostArn"}
    )
    required = ("cidrBlock",)
    at_most_one = (("availabilityZone", "availabilityZoneId"),)
    defaults = {
        "assignIpv6AddressOnCreation": False,
        "enableResourceNameDnsARecordOnLaunch": False,
        "mapPublicIpOnLaunch": False,
    }
    kind, made_id = "subnet", "Subnet.SubnetId"
    create_call = Call("create_subnet", "vpcId cidrBlock availabilityZone availabilityZoneId tagSpecifications")
    read_call, found = Call("describe_subnets", SubnetIds=["{id}"]), "Subnets[0]"
    outputs = fields(
        "vpcId cidrBlock availabilityZone availabilityZoneId mapPublicIpOnLaunch assignIpv6AddressOnCreation tags",
        enableResourceNameDnsARecordOnLaunch="PrivateDnsNameOptionsOnLaunch.EnableResourceNameDnsARecord || `false`",
        privateDnsHostnameTypeOnLaunch="PrivateDnsNameOptionsOnLaunch.HostnameType || 'ip-name'",
    )
    updates = _switches("modify_subnet_attribute", "SubnetId", tuple(defaults))
    set_later = frozenset(defaults)
    delete_call = Call("delete_subnet", SubnetId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)
        yield from zone_problems(inputs, cloud)


class InternetGateway(Ec2Resource):
    """An internet gateway. It is attached if `vpcId` is given."""

    token = "aws:ec2/internetGateway:InternetGateway"

    kind, made_id = "internet-gateway", "InternetGateway.InternetGatewayId"
    create_call = Call("create_internet_gateway", "tagSpecifications")
    read_call = Call("describe_internet_gateways", InternetGatewayIds=["{id}"])
    found, outputs = "InternetGateways[0]", fields("tags", vpcId="Attachments[0].VpcId || ''")
    updates = {"vpcId": Call("attach_internet_gateway", "vpcId", InternetGatewayId="{id}")}
    set_later = frozenset({"vpcId"})
    delete_call = Call("delete_internet_gateway", InternetGatewayId="{id}")

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self._detach(cloud, id, olds, request)
        if "vpcId" in inputs:
            super().change(cloud, id, inputs, olds, changed=changed, request=request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._detach(cloud, id, olds, request)
        super().remove(cloud, id, olds, request)

    @staticmethod
    def _detach(cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if olds.get("vpcId"):
            when_free(request, lambda: cloud.ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=olds["vpcId"]))


class Tag(DescribedResource):
    """One tag of an EC2 object that another resource or service made, such as the cluster security group of EKS."""

    token = "aws:ec2/tag:Tag"
    force_new = frozenset({"resourceId", "key"})
    service, id_form = "ec2", "{resourceId},{key}"
    create_call = Call("create_tags", Resources=["{resourceId}"], Tags=[{"Key": "{key}", "Value": "{value}"}])
    read_call = Call(
        "describe_tags",
        Filters=[{"Name": "resource-id", "Values": ["{resourceId}"]}, {"Name": "key", "Values": ["{key}"]}],
    )
    found, outputs = "Tags[0]", {"value": "Value"}
    delete_call = Call("delete_tags", Resources=["{resourceId}"], Tags=[{"Key": "{key}"}])
