"""VPC, subnets, internet gateway and single tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.cloud import Cloud, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems, only, tagged, when_free, zone_problems
from rehearsal.providers.serving import Properties, Refused, Request

_VPC_LENGTHS = (16, 28)
_ZONES = {"availabilityZone": "AvailabilityZone", "availabilityZoneId": "AvailabilityZoneId"}


class Vpc(Ec2Resource):
    """A VPC with its attributes; its main route table, default security group and network ACL are read with it."""

    token = "aws:ec2/vpc:Vpc"
    force_new = frozenset({"cidrBlock", "instanceTenancy", "ipv4IpamPoolId", "ipv4NetmaskLength"})
    defaults = {"instanceTenancy": "default", "enableDnsSupport": True}
    choices = {"instanceTenancy": ("default", "dedicated")}
    exactly_one = (("cidrBlock", "ipv4IpamPoolId"),)
    unmodelled = frozenset({"assignGeneratedIpv6CidrBlock", "ipv4IpamPoolId", "ipv6CidrBlock", "ipv6IpamPoolId"})
    _attributes = {
        "enableDnsSupport": "EnableDnsSupport",
        "enableDnsHostnames": "EnableDnsHostnames",
        "enableNetworkAddressUsageMetrics": "EnableNetworkAddressUsageMetrics",
    }

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.create_vpc(
            CidrBlock=inputs["cidrBlock"],
            InstanceTenancy=inputs["instanceTenancy"],
            TagSpecifications=tagged("vpc", inputs),
        )
        return made["Vpc"]["VpcId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self.change(cloud, id, inputs, {}, changed=set(self._attributes) & inputs.keys(), request=request)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        for name in self._attributes.keys() & changed:  # EC2 takes one attribute a call
            value = {"Value": bool(inputs.get(name, False))}
            cloud.ec2.modify_vpc_attribute(VpcId=id, **{self._attributes[name]: value})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        vpc = only(cloud.ec2.describe_vpcs(VpcIds=[id])["Vpcs"])
        if vpc is None:
            return None
        return {
            "arn": cloud.arn("ec2", f"vpc/{id}"),
            "cidrBlock": vpc["CidrBlock"],
            "instanceTenancy": vpc["InstanceTenancy"],
            "ownerId": cloud.account,
            "dhcpOptionsId": vpc.get("DhcpOptionsId", ""),
            **{name: self._attribute(cloud, id, key) for name, key in self._attributes.items()},
            **self._defaults_of(cloud, id),
            "tags": tag_map(vpc.get("Tags")),
        }

    @staticmethod
    def _attribute(cloud: Cloud, id: str, key: str) -> bool:
        attribute = key[0].lower() + key[1:]
        return cloud.ec2.describe_vpc_attribute(VpcId=id, Attribute=attribute)[key]["Value"]

    @staticmethod
    def _defaults_of(cloud: Cloud, id: str) -> dict[str, Any]:
        mine = {"Name": "vpc-id", "Values": [id]}
        group = {"Name": "group-name", "Values": ["default"]}
        main = {"Name": "association.main", "Values": ["true"]}
        acl = {"Name": "default", "Values": ["true"]}
        groups = cloud.ec2.describe_security_groups(Filters=[mine, group])["SecurityGroups"]
        tables = cloud.ec2.describe_route_tables(Filters=[mine, main])["RouteTables"]
        acls = cloud.ec2.describe_network_acls(Filters=[mine, acl])["NetworkAcls"]
        return {
            "defaultSecurityGroupId": groups[0]["GroupId"] if groups else "",
            "mainRouteTableId": tables[0]["RouteTableId"] if tables else "",
            "defaultRouteTableId": tables[0]["RouteTableId"] if tables else "",
            "defaultNetworkAclId": acls[0]["NetworkAclId"] if acls else "",
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_vpc(VpcId=id)


class VpcIpv4CidrBlockAssociation(Ec2Resource):
    """Another range of a VPC."""

    token = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
    force_new = frozenset({"cidrBlock", "vpcId"})
    unmodelled = frozenset({"ipv4IpamPoolId", "ipv4NetmaskLength"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if "cidrBlock" not in inputs:
            yield Refused("an association needs a cidrBlock", "cidrBlock")
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.associate_vpc_cidr_block(VpcId=inputs["vpcId"], CidrBlock=inputs["cidrBlock"])
        return made["CidrBlockAssociation"]["AssociationId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        named = {"Name": "cidr-block-association.association-id", "Values": [id]}
        for vpc in cloud.ec2.describe_vpcs(Filters=[named])["Vpcs"]:
            for one in vpc["CidrBlockAssociationSet"]:
                if one["AssociationId"] == id and one["CidrBlockState"]["State"] == "associated":
                    return {"vpcId": vpc["VpcId"], "cidrBlock": one["CidrBlock"]}
        return None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.disassociate_vpc_cidr_block(AssociationId=id)


class Subnet(Ec2Resource):
    """A subnet of one zone."""

    token = "aws:ec2/subnet:Subnet"
    force_new = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "vpcId"})
    unmodelled = frozenset(
        {"customerOwnedIpv4Pool", "enableDns64", "ipv4IpamPoolId", "ipv6CidrBlock", "ipv6Native", "outpostArn"}
    )
    at_most_one = (("availabilityZone", "availabilityZoneId"),)
    defaults = {
        "assignIpv6AddressOnCreation": False,
        "enableResourceNameDnsARecordOnLaunch": False,
        "mapPublicIpOnLaunch": False,
    }
    _attributes = {
        "assignIpv6AddressOnCreation": "AssignIpv6AddressOnCreation",
        "enableResourceNameDnsARecordOnLaunch": "EnableResourceNameDnsARecordOnLaunch",
        "mapPublicIpOnLaunch": "MapPublicIpOnLaunch",
    }

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if "cidrBlock" not in inputs:
            yield Refused("a subnet needs a cidrBlock", "cidrBlock")
        yield from cidr_problems(inputs, "cidrBlock", lengths=_VPC_LENGTHS)
        yield from zone_problems(inputs, cloud)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        zone = {key: inputs[name] for name, key in _ZONES.items() if name in inputs}
        made = cloud.ec2.create_subnet(
            VpcId=inputs["vpcId"], CidrBlock=inputs["cidrBlock"], TagSpecifications=tagged("subnet", inputs), **zone
        )
        return made["Subnet"]["SubnetId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self.change(cloud, id, inputs, {}, changed=set(self._attributes) & inputs.keys(), request=request)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        for name in self._attributes.keys() & changed:
            value = {"Value": bool(inputs.get(name, False))}
            cloud.ec2.modify_subnet_attribute(SubnetId=id, **{self._attributes[name]: value})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        subnet = only(cloud.ec2.describe_subnets(SubnetIds=[id])["Subnets"])
        if subnet is None:
            return None
        naming = subnet.get("PrivateDnsNameOptionsOnLaunch", {})
        return {
            "arn": cloud.arn("ec2", f"subnet/{id}"),
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet["AvailabilityZoneId"],
            "ownerId": subnet["OwnerId"],
            "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
            "assignIpv6AddressOnCreation": subnet["AssignIpv6AddressOnCreation"],
            "enableResourceNameDnsARecordOnLaunch": naming.get("EnableResourceNameDnsARecord", False),
            "privateDnsHostnameTypeOnLaunch": naming.get("HostnameType", "ip-name"),
            "tags": tag_map(subnet.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        when_free(request, lambda: cloud.ec2.delete_subnet(SubnetId=id))


class InternetGateway(Ec2Resource):
    """An internet gateway, attached where `vpcId` is given."""

    token = "aws:ec2/internetGateway:InternetGateway"

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", inputs))
        return made["InternetGateway"]["InternetGatewayId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if "vpcId" in inputs:
            cloud.ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=inputs["vpcId"])

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self._detach(cloud, id, olds, request)
        self.complete(cloud, id, inputs, request)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        gateway = only(cloud.ec2.describe_internet_gateways(InternetGatewayIds=[id])["InternetGateways"])
        if gateway is None:
            return None
        attached = only(gateway.get("Attachments", []))
        return {
            "arn": cloud.arn("ec2", f"internet-gateway/{id}"),
            "ownerId": cloud.account,
            "vpcId": attached["VpcId"] if attached else "",
            "tags": tag_map(gateway.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._detach(cloud, id, olds, request)
        cloud.ec2.delete_internet_gateway(InternetGatewayId=id)

    @staticmethod
    def _detach(cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if olds.get("vpcId"):
            when_free(request, lambda: cloud.ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=olds["vpcId"]))


class Tag(Ec2Resource):
    """One tag of an EC2 object that something else made, such as EKS's cluster security group."""

    token = "aws:ec2/tag:Tag"
    force_new = frozenset({"resourceId", "key"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        tag = {"Key": inputs["key"], "Value": inputs["value"]}
        cloud.ec2.create_tags(Resources=[inputs["resourceId"]], Tags=[tag])
        return f"{inputs['resourceId']},{inputs['key']}"

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        resource, _, key = id.partition(",")
        named = [{"Name": "resource-id", "Values": [resource]}, {"Name": "key", "Values": [key]}]
        tag = only(cloud.ec2.describe_tags(Filters=named)["Tags"])
        return {"resourceId": resource, "key": key, "value": tag["Value"]} if tag else None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        resource, _, key = id.partition(",")
        cloud.ec2.delete_tags(Resources=[resource], Tags=[{"Key": key}])
