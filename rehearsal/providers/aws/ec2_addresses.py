"""Elastic addresses and NAT gateways."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.cloud import Cloud, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, only, tagged, when_free
from rehearsal.providers.serving import Properties, Refused, Request

_NAT_SECONDS = 300


class Eip(Ec2Resource):
    """An Elastic address, of the instance that it names or for a NAT gateway or load balancer to take."""

    token = "aws:ec2/eip:Eip"
    defaults = {"domain": "vpc"}
    choices = {"domain": ("vpc",)}
    force_new = frozenset({"domain", "address", "publicIpv4Pool", "networkBorderGroup"})
    unmodelled = frozenset({"address", "customerOwnedIpv4Pool", "ipamPoolId", "networkInterface"})
    shared = frozenset({"associationId", "networkInterface", "privateIp", "privateDns", "instance"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.allocate_address(Domain=inputs["domain"], TagSpecifications=tagged("elastic-ip", inputs))
        return made["AllocationId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if instance := inputs.get("instance"):
            cloud.ec2.associate_address(AllocationId=id, InstanceId=instance, AllowReassociation=True)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self._take_from(cloud, id, olds)
        self.complete(cloud, id, inputs, request)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        address = only(cloud.ec2.describe_addresses(AllocationIds=[id])["Addresses"])
        if address is None:
            return None
        dashed = address["PublicIp"].replace(".", "-")
        zone = "compute-1" if cloud.region == "us-east-1" else f"{cloud.region}.compute"
        return {
            "arn": cloud.arn("ec2", f"elastic-ip/{id}"),
            "allocationId": id,
            "domain": address["Domain"],
            "publicIp": address["PublicIp"],
            "publicDns": f"ec2-{dashed}.{zone}.amazonaws.com",
            "associationId": address.get("AssociationId", ""),
            "instance": address.get("InstanceId", ""),
            "networkInterface": address.get("NetworkInterfaceId", ""),
            "privateIp": address.get("PrivateIpAddress", ""),
            "publicIpv4Pool": address.get("PublicIpv4Pool", "amazon"),
            "networkBorderGroup": address.get("NetworkBorderGroup", cloud.region),
            "tags": tag_map(address.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._take_from(cloud, id, olds)
        when_free(request, lambda: cloud.ec2.release_address(AllocationId=id))

    @staticmethod
    def _take_from(cloud: Cloud, id: str, olds: Properties) -> None:
        """Takes the address from an instance that has it."""
        address = only(cloud.ec2.describe_addresses(AllocationIds=[id])["Addresses"]) if olds.get("instance") else None
        if address and address.get("AssociationId"):
            cloud.ec2.disassociate_address(AssociationId=address["AssociationId"])


class NatGateway(Ec2Resource):
    """A zonal NAT gateway."""

    token = "aws:ec2/natGateway:NatGateway"
    defaults = {"connectivityType": "public"}
    choices = {"connectivityType": ("public", "private")}
    force_new = frozenset({"allocationId", "connectivityType", "privateIp", "subnetId"})
    unmodelled = frozenset({"availabilityMode", "availabilityZoneAddresses", "secondaryAllocationIds", "vpcId"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        kind = inputs["connectivityType"]
        if kind == "public" and "allocationId" not in inputs:
            yield Refused("allocationId is required for a NAT gateway with connectivityType public", "allocationId")
        if kind == "private" and "allocationId" in inputs:
            yield Refused("allocationId is not supported with connectivityType private", "allocationId")
        if "subnetId" not in inputs:
            yield Refused("subnetId is required for a zonal NAT gateway", "subnetId")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        address = {"AllocationId": inputs["allocationId"]} if "allocationId" in inputs else {}
        made = cloud.ec2.create_nat_gateway(
            SubnetId=inputs["subnetId"],
            ConnectivityType=inputs["connectivityType"],
            TagSpecifications=tagged("natgateway", inputs),
            **address,
        )
        return made["NatGateway"]["NatGatewayId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        request.wait(lambda: self._state(cloud, id) == "available", seconds=_NAT_SECONDS, what=f"NAT gateway {id}")

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        gateway = only(cloud.ec2.describe_nat_gateways(NatGatewayIds=[id])["NatGateways"])
        if gateway is None or gateway["State"] == "deleted":
            return None
        address = only(gateway.get("NatGatewayAddresses", [])) or {}
        return {
            "subnetId": gateway["SubnetId"],
            "connectivityType": gateway.get("ConnectivityType", "public"),
            "allocationId": address.get("AllocationId", ""),
            "associationId": address.get("AssociationId", ""),
            "networkInterfaceId": address.get("NetworkInterfaceId", ""),
            "privateIp": address.get("PrivateIp", ""),
            "publicIp": address.get("PublicIp", ""),
            "tags": tag_map(gateway.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_nat_gateway(NatGatewayId=id)
        gone = ("", "deleted")
        request.wait(lambda: self._state(cloud, id) in gone, seconds=_NAT_SECONDS, what=f"deletion of NAT gateway {id}")

    @staticmethod
    def _state(cloud: Cloud, id: str) -> str:
        gateway = only(cloud.ec2.describe_nat_gateways(NatGatewayIds=[id])["NatGateways"])
        return gateway["State"] if gateway else ""
