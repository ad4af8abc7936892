"""Route tables, routes, and which subnets follow which table."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request

_DESTINATIONS = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
# The routes of a table have shorter names for the same destinations.
_SHORT = {"cidrBlock": "destinationCidrBlock", "ipv6CidrBlock": "destinationIpv6CidrBlock"}
_TARGETS = (
    "carrierGatewayId", "coreNetworkArn", "egressOnlyGatewayId", "gatewayId", "localGatewayId", "natGatewayId",
    "networkInterfaceId", "transitGatewayId", "vpcEndpointId", "vpcPeeringConnectionId",
)  # fmt: skip
_ROUTE = " ".join(("routeTableId", *_DESTINATIONS, *_TARGETS))
_DELETE = Call("delete_route", " ".join(("routeTableId", *_DESTINATIONS)))
# Without the routes of the VPC itself and those of gateway endpoints.
_ROUTES = "Routes[?!(GatewayId=='local' || starts_with(GatewayId || '', 'vpce-'))]"


class Route(Ec2Resource):
    """One route of a table. Its destination identifies it."""

    token = "aws:ec2/route:Route"
    force_new = frozenset({"routeTableId", *_DESTINATIONS})
    exactly_one = (_DESTINATIONS, _TARGETS)
    api_names = {"egressOnlyGatewayId": "EgressOnlyInternetGatewayId"}
    create_call = Call("create_route", _ROUTE)
    read_call, found = Call("describe_route_tables", RouteTableIds=["{routeTableId}"]), "RouteTables[0].Routes"
    updates = {"*": Call("replace_route", _ROUTE)}
    delete_call = _DELETE

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "destinationCidrBlock")
        yield from cidr_problems(inputs, "destinationIpv6CidrBlock", version=6)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        super().make(cloud, inputs, request)
        destination = next(inputs[name] for name in _DESTINATIONS if inputs.get(name))
        return f"r-{inputs['routeTableId']}{zlib.crc32(destination.encode())}"

    def look(self, cloud: Cloud, known: Properties) -> Any:
        wanted = {name: known[name] for name in _DESTINATIONS if known.get(name)}
        routes = super().look(cloud, known) or []
        return next(
            (route for route in routes if {name: self.output(name, "", route) for name in wanted} == wanted), None
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        return super().live(cloud, id, olds or self._imported(id))

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        destinations = {name: value for name in _DESTINATIONS if (value := self.output(name, "", found))}
        targets = {name: self.output(name, "", found) for name in _TARGETS}
        state = {"state": found.get("State", "active"), "origin": found.get("Origin", "CreateRoute")}
        return {"routeTableId": known["routeTableId"], **destinations, **targets, **state}

    @staticmethod
    def _imported(id: str) -> Properties:
        """The id of an import is `TABLE_DESTINATION`."""
        table, _, destination = id.partition("_")
        name = "destinationIpv6CidrBlock" if ":" in destination else "destinationCidrBlock"
        return {"routeTableId": table, name: destination}


class RouteTable(Ec2Resource):
    """A route table. Routes that the program does not list here can belong to other resources."""

    token = "aws:ec2/routeTable:RouteTable"
    force_new = frozenset({"vpcId"})
    unmodelled = frozenset({"propagatingVgws"})
    shared = frozenset({"routes"})
    api_names = {**_SHORT, **Route.api_names}
    kind, made_id = "route-table", "RouteTable.RouteTableId"
    create_call = Call("create_route_table", "vpcId tagSpecifications")
    read_call, found = Call("describe_route_tables", RouteTableIds=["{id}"]), "RouteTables[0]"
    outputs = fields("vpcId tags", routes=_ROUTES, propagatingVgws="`[]`")
    set_later = shared
    delete_call = Call("delete_route_table", RouteTableId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "routes[].cidrBlock")
        for index, route in enumerate(known(inputs.get("routes")) or []):
            if not any(name in route for name in (*_SHORT, "destinationPrefixListId")):
                yield Refused("one of cidrBlock, ipv6CidrBlock, destinationPrefixListId is needed", f"routes[{index}]")
            if sum(bool(route.get(name) is not None) for name in _TARGETS) != 1:
                yield Refused(f"exactly one of {', '.join(_TARGETS)} is needed", f"routes[{index}]")

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        existing = [self._in_full(route) for route in (self.live(cloud, id, {}) or {"routes": []})["routes"]]
        wanted = [self._in_full(route) for route in inputs.get("routes", [])]
        for route in existing:
            if route not in wanted:
                self.answer(_DELETE, cloud, {**route, "routeTableId": id})
        for route in wanted:
            if route not in existing:
                self.answer(Route.create_call, cloud, {**route, "routeTableId": id})

    @staticmethod
    def _in_full(route: Properties) -> Properties:
        return {_SHORT.get(name, name): value for name, value in route.items()}


class RouteTableAssociation(Ec2Resource):
    """The route table of a subnet. EC2 gives a new id when the table changes; the state keeps the first."""

    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    force_new = frozenset({"subnetId", "gatewayId"})
    exactly_one = (("subnetId", "gatewayId"),)

    made_id = "AssociationId"
    create_call = Call("associate_route_table", "routeTableId subnetId gatewayId")
    read_call, found = Call("describe_route_tables"), "RouteTables[].Associations[]"
    outputs = fields("routeTableId subnetId gatewayId")
    updates = {"*": Call("replace_route_table_association", "routeTableId", AssociationId="{current}")}
    delete_call = Call("disassociate_route_table", AssociationId="{current}")

    def look(self, cloud: Cloud, known: Properties) -> Any:
        subnet = known.get("subnetId") or "none"
        for association in super().look(cloud, known):
            if association["RouteTableAssociationId"] == known["id"] or association.get("SubnetId") == subnet:
                return association
        return None

    def _current(self, cloud: Cloud, id: str, olds: Properties) -> str | None:
        found = self.look(cloud, {**olds, "id": id})
        return found and found["RouteTableAssociationId"]

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        current = self._current(cloud, id, olds) or id
        super().change(cloud, id, {**inputs, "current": current}, olds, changed=changed, request=request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if current := self._current(cloud, id, olds):
            super().remove(cloud, id, {**olds, "current": current}, request)
