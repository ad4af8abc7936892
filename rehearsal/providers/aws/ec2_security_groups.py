"""Security groups and their rules, inline or one by one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems, only, tagged, when_free
from rehearsal.providers.aws.ec2_rules import (
    ANY_PROTOCOL,
    SOURCES,
    Rule,
    authorize,
    describe,
    description_problems,
    given_rules,
    live_rules,
    port_problems,
    protocol_name,
    revoke,
    rule_ids,
    shown_rules,
    sync,
)
from rehearsal.providers.serving import Properties, Refused, Request, contains_unknown


class _Group(Ec2Resource):
    """What a security group of one's own and a VPC's default one share. Rules made one by one are not theirs."""

    shared = frozenset({"ingress", "egress"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for direction in ("ingress", "egress"):
            yield from cidr_problems(inputs, f"{direction}[].cidrBlocks[]")
            yield from cidr_problems(inputs, f"{direction}[].ipv6CidrBlocks[]", version=6)
            for index, rule in enumerate(known(inputs.get(direction)) or []):
                at = f"{direction}[{index}]"
                yield from port_problems(rule, rule.get("protocol"), f"{at}.")
                yield from description_problems(rule.get("description"), f"{at}.description")
                if not contains_unknown(rule) and not given_rules([rule], "self"):
                    yield Refused(f"needs one of {', '.join(SOURCES)} or self", at)

    def same(self, name: str, one: Any, other: Any) -> bool:
        if name in self.shared and isinstance(one, list) and isinstance(other, list):
            return not contains_unknown([one, other]) and given_rules(one, "self") == given_rules(other, "self")
        return super().same(name, one, other)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        for direction in self.shared & changed & inputs.keys():
            sync(cloud, id, given_rules(inputs[direction], id), direction == "egress")

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        group = describe(cloud, id)
        if group is None:
            return None
        return {
            "arn": cloud.arn("ec2", f"security-group/{id}"),
            "name": group["GroupName"],
            "description": group["Description"],
            "vpcId": group["VpcId"],
            "ownerId": group["OwnerId"],
            "ingress": shown_rules(live_rules(group, egress=False), id),
            "egress": shown_rules(live_rules(group, egress=True), id),
            "tags": tag_map(group.get("Tags")),
        }


class SecurityGroup(_Group):
    """A security group. As with the real provider, EC2's own rule for all egress goes unless the program gives it."""

    token = "aws:ec2/securityGroup:SecurityGroup"
    force_new = frozenset({"name", "namePrefix", "description", "vpcId"})
    defaults = {"description": "Managed by Pulumi", "revokeRulesOnDelete": False}
    name_pattern = r"(?!sg-)(?!default$).+"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from super().validate(inputs, cloud)
        yield from description_problems(inputs["description"], "description")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.create_security_group(
            GroupName=self.chosen_name(inputs),
            Description=inputs["description"],
            TagSpecifications=tagged("security-group", inputs),
            **({"VpcId": inputs["vpcId"]} if "vpcId" in inputs else {}),
        )
        return made["GroupId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self.change(cloud, id, {"egress": [], **inputs}, {}, changed={"ingress", "egress"}, request=request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if olds.get("revokeRulesOnDelete"):
            for egress in (False, True):
                revoke(cloud, id, rule_ids(cloud, id, egress), egress)
        when_free(request, lambda: cloud.ec2.delete_security_group(GroupId=id))


class DefaultSecurityGroup(_Group):
    """A VPC's default security group, adopted: its rules become those given, and it stays when the resource goes."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    force_new = frozenset({"vpcId"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        names = {"group-name": "default", **({"vpc-id": inputs["vpcId"]} if "vpcId" in inputs else {})}
        filters = [{"Name": name, "Values": [value]} for name, value in names.items()]
        group = only(cloud.ec2.describe_security_groups(Filters=filters)["SecurityGroups"])
        if group is None:
            raise Refused(f"the VPC {inputs.get('vpcId')} has no default security group")
        return group["GroupId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        rules = {"ingress": [], "egress": [], **inputs}
        self.change(cloud, id, rules, {}, changed={"ingress", "egress"}, request=request)
        self.retag(cloud, id, {}, inputs.get("tagsAll") or {}, [])

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """EC2 deletes it with its VPC."""


class _VpcRule(Ec2Resource):
    """One rule with one source."""

    egress: bool
    force_new = frozenset({"securityGroupId"})
    exactly_one = (("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"),)
    _kinds = {
        "cidrIpv4": "cidrBlocks",
        "cidrIpv6": "ipv6CidrBlocks",
        "prefixListId": "prefixListIds",
        "referencedSecurityGroupId": "securityGroups",
    }

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from cidr_problems(inputs, "cidrIpv4")
        yield from cidr_problems(inputs, "cidrIpv6", version=6)
        yield from port_problems(inputs, inputs["ipProtocol"], "")
        yield from description_problems(inputs.get("description"), "description")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = next(name for name in self._kinds if name in inputs)
        ports = inputs.get("fromPort", 0), inputs.get("toPort", 0)
        rule = Rule(
            protocol_name(inputs["ipProtocol"]), *ports, self._kinds[name], inputs[name], inputs.get("description", "")
        )
        tags = {"TagSpecifications": tagged("security-group-rule", inputs)} if inputs.get("tagsAll") else {}
        return authorize(cloud, inputs["securityGroupId"], [rule], self.egress, **tags)[0]["SecurityGroupRuleId"]

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        if "cidrIpv4" not in inputs or not olds.get("cidrIpv4"):
            raise Refused("the simulated AWS changes a rule in place only from one IPv4 range to another", "cidrIpv4")
        rule = {
            "IpProtocol": protocol_name(inputs["ipProtocol"]),
            "FromPort": inputs.get("fromPort", -1),
            "ToPort": inputs.get("toPort", -1),
            "CidrIpv4": inputs["cidrIpv4"],
            "Description": inputs.get("description", ""),
        }
        cloud.ec2.modify_security_group_rules(
            GroupId=inputs["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        rule = only(cloud.ec2.describe_security_group_rules(SecurityGroupRuleIds=[id])["SecurityGroupRules"])
        if rule is None:
            return None
        ported = rule["IpProtocol"] != ANY_PROTOCOL
        group = rule.get("ReferencedGroupInfo", {}).get("GroupId", "")
        return {
            "arn": cloud.arn("ec2", f"security-group-rule/{id}"),
            "securityGroupRuleId": id,
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            **({"fromPort": rule["FromPort"], "toPort": rule["ToPort"]} if ported else {}),
            "cidrIpv4": rule.get("CidrIpv4", ""),
            "cidrIpv6": rule.get("CidrIpv6", ""),
            "prefixListId": rule.get("PrefixListId", ""),
            "referencedSecurityGroupId": group,
            # moto forgets the description of a rule that names a group.
            "description": olds.get("description", "") if group else rule.get("Description", ""),
            "tags": tag_map(rule.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        revoke(cloud, olds["securityGroupId"], [id], self.egress)


class SecurityGroupIngressRule(_VpcRule):
    """One rule for what comes in."""

    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


class SecurityGroupEgressRule(_VpcRule):
    """One rule for what goes out."""

    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


class SecurityGroupRule(Ec2Resource):
    """The older resource: one protocol and port range, any number of sources, known by what it says."""

    token = "aws:ec2/securityGroupRule:SecurityGroupRule"
    choices = {"type": ("ingress", "egress")}
    defaults = {"self": False}
    at_most_one = (("cidrBlocks", "sourceSecurityGroupId"),)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        sources = ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "sourceSecurityGroupId")
        if not any(name in inputs for name in sources) and inputs["self"] is False:
            yield Refused(f"one of {', '.join(sources)}, self must be set", "cidrBlocks")
        if inputs["self"] is True and "sourceSecurityGroupId" in inputs:
            yield Refused("self conflicts with sourceSecurityGroupId", "self")
        yield from cidr_problems(inputs, "cidrBlocks[]")
        yield from cidr_problems(inputs, "ipv6CidrBlocks[]", version=6)
        yield from port_problems(inputs, inputs["protocol"], "")
        yield from description_problems(inputs.get("description"), "description")

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        return changed - {"description"}

    @staticmethod
    def _rules(inputs: Properties) -> set[Rule]:
        source = inputs.get("sourceSecurityGroupId")
        return given_rules([{**inputs, "securityGroups": [source] if source else []}], inputs["securityGroupId"])

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        rules = self._rules(inputs)
        authorize(cloud, inputs["securityGroupId"], rules, inputs["type"] == "egress")
        identity = repr((inputs["securityGroupId"], inputs["type"], sorted(rules)))
        return f"sgrule-{zlib.crc32(identity.encode())}"

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self.remove(cloud, id, olds, request)
        self.make(cloud, inputs, request)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        if not olds:
            raise Refused(f"the rehearsal's aws provider does not import {self.token}")
        group = describe(cloud, olds["securityGroupId"])
        if group is None or not self._rules(olds) <= live_rules(group, olds["type"] == "egress"):
            return None
        return {**olds, "securityGroupRuleId": olds.get("securityGroupRuleId", "")}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        group, egress = olds["securityGroupId"], olds["type"] == "egress"
        revoke(cloud, group, rule_ids(cloud, group, egress, self._rules(olds)), egress)
