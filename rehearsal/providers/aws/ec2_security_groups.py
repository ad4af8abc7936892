"""Security groups and their rules, inline or one by one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource, cidr_problems, only, tagged
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
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request, contains_unknown


class _Group(Ec2Resource):
    """The base of security groups. Rules that are resources of their own are not in `ingress` and `egress`."""

    shared = frozenset({"ingress", "egress"})
    api_names = {"name": "GroupName"}
    kind, made_id = "security-group", "GroupId"
    create_call = Call("create_security_group", "name description vpcId tagSpecifications")
    read_call, found = Call("describe_security_groups", GroupIds=["{id}"]), "SecurityGroups[0]"
    outputs = fields("name description vpcId tags")
    delete_call = Call("delete_security_group", GroupId="{id}")

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

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        rules = {name: live_rules(found, egress=name == "egress") for name in ("ingress", "egress")}
        return {
            **super().more_outputs(cloud, found, known),
            **{name: shown_rules(listed, known["id"]) for name, listed in rules.items()},
        }


class SecurityGroup(_Group):
    """A security group. As in the real provider, the default rule for all egress is removed unless it is listed."""

    token = "aws:ec2/securityGroup:SecurityGroup"
    force_new = frozenset({"name", "namePrefix", "description", "vpcId"})
    defaults = {"description": "Managed by Pulumi", "revokeRulesOnDelete": False}
    longest_name = 255
    name_pattern = r"(?!sg-)(?!default$).+"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from super().validate(inputs, cloud)
        yield from description_problems(inputs["description"], "description")

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self.change(cloud, id, {"egress": [], **inputs}, {}, changed={"ingress", "egress"}, request=request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if olds.get("revokeRulesOnDelete"):
            for egress in (False, True):
                revoke(cloud, id, rule_ids(cloud, id, egress), egress)
        super().remove(cloud, id, olds, request)


class DefaultSecurityGroup(_Group):
    """The default security group of a VPC. It gets the given rules; deleting the resource does not delete it."""

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
        """Deletes nothing: EC2 deletes the group with its VPC."""


class _VpcRule(Ec2Resource):
    """One rule with one source."""

    egress: bool
    force_new = frozenset({"securityGroupId"})
    exactly_one = (("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"),)
    kind = "security-group-rule"
    read_call = Call("describe_security_group_rules", SecurityGroupRuleIds=["{id}"])
    found = "SecurityGroupRules[0]"
    outputs = fields(
        "ipProtocol cidrIpv4 cidrIpv6 prefixListId description tags",
        securityGroupId="GroupId",
        referencedSecurityGroupId="ReferencedGroupInfo.GroupId",
    )
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
        ports = {"FromPort": inputs.get("fromPort", -1), "ToPort": inputs.get("toPort", -1)}
        rule = {
            **ports,
            "IpProtocol": protocol_name(inputs["ipProtocol"]),
            "CidrIpv4": inputs["cidrIpv4"],
            "Description": inputs.get("description", ""),
        }
        cloud.ec2.modify_security_group_rules(
            GroupId=inputs["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
        )

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        more = {**super().more_outputs(cloud, found, known), "securityGroupRuleId": known["id"]}
        if found["IpProtocol"] != ANY_PROTOCOL:
            more |= {"fromPort": found["FromPort"], "toPort": found["ToPort"]}
        if "ReferencedGroupInfo" in found:  # moto forgets the description of such a rule
            more["description"] = known.get("description", "")
        return more

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        revoke(cloud, olds["securityGroupId"], [id], self.egress)


class SecurityGroupIngressRule(_VpcRule):
    """One rule for incoming traffic."""

    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


class SecurityGroupEgressRule(_VpcRule):
    """One rule for outgoing traffic."""

    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


class SecurityGroupRule(Ec2Resource):
    """The older resource: one protocol and port range, and several sources. Its content identifies it."""

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
