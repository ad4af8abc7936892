"""Route 53: records, and the lookup of hosted zones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.clients import Cloud, tag_map
from rehearsal.providers.aws.functions import function
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request, contains_unknown

_TYPES = ("A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "TXT")
_NAME = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")


class Record(AwsResource):
    """A simple record, or an alias. The time to live is in seconds."""

    token = "aws:route53/record:Record"
    force_new = frozenset({"name", "type", "zoneId", "setIdentifier"})
    choices = {"type": _TYPES}
    ranges = {"ttl": (0, 2147483647)}
    at_most_one = (("aliases", "records"), ("aliases", "ttl"))
    longest_name = None
    unmodelled = frozenset(
        {
            "cidrRoutingPolicy", "failoverRoutingPolicies", "geolocationRoutingPolicies", "geoproximityRoutingPolicy",
            "healthCheckId", "latencyRoutingPolicies", "multivalueAnswerRoutingPolicy", "setIdentifier",
            "weightedRoutingPolicies",
        }
    )  # fmt: skip

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        name = known(inputs.get("name"))
        if name and not _NAME.fullmatch(name):
            yield Refused(f"{name!r} is not a record name", "name")
        if "aliases" not in inputs:
            for needed in ("records", "ttl"):
                if needed not in inputs:
                    yield Refused(f"{needed} is needed for a record that is not an alias", needed)
        elif isinstance(inputs["aliases"], list) and len(inputs["aliases"]) != 1:
            yield Refused("a record must have exactly one alias", "aliases")
        kind, records = known(inputs.get("type")), inputs.get("records")
        if kind == "A" and isinstance(records, list) and not contains_unknown(records):
            for value in records:
                if not _is_address(value):
                    yield Refused(f"{value} is not an IPv4 address", "records")
        if kind == "CNAME" and isinstance(records, list) and len(records) != 1:
            yield Refused("a CNAME record must have exactly one value", "records")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        zone = _zone(cloud, inputs["zoneId"])
        name = _full_name(inputs["name"], zone["Name"])
        action = "UPSERT" if inputs.get("allowOverwrite") else "CREATE"
        _change(cloud, inputs["zoneId"], action, _record_set(name, inputs))
        return f"{inputs['zoneId']}_{name}_{inputs['type']}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        zone_id, kind = id.split("_", 1)[0], id.rpartition("_")[2]
        name = id.split("_", 1)[1].removesuffix(f"_{kind}")
        zone = _zone(cloud, zone_id)
        found = _find(cloud, zone_id, name, kind)
        if found is None:
            return None
        given = str(olds.get("name", name))
        live: Properties = {
            # The name is the same with and without the zone.
            "name": given if _full_name(given, zone["Name"]) == name else name,
            "type": kind,
            "zoneId": zone_id,
            "fqdn": name,
            "allowOverwrite": olds.get("allowOverwrite", False),
        }
        if alias := found.get("AliasTarget"):
            target = alias["DNSName"].rstrip(".")
            return {
                **live,
                "aliases": [
                    {
                        "name": target,
                        "zoneId": alias["HostedZoneId"],
                        "evaluateTargetHealth": alias["EvaluateTargetHealth"],
                    }
                ],
            }
        return {**live, "records": [record["Value"] for record in found["ResourceRecords"]], "ttl": int(found["TTL"])}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        zone = _zone(cloud, inputs["zoneId"])
        _change(cloud, inputs["zoneId"], "UPSERT", _record_set(_full_name(inputs["name"], zone["Name"]), inputs))

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        found = _find(cloud, olds["zoneId"], olds["fqdn"], olds["type"])
        if found is not None:
            _change(cloud, olds["zoneId"], "DELETE", found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _zone(cloud: Cloud, id: str) -> dict[str, Any]:
    return cloud.client("route53").get_hosted_zone(Id=id)["HostedZone"]


def _full_name(name: str, zone: str) -> str:
    """The full name of a record, which can be given without its zone."""
    name, zone = name.rstrip(".").lower(), zone.rstrip(".")
    if not name:
        return zone
    return name if f".{name}".endswith(f".{zone}") else f"{name}.{zone}"


def _record_set(name: str, inputs: Properties) -> dict[str, Any]:
    if aliases := inputs.get("aliases"):
        target = {
            "DNSName": aliases[0]["name"],
            "HostedZoneId": aliases[0]["zoneId"],
            "EvaluateTargetHealth": aliases[0]["evaluateTargetHealth"],
        }
        return {"Name": name, "Type": inputs["type"], "AliasTarget": target}
    values = [{"Value": value} for value in inputs["records"]]
    return {"Name": name, "Type": inputs["type"], "TTL": inputs["ttl"], "ResourceRecords": values}


def _change(cloud: Cloud, zone: str, action: str, record: dict[str, Any]) -> None:
    change = {"Action": action, "ResourceRecordSet": record}
    cloud.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})


def _find(cloud: Cloud, zone: str, name: str, kind: str) -> dict[str, Any] | None:
    pages = cloud.client("route53").get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
    records = (record for page in pages for record in page["ResourceRecordSets"])
    return next((record for record in records if record["Name"].rstrip(".") == name and record["Type"] == kind), None)


@function("aws:route53/getZone:getZone")
def get_zone(cloud: Cloud, args: Properties) -> Properties:
    """A hosted zone: by its id, or the only private or public one of a name."""
    unmodelled = args.keys() & {"vpcId", "tags", "enableAcceleratedRecovery"}
    if unmodelled:
        raise Refused(f"the simulated AWS cannot find zones by {', '.join(sorted(unmodelled))}", min(unmodelled))
    if ("zoneId" in args) == ("name" in args):
        raise Refused("one of zoneId and name is needed", "zoneId")
    route53 = cloud.client("route53")
    if "zoneId" in args:
        found = [args["zoneId"]]
    else:
        wanted, private = args["name"].rstrip("."), args.get("privateZone", False)
        zones = (zone for page in route53.get_paginator("list_hosted_zones").paginate() for zone in page["HostedZones"])
        found = [
            zone["Id"].rpartition("/")[2]
            for zone in zones
            if zone["Name"].rstrip(".") == wanted and zone["Config"]["PrivateZone"] == private
        ]
    if not found:
        raise Refused("no matching Route 53 Hosted Zone found")
    if len(found) > 1:
        raise Refused("multiple Route 53 Hosted Zones matched; use additional constraints to reduce matches")
    answer = route53.get_hosted_zone(Id=found[0])
    zone, servers = answer["HostedZone"], answer.get("DelegationSet", {}).get("NameServers", [])
    tags = route53.list_tags_for_resource(ResourceType="hostedzone", ResourceId=found[0])["ResourceTagSet"]["Tags"]
    return {
        "arn": f"arn:{cloud.partition}:route53:::hostedzone/{found[0]}",
        "callerReference": zone["CallerReference"],
        "comment": zone["Config"].get("Comment", ""),
        "enableAcceleratedRecovery": False,
        "id": found[0],
        "linkedServiceDescription": "",
        "linkedServicePrincipal": "",
        "name": zone["Name"].rstrip("."),
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else "",
        "privateZone": zone["Config"]["PrivateZone"],
        "resourceRecordSetCount": zone.get("ResourceRecordSetCount", 0),
        "tags": tag_map(tags),
        "vpcId": "",
        "zoneId": found[0],
    }
