"""Amazon VPC: networks, and what gives them routes and gateways. Their firewalls are in `security_groups.py`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from policies.reading.resources import items
from reports.account import Account, Held, Raw
from reports.aws_type import AwsType, ByTags, Inputs
from reports.aws_type.listing import inline_tags, listing
from reports.aws_type.pricing import Facts, by_use, flat, free, hourly
from reports.aws_type.steps import Gone, Steps, by_command, without_interfaces

_FREE = free("https://aws.amazon.com/vpc/pricing/")
_TAGS = inline_tags("Tags")


def _is_main(raw: Raw) -> bool:
    """Whether it is the route table that AWS makes with each VPC."""
    return any(association.get("Main") for association in raw.get("Associations", []))


def _is_of_an_instance(raw: Raw) -> bool:
    """Whether EC2 deletes the network interface with its instance."""
    attachment = raw.get("Attachment") or {}
    return "InstanceId" in attachment and (attachment.get("DeviceIndex") == 0 or attachment["DeleteOnTermination"])


def _remove_nat_gateway(_account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "delete-nat-gateway", "--nat-gateway-id", held.id]
    yield ["aws", "ec2", "wait", "nat-gateway-deleted", "--nat-gateway-ids", held.id]


def _remove_endpoint(_account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", held.id]
    filters = [f"Name=vpc-id,Values={held.vpc}", "Name=vpc-endpoint-state,Values=deleting"]
    yield Gone(["aws", "ec2", "describe-vpc-endpoints", "--filters", *filters], "VpcEndpoints")


def _remove_interface(_account: Account, held: Held) -> Steps:
    attachment = held.raw.get("Attachment") or {}
    in_use_by_aws = held.raw.get("Status") == "in-use" and "InstanceId" not in attachment
    if held.raw.get("RequesterManaged") or in_use_by_aws:
        return  # AWS deletes it with the resource that it made it for
    if attachment:
        yield ["aws", "ec2", "detach-network-interface", "--attachment-id", attachment["AttachmentId"], "--force"]
        yield ["aws", "ec2", "wait", "network-interface-available", "--network-interface-ids", held.id]
    yield ["aws", "ec2", "delete-network-interface", "--network-interface-id", held.id]


def _remove_internet_gateway(_account: Account, held: Held) -> Steps:
    gateway = ["--internet-gateway-id", held.id]
    for attachment in held.raw.get("Attachments", []):
        yield ["aws", "ec2", "detach-internet-gateway", *gateway, "--vpc-id", attachment["VpcId"]]
    yield ["aws", "ec2", "delete-internet-gateway", *gateway]


def _remove_route_table(_account: Account, held: Held) -> Steps:
    for association in held.raw.get("Associations", []):
        named = ["--association-id", association["RouteTableAssociationId"]]
        yield ["aws", "ec2", "disassociate-route-table", *named]
    yield ["aws", "ec2", "delete-route-table", "--route-table-id", held.id]


def _associations(account: Account, inputs: Inputs) -> Iterator[str]:
    tables = account.client("ec2").describe_route_tables(RouteTableIds=[inputs["routeTableId"]])["RouteTables"]
    for association in (found for table in tables for found in table["Associations"]):
        if association.get("SubnetId", "") == inputs.get("subnetId"):
            yield association["RouteTableAssociationId"]


def _ranges(account: Account, inputs: Inputs) -> Iterator[str]:
    for vpc in account.client("ec2").describe_vpcs(VpcIds=[inputs["vpcId"]])["Vpcs"]:
        for block in vpc["CidrBlockAssociationSet"]:
            is_associated = block["CidrBlockState"]["State"] == "associated"
            if block["CidrBlock"] == inputs.get("cidrBlock") and is_associated:
                yield block["AssociationId"]


def _routes(_account: Account, inputs: Inputs) -> Iterator[str]:
    """The id that the provider makes up for a route. The refresh finds out whether the route exists."""
    destination = inputs.get("destinationCidrBlock") or inputs.get("destinationIpv6CidrBlock") or ""
    yield f"r-{inputs['routeTableId']}{zlib.crc32(destination.encode())}"


def _endpoint_price(facts: Facts) -> tuple[float, str]:
    if facts.get("vpcEndpointType", "Gateway") != "Interface":
        return 0.0, "a gateway endpoint is free"
    zones = len(items(facts.get("subnetIds", [])))
    return zones * hourly("interfaceEndpointInAZone"), f"an interface endpoint in {zones} zones"


TYPES = (
    AwsType(
        type="aws:ec2/flowLog:FlowLog",
        listing=listing("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId", _TAGS),
        remove=by_command("ec2", "delete-flow-logs", "--flow-log-ids"),
        lookup=ByTags(),
        bill=by_use("https://aws.amazon.com/cloudwatch/pricing/: vended logs, by GB"),
    ),
    AwsType(
        type="aws:ec2/internetGateway:InternetGateway",
        listing=listing("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId", _TAGS),
        remove=_remove_internet_gateway,
        after=("ec2 Addresses", "ec2 NatGateways", "ec2 NetworkInterfaces"),
        lookup=ByTags(),
        bill=_FREE,
    ),
    AwsType(
        type="aws:ec2/natGateway:NatGateway",
        listing=listing("ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId", _TAGS),
        remove=_remove_nat_gateway,
        after=("eks clusters",),
        lookup=ByTags(),
        price=flat(hourly, "natGateway", "a NAT gateway without its traffic"),
    ),
    AwsType(
        type="aws:ec2/networkInterface:NetworkInterface",
        listing=listing(
            "ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", inline_tags("TagSet")
        ),
        goes_with_owner=_is_of_an_instance,
        remove=_remove_interface,
        # AWS makes interfaces for these, and deletes them some time after.
        after=(
            "ec2 Instances",
            "ec2 NatGateways",
            "ec2 VpcEndpoints",
            "efs FileSystems",
            "eks clusters",
            "elb LoadBalancerDescriptions",
            "elbv2 LoadBalancers",
            "rds DBInstances",
        ),
        bill=_FREE,
    ),
    AwsType(type="aws:ec2/route:Route", lookup=_routes, bill=_FREE),
    AwsType(
        type="aws:ec2/routeTable:RouteTable",
        listing=listing("ec2", "describe_route_tables", "RouteTables", "RouteTableId", _TAGS),
        goes_with_owner=_is_main,
        remove=_remove_route_table,
        after=("ec2 NatGateways", "ec2 VpcEndpoints"),
        lookup=ByTags(),
        bill=_FREE,
    ),
    AwsType(type="aws:ec2/routeTableAssociation:RouteTableAssociation", lookup=_associations, bill=_FREE),
    AwsType(
        type="aws:ec2/subnet:Subnet",
        listing=listing("ec2", "describe_subnets", "Subnets", "SubnetId", _TAGS),
        remove=without_interfaces("delete-subnet", "--subnet-id", "subnet-id"),
        # A deleted subnet takes its association with it, so the command that removes the association would fail.
        after=("ec2 NetworkInterfaces", "ec2 RouteTables", "rds DBSubnetGroups"),
        lookup=ByTags(),
        bill=_FREE,
    ),
    AwsType(
        type="aws:ec2/vpc:Vpc",
        listing=listing("ec2", "describe_vpcs", "Vpcs", "VpcId", _TAGS),
        remove=by_command("ec2", "delete-vpc", "--vpc-id"),
        after=(
            "ec2 FlowLogs",
            "ec2 InternetGateways",
            "ec2 RouteTables",
            "ec2 SecurityGroups",
            "ec2 Subnets",
            "elbv2 TargetGroups",
        ),
        lookup=ByTags(),
        bill=_FREE,
    ),
    AwsType(
        type="aws:ec2/vpcEndpoint:VpcEndpoint",
        listing=listing("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", _TAGS),
        remove=_remove_endpoint,
        after=("eks clusters",),
        lookup=ByTags(),
        price=_endpoint_price,
    ),
    AwsType(
        type="aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation",
        lookup=_ranges,
        bill=_FREE,
    ),
)
