"""Amazon Route 53."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from reports.account import Account, Held, Raw, tag_map
from reports.aws_type import AwsType
from reports.aws_type.listing import Listing, listing, no_tags
from reports.aws_type.pricing import free
from reports.aws_type.stack_names import StackNames
from reports.aws_type.steps import Steps

_VALIDATION = ".acm-validations.aws."


def _zone_tags(account: Account, held: Held) -> Mapping[str, str]:
    id = held.id.rpartition("/")[2]
    found = account.client("route53").list_tags_for_resource(ResourceType="hostedzone", ResourceId=id)
    return tag_map(found["ResourceTagSet"]["Tags"])


def _records(account: Account) -> Iterator[tuple[str, Raw]]:
    """The records of every hosted zone, by name and type."""
    for zone in account.pages("route53", "list_hosted_zones", "HostedZones"):
        found = account.pages("route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"])
        for record in found:
            raw = {**record, "HostedZoneId": zone["Id"], "ZoneName": zone["Name"]}
            yield f"{record['Name']} {record['Type']}", raw


def _is_the_stacks(held: Held, _tags: Mapping[str, str], names: StackNames) -> str | None:
    """A record that leads to the cluster's load balancer, or that validates the certificate of the stack's domain."""
    values = [record["Value"] for record in held.raw.get("ResourceRecords", [])]
    target = held.raw.get("AliasTarget", {}).get("DNSName", "")
    for value in (target, *values):
        host = value.removeprefix("dualstack.").removeprefix("internal-").partition(".")[0]
        if ".elb." in value and names.are_in(host):
            return f"leads to {value.rstrip('.')}"
    if names.domain and any(value.endswith(_VALIDATION) for value in values):
        validated = held.raw["Name"].rstrip(".").partition(".")[2]
        return f"validates the certificate of {names.domain}" if validated == names.domain else None
    return None


def _is_of_every_zone(raw: Raw) -> bool:
    return raw.get("Type") in ("NS", "SOA")


def _remove_record(_account: Account, held: Held) -> Steps:
    record = {key: value for key, value in held.raw.items() if key not in ("HostedZoneId", "ZoneName")}
    batch = json.dumps({"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]})
    zone = held.raw["HostedZoneId"]
    yield ["aws", "route53", "change-resource-record-sets", "--hosted-zone-id", zone, "--change-batch", batch]


def _remove_zone(_account: Account, held: Held) -> Steps:
    yield ["aws", "route53", "delete-hosted-zone", "--id", held.id.rpartition("/")[2]]


TYPES = (
    AwsType(
        type="aws:route53/record:Record",
        listing=Listing(
            service="route53",
            kind="ResourceRecordSets",
            actions=("route53:ListHostedZones", "route53:ListResourceRecordSets"),
            items=_records,
            tags=no_tags,
            name_key="Name",
        ),
        recognise=_is_the_stacks,
        goes_with_owner=_is_of_every_zone,
        remove=_remove_record,
        if_made_again="refused",
        bill=free("https://aws.amazon.com/route53/pricing/: the first 10,000 records of a zone"),
    ),
    AwsType(
        listing=listing(
            "route53", "list_hosted_zones", "HostedZones", "Id", _zone_tags, "ListTagsForResource", name_key="Name"
        ),
        remove=_remove_zone,
        after=("route53 ResourceRecordSets",),
    ),
)
