"""What the account of a stack file holds before the stack: a delegated hosted zone, a web ACL.

A stack file names them, as they are not the stack's to make; an account without them would refuse it.
"""

from __future__ import annotations

from typing import Any, cast

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.route53.models import route53_backends
from moto.utilities.utils import get_partition
from moto.wafv2.models import FakeWebACL, wafv2_backends

from rehearsal.aws import public_dns, route53


def furnish(given: dict[str, Any]) -> dict[str, Any]:
    """Makes what `given` names: `region`, `hostedZone` (with `hostedZoneId`), `webAclArn`. Answers with their ids."""
    made = {}
    if zone := given.get("hostedZone"):
        made["hostedZoneId"] = hosted_zone(zone, given["region"], given.get("hostedZoneId"))
    if arn := given.get("webAclArn"):
        web_acl(arn)
        made["webAclArn"] = arn
    return made


def redelegate(given: dict[str, Any]) -> dict[str, Any]:
    """Writes `nameServers` into the zone above `zone`, as at its registrar; none takes the delegation back."""
    public_dns.delegate(given["zone"], given["nameServers"])
    return {"nameServers": list(public_dns.referral(given["zone"]))}


def hosted_zone(name: str, region: str, id: str | None = None) -> str:
    """A public hosted zone that the zone above it delegates to; returns its id."""
    backend = route53_backends[DEFAULT_ACCOUNT_ID][get_partition(region)]
    zone = backend.create_hosted_zone(f"{name}.", private_zone=False)
    if id is not None:
        backend.zones[id] = backend.zones.pop(zone.resource_id)
        zone.resource_id = id
    route53.dress(zone)
    public_dns.delegate(name, route53.name_servers(zone.resource_id))
    return zone.resource_id


def web_acl(arn: str) -> None:
    """A web ACL that admits everything, of that very ARN."""
    _, _, _, region, account, resource = arn.split(":", 5)
    _, _, name, id = resource.split("/")
    measured = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
    made = FakeWebACL(name, account, arn, id, measured, {"Allow": {}}, description=None, rules=[])
    wafv2_backends[account][region].wacls[arn] = cast("FakeWebACL", made)
