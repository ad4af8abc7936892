"""The rules of security groups. EC2 counts one rule for each source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.ec2 import only
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, contains_unknown

ANY_PROTOCOL = "-1"
_PROTOCOLS = {"all": ANY_PROTOCOL, "1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_WITH_PORTS = ("tcp", "udp")
_DESCRIPTION = re.compile(r"[0-9A-Za-z_ .:/()#,@\[\]+=&;{}!$*-]{0,255}")
# The property of a source in an inline rule -> its list in EC2, and the key of an item.
SOURCES = {
    "cidrBlocks": ("IpRanges", "CidrIp"),
    "ipv6CidrBlocks": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListIds": ("PrefixListIds", "PrefixListId"),
    "securityGroups": ("UserIdGroupPairs", "GroupId"),
}


@dataclass(frozen=True, order=True)
class Rule:
    """One rule with one source: a value of the property `kind` of an inline rule."""

    protocol: str
    from_port: int
    to_port: int
    kind: str
    source: str
    description: str = ""

    def permission(self) -> dict[str, Any]:
        """The rule as an `IpPermission`."""
        items, key = SOURCES[self.kind]
        item = {key: self.source, **({"Description": self.description} if self.description else {})}
        ports = {} if self.protocol == ANY_PROTOCOL else {"FromPort": self.from_port, "ToPort": self.to_port}
        return {"IpProtocol": self.protocol, **ports, items: [item]}


def protocol_name(protocol: str) -> str:
    """A protocol by its name in the answers of EC2."""
    return _PROTOCOLS.get(protocol.lower(), protocol.lower())


def given_rules(items: Iterable[Properties], group: str) -> set[Rule]:
    """The rules of inline `ingress` or `egress` objects. `self` means the `group`."""
    rules = set()
    for item in items:
        sources = [(kind, source) for kind in SOURCES for source in item.get(kind) or []]
        if item.get("self"):
            sources.append(("securityGroups", group))
        for kind, source in sources:
            protocol = protocol_name(item["protocol"])
            ports = (0, 0) if protocol == ANY_PROTOCOL else (item["fromPort"], item["toPort"])
            rules.add(Rule(protocol, *ports, kind, source, item.get("description") or ""))
    return rules


def live_rules(group: dict[str, Any], egress: bool) -> set[Rule]:
    """The rules of a security group as EC2 describes it."""
    return {
        Rule(
            permission["IpProtocol"],
            0 if permission["IpProtocol"] == ANY_PROTOCOL else permission["FromPort"],
            0 if permission["IpProtocol"] == ANY_PROTOCOL else permission["ToPort"],
            kind,
            item[key],
            item.get("Description") or "",
        )
        for permission in group["IpPermissionsEgress" if egress else "IpPermissions"]
        for kind, (items, key) in SOURCES.items()
        for item in permission.get(items, [])
    }


def shown_rules(rules: set[Rule], group: str) -> list[Properties]:
    """`rules` as inline objects, one for each protocol, ports and description."""
    shown: dict[tuple[Any, ...], Properties] = {}
    for rule in sorted(rules):
        item = shown.setdefault(
            (rule.protocol, rule.from_port, rule.to_port, rule.description),
            {"protocol": rule.protocol, "fromPort": rule.from_port, "toPort": rule.to_port, "self": False},
        )
        if rule.description:
            item["description"] = rule.description
        if rule.source == group:
            item["self"] = True
        else:
            item.setdefault(rule.kind, []).append(rule.source)
    return list(shown.values())


def describe(cloud: Cloud, group: str) -> dict[str, Any] | None:
    """The security group, or None."""
    return only(cloud.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"])


def authorize(cloud: Cloud, group: str, rules: Iterable[Rule], egress: bool, **options: Any) -> list[dict[str, Any]]:
    """Adds rules to a group; returns them as EC2 describes them."""
    call = cloud.ec2.authorize_security_group_egress if egress else cloud.ec2.authorize_security_group_ingress
    added: list[dict[str, Any]] = []
    for rule in sorted(rules):
        added += call(GroupId=group, IpPermissions=[rule.permission()], **options)["SecurityGroupRules"]
    return added


def revoke(cloud: Cloud, group: str, ids: list[str], egress: bool) -> None:
    """Removes rules from a group by their ids."""
    call = cloud.ec2.revoke_security_group_egress if egress else cloud.ec2.revoke_security_group_ingress
    if ids:
        call(GroupId=group, SecurityGroupRuleIds=ids)


def rule_ids(cloud: Cloud, group: str, egress: bool, rules: set[Rule] | None = None) -> list[str]:
    """The ids of the rules of a group in one direction: all, or only those in `rules`."""
    mine = [{"Name": "group-id", "Values": [group]}]
    found = cloud.ec2.describe_security_group_rules(Filters=mine)["SecurityGroupRules"]
    wanted = None if rules is None else {(rule.protocol, rule.from_port, rule.to_port, rule.source) for rule in rules}
    return [
        rule["SecurityGroupRuleId"]
        for rule in found
        if rule["IsEgress"] == egress and (wanted is None or _identity(rule) in wanted)
    ]


def _identity(rule: dict[str, Any]) -> tuple[str, int, int, str]:
    ported = rule["IpProtocol"] != ANY_PROTOCOL
    group = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    source = rule.get("CidrIpv4") or rule.get("CidrIpv6") or rule.get("PrefixListId") or group
    return rule["IpProtocol"], rule["FromPort"] if ported else 0, rule["ToPort"] if ported else 0, source


def sync(cloud: Cloud, group: str, wanted: set[Rule], egress: bool) -> None:
    """Makes `wanted` the group's only rules in one direction."""
    existing = live_rules(describe(cloud, group) or {"IpPermissions": [], "IpPermissionsEgress": []}, egress)
    if existing - wanted:
        revoke(cloud, group, rule_ids(cloud, group, egress, existing - wanted), egress)
    authorize(cloud, group, wanted - existing, egress)


def port_problems(rule: Properties, protocol: Any, at: str) -> Iterator[Refused]:
    """Refuses an unknown protocol, and ports that do not fit it. `at` is the path of `rule`, with a dot at the end."""
    first, last = rule.get("fromPort"), rule.get("toPort")
    if known(protocol) is None or contains_unknown([first, last]):
        return
    name = protocol_name(protocol)
    if name not in (ANY_PROTOCOL, "tcp", "udp", "icmp", "icmpv6") and not (name.isdigit() and int(name) <= 255):
        yield Refused(f"invalid protocol {protocol}: tcp, udp, icmp, icmpv6, -1 or a number up to 255", f"{at}protocol")
    elif name in _WITH_PORTS and (first is None or last is None):
        yield Refused("both fromPort and toPort must be given with TCP and UDP", f"{at}fromPort")
    elif name in _WITH_PORTS and not 0 <= (first or 0) <= (last or 0) <= 65535:
        yield Refused(f"invalid ports {first} to {last}: 0 to 65535, fromPort not above toPort", f"{at}fromPort")
    elif name == ANY_PROTOCOL and (first or 0, last or 0) not in ((0, 0), (-1, -1)):
        yield Refused(f"fromPort ({first}) and toPort ({last}) must both be 0 with the protocol -1", f"{at}fromPort")


def description_problems(text: Any, path: str) -> Iterator[Refused]:
    """Refuses a description with characters that EC2 does not accept."""
    if known(text) is not None and not _DESCRIPTION.fullmatch(text):
        accepted = "at most 255 of a-z, A-Z, 0-9, space and ._-:/()#,@[]+=&;{}!$*"
        yield Refused(f"invalid description {text!r}: {accepted}", path)
