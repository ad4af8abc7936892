"""Route tables, routes, and which subnets follow which table."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems, only, tagged, when_free
from rehearsal.providers.serving import Properties, Refused, Request

_DESTINATIONS = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_TARGETS = {
    "carrierGatewayId": "CarrierGatewayId",
    "coreNetworkArn": "CoreNetworkArn",
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "gatewayId": "GatewayId",
    "localGatewayId": "LocalGatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcEndpointId": "VpcEndpointId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
}
# A route within a table writes the same destinations in short.
_SHORT = {"cidrBlock": "destinationCidrBlock", "ipv6CidrBlock": "destinationIpv6CidrBlock"}


def _target(route: Properties) -> dict[str, str]:
    return {key: route[name] for name, key in _TARGETS.items() if route.get(name)}


def _destination(route: Properties) -> dict[str, str]:
    return {key: route[name] for name, key in _DESTINATIONS.items() if route.get(name)}


def _routes_of(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The table's routes that somebody made: not those of the VPC itself, not those of a gateway endpoint."""
    for route in table["Routes"]:
        target = route.get("GatewayId", "")
        if target != "local" and not target.startswith("vpce-"):
            yield route


class RouteTable(Ec2Resource):
    """A route table. Its `routes` are its own affair only where the program lists them here."""

    token = "aws:ec2/routeTable:RouteTable"
    force_new = frozenset({"vpcId"})
    unmodelled = frozenset({"propagatingVgws"})
    shared = frozenset({"routes"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "routes[].cidrBlock")
        for index, route in enumerate(known(inputs.get("routes")) or []):
            if not any(name in route for name in (*_SHORT, "destinationPrefixListId")):
                yield Refused("one of cidrBlock, ipv6CidrBlock, destinationPrefixListId is needed", f"routes[{index}]")
            if sum(bool(route.get(name) is not None) for name in _TARGETS) != 1:
                yield Refused(f"exactly one of {', '.join(_TARGETS)} is needed", f"routes[{index}]")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.create_route_table(VpcId=inputs["vpcId"], TagSpecifications=tagged("route-table", inputs))
        return made["RouteTable"]["RouteTableId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if "routes" in inputs:
            self.change(cloud, id, inputs, {}, changed={"routes"}, request=request)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        table = cloud.ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"][0]
        existing = [self._in_full(self._shown(route)) for route in _routes_of(table)]
        wanted = [self._in_full(route) for route in inputs.get("routes", [])]
        for route in existing:
            if route not in wanted:
                cloud.ec2.delete_route(RouteTableId=id, **_destination(route))
        for route in wanted:
            if route not in existing:
                cloud.ec2.create_route(RouteTableId=id, **_destination(route), **_target(route))

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        table = only(cloud.ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"])
        if table is None:
            return None
        return {
            "arn": cloud.arn("ec2", f"route-table/{id}"),
            "vpcId": table["VpcId"],
            "ownerId": cloud.account,
            "propagatingVgws": [],
            "routes": [self._shown(route) for route in _routes_of(table)],
            "tags": tag_map(table.get("Tags")),
        }

    @staticmethod
    def _shown(route: dict[str, Any]) -> Properties:
        short = {full: name for name, full in _SHORT.items()}
        shown = {short.get(name, name): route[key] for name, key in _DESTINATIONS.items() if route.get(key)}
        return {**shown, **{name: route[key] for name, key in _TARGETS.items() if route.get(key)}}

    @staticmethod
    def _in_full(route: Properties) -> Properties:
        return {_SHORT.get(name, name): value for name, value in route.items()}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        when_free(request, lambda: cloud.ec2.delete_route_table(RouteTableId=id))


class Route(Ec2Resource):
    """One route of a table; found again by its destination."""

    token = "aws:ec2/route:Route"
    force_new = frozenset({"routeTableId", *_DESTINATIONS})
    exactly_one = (tuple(_DESTINATIONS), tuple(_TARGETS))

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "destinationCidrBlock")
        yield from cidr_problems(inputs, "destinationIpv6CidrBlock", version=6)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        table, destination = inputs["routeTableId"], _destination(inputs)
        cloud.ec2.create_route(RouteTableId=table, **destination, **_target(inputs))
        return f"r-{table}{zlib.crc32(next(iter(destination.values())).encode())}"

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        cloud.ec2.replace_route(RouteTableId=inputs["routeTableId"], **_destination(inputs), **_target(inputs))

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        olds = olds or self._imported(id)
        table = only(cloud.ec2.describe_route_tables(RouteTableIds=[olds["routeTableId"]])["RouteTables"])
        wanted = _destination(olds)
        found = next((route for route in _routes_of(table or {"Routes": []}) if wanted.items() <= route.items()), None)
        if found is None:
            return None
        targets = {name: found.get(key, "") for name, key in _TARGETS.items()}
        destinations = {name: found[key] for name, key in _DESTINATIONS.items() if found.get(key)}
        state = {"state": found.get("State", "active"), "origin": found.get("Origin", "CreateRoute")}
        return {"routeTableId": olds["routeTableId"], **destinations, **targets, **state}

    @staticmethod
    def _imported(id: str) -> Properties:
        """An import names a route `TABLE_DESTINATION`."""
        table, _, destination = id.partition("_")
        name = "destinationIpv6CidrBlock" if ":" in destination else "destinationCidrBlock"
        return {"routeTableId": table, name: destination}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_route(RouteTableId=olds["routeTableId"], **_destination(olds))


class RouteTableAssociation(Ec2Resource):
    """Which table a subnet follows. EC2 gives a new id when the table changes; the state keeps the first."""

    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    force_new = frozenset({"subnetId", "gatewayId"})
    exactly_one = (("subnetId", "gatewayId"),)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        what = {"SubnetId": inputs["subnetId"]} if "subnetId" in inputs else {"GatewayId": inputs["gatewayId"]}
        return cloud.ec2.associate_route_table(RouteTableId=inputs["routeTableId"], **what)["AssociationId"]

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        current = self._association(cloud, id, olds)
        cloud.ec2.replace_route_table_association(
            AssociationId=current["RouteTableAssociationId"] if current else id, RouteTableId=inputs["routeTableId"]
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = self._association(cloud, id, olds)
        if found is None:
            return None
        ends = {"subnetId": found.get("SubnetId", ""), "gatewayId": found.get("GatewayId", "")}
        return {"routeTableId": found["RouteTableId"], **ends}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        found = self._association(cloud, id, olds)
        if found:
            cloud.ec2.disassociate_route_table(AssociationId=found["RouteTableAssociationId"])

    @staticmethod
    def _association(cloud: Cloud, id: str, olds: Properties) -> dict[str, Any] | None:
        for table in cloud.ec2.describe_route_tables()["RouteTables"]:
            for one in table.get("Associations", []):
                same = olds.get("subnetId") and one.get("SubnetId") == olds["subnetId"]
                if one["RouteTableAssociationId"] == id or same:
                    return {**one, "RouteTableId": table["RouteTableId"]}
        return None
