"""Elastic IP addresses and NAT gateways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource, only
from rehearsal.providers.protocol.model import Properties, Refused, Request

_OF_ITS_ADDRESS = ("allocationId", "associationId", "networkInterfaceId", "privateIp", "publicIp")


class Eip(Ec2Resource):
    """An Elastic IP address: of the instance that it names, or free for a NAT gateway or a load balancer."""

    token = "aws:ec2/eip:Eip"
    defaults = {"domain": "vpc"}
    choices = {"domain": ("vpc",)}
    force_new = frozenset({"domain", "address", "publicIpv4Pool", "networkBorderGroup"})
    unmodelled = frozenset({"address", "customerOwnedIpv4Pool", "ipamPoolId", "networkInterface"})
    shared = frozenset({"associationId", "networkInterface", "privateIp", "privateDns", "instance"})

    kind, made_id = "elastic-ip", "AllocationId"
    create_call = Call("allocate_address", "domain tagSpecifications")
    read_call, found = Call("describe_addresses", AllocationIds=["{id}"]), "Addresses[0]"
    api_names = {"instance": "InstanceId", "networkInterface": "NetworkInterfaceId", "privateIp": "PrivateIpAddress"}
    outputs = fields("allocationId domain publicIp associationId instance networkInterface privateIp tags")
    delete_call = Call("release_address", AllocationId="{id}")

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if instance := inputs.get("instance"):
            cloud.ec2.associate_address(AllocationId=id, InstanceId=instance, AllowReassociation=True)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self._take_from(cloud, id, olds)
        self.complete(cloud, id, inputs, request)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        zone = "compute-1" if cloud.region == "us-east-1" else f"{cloud.region}.compute"
        return {
            **super().more_outputs(cloud, found, known),
            "publicDns": f"ec2-{found['PublicIp'].replace('.', '-')}.{zone}.amazonaws.com",
            "publicIpv4Pool": found.get("PublicIpv4Pool", "amazon"),
            "networkBorderGroup": found.get("NetworkBorderGroup", cloud.region),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._take_from(cloud, id, olds)
        super().remove(cloud, id, olds, request)

    @staticmethod
    def _take_from(cloud: Cloud, id: str, olds: Properties) -> None:
        """Disassociates the address from its instance, if it has one."""
        address = only(cloud.ec2.describe_addresses(AllocationIds=[id])["Addresses"]) if olds.get("instance") else None
        if address and address.get("AssociationId"):
            cloud.ec2.disassociate_address(AssociationId=address["AssociationId"])


class NatGateway(Ec2Resource):
    """A zonal NAT gateway."""

    token = "aws:ec2/natGateway:NatGateway"
    defaults = {"connectivityType": "public"}
    required = ("subnetId",)
    choices = {"connectivityType": ("public", "private")}
    force_new = frozenset({"allocationId", "connectivityType", "privateIp", "subnetId"})
    unmodelled = frozenset({"availabilityMode", "availabilityZoneAddresses", "secondaryAllocationIds", "vpcId"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        kind = inputs["connectivityType"]
        if kind == "public" and "allocationId" not in inputs:
            yield Refused("allocationId is required for a NAT gateway with connectivityType public", "allocationId")
        if kind == "private" and "allocationId" in inputs:
            yield Refused("allocationId is not supported with connectivityType private", "allocationId")

    kind, made_id = "natgateway", "NatGateway.NatGatewayId"
    create_call = Call("create_nat_gateway", "subnetId connectivityType allocationId tagSpecifications")
    read_call, found = Call("describe_nat_gateways", NatGatewayIds=["{id}"]), "NatGateways[?State!='deleted'] | [0]"
    outputs = fields(
        "subnetId tags",
        connectivityType="ConnectivityType || 'public'",
        **{name: f"NatGatewayAddresses[0].{name[0].upper()}{name[1:]}" for name in _OF_ITS_ADDRESS},
    )
    delete_call = Call("delete_nat_gateway", NatGatewayId="{id}")
    ready, waits_until_gone, wait_seconds = "State=='available'", True, 300
