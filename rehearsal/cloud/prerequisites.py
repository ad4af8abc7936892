"""What the account of a stack file holds before the stack: a delegated hosted zone, a web ACL, capacity reservations.

A stack file names them, because the stack does not make them. Without them, its preview would fail.
"""

from __future__ import annotations

from typing import Any, cast

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.route53.models import route53_backends
from moto.utilities.utils import get_partition
from moto.wafv2.models import FakeWebACL, wafv2_backends

from rehearsal.cloud import capacity_reservations, public_dns, route53


def furnish(given: dict[str, Any]) -> dict[str, Any]:
    """Makes what `given` names: `region`, `hostedZone` (with `hostedZoneId`), `webAclArn`, `reservations`.

    Answers with the ids of the zone and the ACL.
    """
    made = {}
    for one in given.get("reservations", []):
        capacity_reservations.reserve(one["id"], one["instanceType"], one["zone"])
    if zone := given.get("hostedZone"):
        made["hostedZoneId"] = hosted_zone(zone, given["region"], given.get("hostedZoneId"))
    if arn := given.get("webAclArn"):
        web_acl(arn)
        made["webAclArn"] = arn
    return made


def redelegate(given: dict[str, Any]) -> dict[str, Any]:
    """Writes `nameServers` into the parent zone of `zone`, as a registrar does; an empty list removes them."""
    public_dns.delegate(given["zone"], given["nameServers"])
    return {"nameServers": list(public_dns.referral(given["zone"]))}


def hosted_zone(name: str, region: str, id: str | None = None) -> str:
    """Makes a public hosted zone, and delegates it in its parent zone. Returns its id."""
    backend = route53_backends[DEFAULT_ACCOUNT_ID][get_partition(region)]
    zone = backend.create_hosted_zone(f"{name}.", private_zone=False)
    if id is not None:
        backend.zones[id] = backend.zones.pop(zone.resource_id)
        zone.resource_id = id
    route53.give_name_servers(zone)
    public_dns.delegate(name, route53.name_servers(zone.resource_id))
    return zone.resource_id


def web_acl(arn: str) -> None:
    """Makes a web ACL with that ARN that allows everything."""
    _, _, _, region, account, resource = arn.split(":", 5)
    _, _, name, id = resource.split("/")
    measured = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
    made = FakeWebACL(name, account, arn, id, measured, {"Allow": {}}, description=None, rules=[])
    wafv2_backends[account][region].wacls[arn] = cast("FakeWebACL", made)
