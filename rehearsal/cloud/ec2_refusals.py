"""Refusals that moto's EC2 leaves out, and what it leaves behind.

What is in use can't be deleted, what does not exist can't be named, and the network interfaces of NAT gateways and
interface endpoints go with them. Codes and messages are EC2's:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from moto.ec2 import urls
from moto.ec2.exceptions import (
    DependencyViolationError,
    EC2ClientError,
    InvalidSecurityGroupNotFoundError,
    InvalidVPCIdError,
    ResourceAlreadyAssociatedError,
)
from moto.ec2.models.elastic_network_interfaces import NetworkInterface

from rehearsal.cloud.amis import AmazonLinux
from rehearsal.cloud.capacity_reservations import CapacityReservations
from rehearsal.cloud.fast_restores import FastRestores
from rehearsal.cloud.fleets import Fleets
from rehearsal.cloud.instance_types import InstanceTypes
from rehearsal.cloud.one_change_at_a_time import OneChangeAtATime
from rehearsal.cloud.snapshots import OwnedSnapshots
from rehearsal.cloud.volume_changes import VolumeChanges


class Response(
    OneChangeAtATime,
    AmazonLinux,
    CapacityReservations,
    FastRestores,
    Fleets,
    InstanceTypes,
    OwnedSnapshots,
    VolumeChanges,
):
    """moto's EC2; what changes a network is looked at first, one request at a time."""

    # Deletions of what is in use.

    def delete_subnet(self) -> Any:
        """Refuses while a network interface is in the subnet: of an instance, gateway, endpoint or control plane.

        Its associations with a route table go with it.
        """
        subnet = self._get_param("SubnetId")
        if any(interface.subnet.id == subnet for interface in self._interfaces()):
            raise DependencyViolationError(f"The subnet '{subnet}' has dependencies and cannot be deleted.")
        answer = super().delete_subnet()
        for table in self.ec2_backend.route_tables.values():
            for id in [id for id, associated in table._associations.items() if associated == subnet]:
                del table._associations[id]
        return answer

    def delete_security_group(self) -> Any:
        """Refuses for a default group, and while an interface has the group or another group's rule names it."""
        group = self.ec2_backend.get_security_group_from_id(self._get_param("GroupId"))
        if group and group.is_default:
            raise EC2ClientError(
                "CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
            )
        if group and (any(group in one.group_set for one in self._interfaces()) or self._is_referenced(group)):
            raise DependencyViolationError(f"resource {group.id} has a dependent object")
        return super().delete_security_group()

    def delete_vpc(self) -> Any:
        """Refuses while the VPC has a gateway, an endpoint or a group but the default one; moto asks about the rest."""
        vpc, ec2 = self._get_param("VpcId"), self.ec2_backend
        attached = any(gateway.vpc and gateway.vpc.id == vpc for gateway in ec2.internet_gateways.values())
        groups = any(not group.is_default for group in ec2.groups.get(vpc, {}).values())
        if attached or groups or any(endpoint.vpc_id == vpc for endpoint in self._endpoints()):
            raise DependencyViolationError(f"The vpc '{vpc}' has dependencies and cannot be deleted.")
        return super().delete_vpc()

    def detach_internet_gateway(self) -> Any:
        """Refuses while something in the VPC has a public address."""
        vpc = self._get_param("VpcId")
        if any(interface.public_ip and interface.subnet.vpc_id == vpc for interface in self._interfaces()):
            raise DependencyViolationError(
                f"Network {vpc} has some mapped public address(es). "
                "Please unmap those public address(es) before detaching the gateway."
            )
        return super().detach_internet_gateway()

    def release_address(self) -> Any:
        """Refuses an address that something has."""
        allocation = self._get_param("AllocationId")
        for address in self.ec2_backend.addresses:
            if address.allocation_id == allocation and address.association_id:
                raise EC2ClientError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
        return super().release_address()

    def disassociate_vpc_cidr_block(self) -> Any:
        """Refuses a range while a subnet is in it."""
        ec2, id = self.ec2_backend, self._get_param("AssociationId")
        for vpc in ec2.vpcs.values():
            association = vpc._cidr_block_association_set.get(id)
            block = association and ipaddress.ip_network(association["cidr_block"])
            if block and any(one.cidr.overlaps(block) for one in ec2.describe_subnets(filters={"vpc-id": vpc.id})):
                raise EC2ClientError(
                    "InvalidCidrBlock.InUse", f"The vpc {vpc.id} currently has a subnet within CIDR block {block}"
                )
        return super().disassociate_vpc_cidr_block()

    # Names of what does not exist, and what can't be joined.

    def associate_vpc_cidr_block(self) -> Any:
        """Refuses what overlaps a range that the VPC has ("VPC CIDR blocks", VPC user guide)."""
        vpc, text = self.ec2_backend.get_vpc(self._get_param("VpcId")), self._get_param("CidrBlock")
        for one in vpc.get_cidr_block_association_set():
            there = one["cidr_block_state"]["state"] == "associated"
            if text and there and ipaddress.ip_network(one["cidr_block"]).overlaps(ipaddress.ip_network(text)):
                raise EC2ClientError("InvalidVpc.Range", f"The CIDR '{text}' conflicts with another CIDR of {vpc.id}")
        return super().associate_vpc_cidr_block()

    def create_security_group(self) -> Any:
        """Refuses a VPC that doesn't exist."""
        vpc = self._get_param("VpcId")
        if vpc and vpc not in self.ec2_backend.vpcs:
            raise InvalidVPCIdError(vpc)
        return super().create_security_group()

    def create_nat_gateway(self) -> Any:
        """Refuses an address that is taken, and a public gateway in a VPC without a way out."""
        ec2, allocation = self.ec2_backend, self._get_param("AllocationId")
        vpc = ec2.get_subnet(self._get_param("SubnetId")).vpc_id
        if allocation:
            address = ec2.address_by_allocation([allocation])[0]
            if address.association_id:
                raise ResourceAlreadyAssociatedError(allocation)
            if not any(gateway.vpc and gateway.vpc.id == vpc for gateway in ec2.internet_gateways.values()):
                raise EC2ClientError("Gateway.NotAttached", f"Network {vpc} has no Internet gateway attached")
        return super().create_nat_gateway()

    def create_route(self) -> Any:
        """Refuses targets that don't exist, and an internet gateway of another VPC."""
        self._check_target()
        return super().create_route()

    def replace_route(self) -> Any:
        """The same for another target."""
        self._check_target()
        return super().replace_route()

    def associate_route_table(self) -> Any:
        """Refuses a subnet that has a table, or is of another VPC than the table."""
        ec2, subnet = self.ec2_backend, self._get_param("SubnetId")
        table = ec2.get_route_table(self._get_param("RouteTableId"))
        if subnet and ec2.get_subnet(subnet).vpc_id != table.vpc_id:
            raise EC2ClientError(
                "InvalidParameterValue", f"Route table {table.id} and subnet {subnet} belong to different networks"
            )
        for other in ec2.route_tables.values():
            if subnet and other.id != table.id and subnet in other._associations.values():
                raise EC2ClientError(
                    "Resource.AlreadyAssociated",
                    f"the specified association for route table {table.id} conflicts with an existing association",
                )
        return super().associate_route_table()

    def create_tags(self) -> Any:
        """Refuses a subnet, VPC, security group, route table or gateway that doesn't exist."""
        ec2 = self.ec2_backend
        lookups = {
            "sg-": ec2.get_security_group_from_id,
            "vpc-": ec2.vpcs.get,
            "rtb-": ec2.route_tables.get,
            "igw-": ec2.internet_gateways.get,
            "subnet-": lambda id: next((zone[id] for zone in ec2.subnets.values() if id in zone), None),
        }
        for id in self._get_param("Resources") or []:
            exists = lookups.get(f"{id.partition('-')[0]}-")
            if exists and exists(id) is None:
                raise EC2ClientError("InvalidID", f"The ID '{id}' is not valid")
        return super().create_tags()

    def create_vpc_endpoint(self) -> Any:
        """Refuses what an interface endpoint can't have, then gives its network interfaces the endpoint's groups."""
        groups = self._known_groups(self._get_param("SecurityGroupIds"))
        if (self._get_param("VpcEndpointType") or "").lower() == "interface":
            self._check_interface_endpoint()
        answer = super().create_vpc_endpoint()
        endpoint = list(self.ec2_backend.vpc_end_points.values())[-1]
        self._dress(endpoint.network_interface_ids, groups, f"VPC Endpoint Interface {endpoint.id}")
        return answer

    # What moto leaves behind.

    def terminate_instances(self) -> Any:
        """Takes an instance's own network interface with it."""
        for instance in self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds") or []):
            for interface in instance.nics.values():
                if interface.device_index == 0:
                    interface.delete_on_termination = True
        return super().terminate_instances()

    def modify_vpc_endpoint(self) -> Any:
        """Makes and takes away, with the endpoint's subnets and tables, its network interfaces and routes."""
        ec2 = self.ec2_backend
        endpoint = ec2.describe_vpc_endpoints([self._get_param("VpcEndpointId")])[0]
        self._known_groups(self._get_param("AddSecurityGroupIds"))
        answer = super().modify_vpc_endpoint()
        for table in self._get_param("AddRouteTableIds") or []:
            ec2.create_route(
                table, None, gateway_id=endpoint.id, destination_prefix_list_id=endpoint.destination_prefix_list_id
            )
        for table in self._get_param("RemoveRouteTableIds") or []:
            ec2.delete_route(table, endpoint.destination_prefix_list_id)
        groups = self._known_groups(endpoint.security_group_ids)
        for subnet in self._get_param("AddSubnetIds") or []:
            endpoint.network_interface_ids.append(ec2.create_network_interface(ec2.get_subnet(subnet), None).id)
        for subnet in self._get_param("RemoveSubnetIds") or []:
            for id in [id for id in endpoint.network_interface_ids if ec2.enis[id].subnet.id == subnet]:
                endpoint.network_interface_ids.remove(id)
                ec2.delete_network_interface(id)
        self._dress(endpoint.network_interface_ids, groups, f"VPC Endpoint Interface {endpoint.id}")
        return answer

    def delete_nat_gateway(self) -> Any:
        """Frees the gateway's address and takes its network interface away."""
        ec2, id = self.ec2_backend, self._get_param("NatGatewayId")
        gateway = ec2.nat_gateways.get(id)
        if gateway is None or gateway.state == "deleted":
            raise EC2ClientError("NatGatewayNotFound", f"The Nat Gateway {id} was not found")
        for address in ec2.addresses:
            if address.eni is gateway._eni:
                ec2.disassociate_address(association_id=address.association_id)
        ec2.delete_network_interface(gateway._eni.id)
        return super().delete_nat_gateway()

    # Details.

    def _interfaces(self) -> Iterator[NetworkInterface]:
        """The network interfaces but those of instances that are gone."""
        for interface in self.ec2_backend.enis.values():
            if interface.instance is None or interface.instance.state != "terminated":
                yield interface

    def _endpoints(self) -> Iterator[Any]:
        return (endpoint for endpoint in self.ec2_backend.vpc_end_points.values() if endpoint.state != "deleted")

    def _is_referenced(self, group: Any) -> bool:
        """Whether a rule of another group names this one, or an endpoint has it."""
        if any(group.id in endpoint.security_group_ids for endpoint in self._endpoints()):
            return True
        others = (
            other for groups in self.ec2_backend.groups.values() for other in groups.values() if other is not group
        )
        rules = (rule for other in others for rule in (*other.ingress_rules, *other.egress_rules))
        return any(rule.source_group.get("GroupId") == group.id for rule in rules)

    def _known_groups(self, ids: Iterable[str] | None) -> list[Any]:
        groups = []
        for id in ids or []:
            group = self.ec2_backend.get_security_group_from_id(id)
            if group is None:
                raise InvalidSecurityGroupNotFoundError(id)
            groups.append(group)
        return groups

    def _dress(self, interfaces: Iterable[str], groups: list[Any], description: str) -> None:
        for id in interfaces:
            interface = self.ec2_backend.enis[id]
            interface.description, interface.status = description, "in-use"
            if groups:
                interface._group_set = groups

    def _check_target(self) -> None:
        ec2, table = self.ec2_backend, self.ec2_backend.get_route_table(self._get_param("RouteTableId"))
        nat, gateway = self._get_param("NatGatewayId"), self._get_param("GatewayId") or ""
        if nat and (nat not in ec2.nat_gateways or ec2.nat_gateways[nat].state == "deleted"):
            raise EC2ClientError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat}' does not exist")
        if gateway.startswith("igw-"):
            vpc = ec2.get_internet_gateway(gateway).vpc
            if vpc is None or vpc.id != table.vpc_id:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"route table {table.id} and network gateway {gateway} belong to different networks",
                )

    def _check_interface_endpoint(self) -> None:
        ec2, service = self.ec2_backend, self._get_param("ServiceName")
        vpc = ec2.get_vpc(self._get_param("VpcId"))
        zones: dict[str, str] = {}
        for id in self._get_param("SubnetIds") or []:
            subnet = ec2.get_subnet(id)
            if subnet.vpc_id != vpc.id:
                raise EC2ClientError("InvalidParameter", f"Subnet {id} does not belong to VPC {vpc.id}")
            if subnet.availability_zone in zones:
                raise EC2ClientError(
                    "DuplicateSubnetsInSameZone", f"Found another VPC endpoint subnet in the availability zone of {id}"
                )
            zones[subnet.availability_zone] = id
        if str(self._get_param("PrivateDnsEnabled")).lower() != "true":
            return
        if not (vpc.enable_dns_support and vpc.enable_dns_hostnames):
            raise EC2ClientError(
                "InvalidParameter",
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes "
                f"set to true for {vpc.id}",
            )
        if any(
            one.vpc_id == vpc.id and one.service_name == service and one.private_dns_enabled
            for one in self._endpoints()
        ):
            raise EC2ClientError(
                "InvalidParameter",
                f"private-dns-enabled cannot be set because there is already a conflicting DNS domain for {service} "
                f"in the VPC {vpc.id}",
            )


def install() -> None:
    """Puts these operations in the place of moto's."""
    urls.url_paths = {"{0}/": Response.dispatch}
