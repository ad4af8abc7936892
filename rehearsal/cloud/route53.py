"""What moto's Route 53 lacks: different name servers for each zone, and refusing records that conflict.

Codes and messages are Route 53's: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html.
"""

from __future__ import annotations

import hashlib
from typing import Any

from moto.route53 import urls
from moto.route53.exceptions import Route53ClientError
from moto.route53.models import ChangeList, FakeZone, RecordSet
from moto.route53.responses import Route53

_TOP_LEVELS = ("com", "net", "org", "co.uk")
_SETS, _PLACES = 2048, 64


def name_servers(zone_id: str) -> list[str]:
    """The four name servers of a zone, in four top-level domains."""
    digest = hashlib.sha256(zone_id.encode()).digest()
    return [
        f"ns-{(digest[2 * index] * 8 + index) % _SETS}.awsdns-{digest[2 * index + 1] % _PLACES:02}.{top}"
        for index, top in enumerate(_TOP_LEVELS)
    ]


def give_name_servers(zone: FakeZone) -> None:
    """Gives a new zone its own name servers."""
    if zone.delegation_set is None or zone.delegation_set.id:
        return
    zone.delegation_set.name_servers = name_servers(zone.resource_id)
    for record in zone.rrsets:
        if record.type == "NS":
            record.records = list(zone.delegation_set.name_servers)
        elif record.type == "SOA":
            _, _, rest = str(record.records[0]["Value"]).partition(" ")
            record.records = [f"{zone.delegation_set.name_servers[0]}. {rest}"]


def _invalid(*reasons: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", f"[{', '.join(reasons)}]")


class Response(Route53):
    """moto's Route 53, with checks of changes."""

    def create_hosted_zone(self) -> Any:
        """Also gives the zone its own name servers."""
        before = set(self.backend.zones)
        answer = super().create_hosted_zone()
        for id in self.backend.zones.keys() - before:
            give_name_servers(self.backend.zones[id])
        return answer

    def change_resource_record_sets(self) -> Any:
        """Refuses the whole batch if a record exists already, does not exist, or conflicts with another."""
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        for change in self._get_param("ChangeBatch.Changes"):
            _check(zone, change["Action"], change["ResourceRecordSet"])
        # moto derives what exists from a journal of changes, which still contains deleted records.
        live = {(record.name.strip("."), record.type) for record in zone.rrsets}
        kept = [
            change
            for change in zone.rr_changes
            if _key(change["ResourceRecordSet"]) in live and change["Action"] != "DELETE"
        ]
        zone.rr_changes = ChangeList(kept)
        for change in self._get_param("ChangeBatch.Changes"):
            if change["Action"] == "CREATE":
                key = _key(change["ResourceRecordSet"])
                zone.rr_changes = ChangeList(
                    [earlier for earlier in zone.rr_changes if _key(earlier["ResourceRecordSet"]) != key]
                )
        return super().change_resource_record_sets()


def _key(record: dict[str, Any]) -> tuple[str, str]:
    return record["Name"].strip("."), record["Type"]


def _check(zone: FakeZone, action: str, record: dict[str, Any]) -> None:
    name, kind = _key(record)
    here = [record_set for record_set in zone.rrsets if record_set.name.strip(".") == name]
    same = [
        record_set
        for record_set in here
        if record_set.type == kind and record_set.set_identifier == record.get("SetIdentifier")
    ]
    if action == "CREATE" and same:
        raise _invalid(f"Tried to create resource record set [name='{name}.', type='{kind}'] but it already exists")
    if action == "DELETE":
        if not same:
            raise _invalid(f"Tried to delete resource record set [name='{name}.', type='{kind}'] but it was not found")
        if not _says_the_same(same[0], record):
            raise _invalid(
                f"Tried to delete resource record set [name='{name}.', type='{kind}'] but the values provided do not "
                "match the current values"
            )
        return
    if (kind == "CNAME" and any(record_set.type != "CNAME" for record_set in here)) or (
        kind != "CNAME" and any(record_set.type == "CNAME" for record_set in here)
    ):
        raise _invalid(
            f"RRSet of type {kind} with DNS name {name}. is not permitted as it conflicts with other records with the "
            f"same DNS name in zone {zone.name}"
        )
    if kind == "CNAME" and name == zone.name.strip("."):
        raise _invalid(f"RRSet of type CNAME with DNS name {name}. is not permitted at apex in zone {zone.name}")
    alias = record.get("AliasTarget")
    if alias and not alias["DNSName"].rstrip(".").endswith(".elb.amazonaws.com"):
        own = zone.resource_id == alias["HostedZoneId"].removeprefix("/hostedzone/")
        targets = [
            record_set
            for record_set in zone.rrsets
            if record_set.name.strip(".") == alias["DNSName"].strip(".") and record_set.type == kind
        ]
        if not own or not targets:
            raise _invalid(
                f"Tried to create an alias that targets {alias['DNSName']}, type {kind} in zone "
                f"{alias['HostedZoneId']}, but that target was not found"
            )


def _says_the_same(live: RecordSet, given: dict[str, Any]) -> bool:
    if live.alias_target or given.get("AliasTarget"):
        one, other = live.alias_target or {}, given.get("AliasTarget") or {}
        return str(one.get("DNSName", "")).rstrip(".") == str(other.get("DNSName", "")).rstrip(".")
    values = [record["Value"] for record in given.get("ResourceRecords", [])]
    return sorted(map(str, live.records)) == sorted(values) and str(live.ttl) == str(given.get("TTL"))


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = dict.fromkeys(urls.url_paths, Response.dispatch)
