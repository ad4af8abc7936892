"""Security groups and their rules."""

from __future__ import annotations

import json
from collections.abc import Iterator

from reports.account import Account, Held, Raw, tag_map
from reports.aws_type import AwsType, ByTags, Inputs
from reports.aws_type.listing import inline_tags, listing
from reports.aws_type.pricing import free
from reports.aws_type.steps import Steps, without_interfaces


def _is_default(raw: Raw) -> bool:
    """Whether it is the group that AWS makes with each VPC."""
    return raw.get("GroupName") == "default"


def _goes_with_its_cluster(account: Account, held: Held) -> bool:
    """Whether EKS made the group, for a cluster that still exists."""
    cluster = tag_map(held.raw.get("Tags")).get("aws:eks:cluster-name")
    return cluster is not None and cluster in account.pages("eks", "list_clusters", "clusters")


def _remove_group(account: Account, held: Held) -> Steps:
    if not _goes_with_its_cluster(account, held):
        yield from without_interfaces("delete-security-group", "--group-id", "group-id")(account, held)


def _revoke_references(account: Account, held: Held) -> Steps:
    """Revokes the rules that name another group: that group could not be deleted before."""
    if _goes_with_its_cluster(account, held):
        return
    for egress, key in ((False, "IpPermissions"), (True, "IpPermissionsEgress")):
        permissions = [found for found in held.raw.get(key, []) if found.get("UserIdGroupPairs")]
        for permission in permissions:
            revoked = {
                "IpProtocol": permission["IpProtocol"],
                "UserIdGroupPairs": [{"GroupId": pair["GroupId"]} for pair in permission["UserIdGroupPairs"]],
            }
            revoked |= {port: permission[port] for port in ("FromPort", "ToPort") if port in permission}
            operation = "revoke-security-group-egress" if egress else "revoke-security-group-ingress"
            yield ["aws", "ec2", operation, "--group-id", held.id, "--ip-permissions", json.dumps([revoked])]


def _rules(account: Account, inputs: Inputs) -> Iterator[str]:
    in_group = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
    for rule in account.pages("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=in_group):
        # A rule for all protocols has the ports -1 in EC2, and none in the program.
        ports = rule.get("FromPort", -1), rule.get("ToPort", -1)
        is_alike = ports == (inputs.get("fromPort", -1), inputs.get("toPort", -1)) and (
            rule.get("CidrIpv4") == inputs.get("cidrIpv4")
            and rule.get("ReferencedGroupInfo", {}).get("GroupId") == inputs.get("referencedSecurityGroupId")
        )
        if is_alike and (inputs.get("tagsAll") or {}).items() <= tag_map(rule.get("Tags")).items():
            yield rule["SecurityGroupRuleId"]


TYPES = (
    AwsType(
        type="aws:vpc/",
        bill=free("https://aws.amazon.com/vpc/pricing/: rules of security groups"),
    ),
    AwsType(
        type="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        if_made_again="accepted",
        bill=free("https://aws.amazon.com/vpc/pricing/"),
    ),
    AwsType(
        type="aws:ec2/securityGroup:SecurityGroup",
        listing=listing(
            "ec2", "describe_security_groups", "SecurityGroups", "GroupId", inline_tags("Tags"), name_key="GroupName"
        ),
        goes_with_owner=_is_default,
        remove=_remove_group,
        prepare=_revoke_references,
        after=("ec2 NetworkInterfaces", "elbv2 TargetGroups"),
        actions=("ec2:DescribeNetworkInterfaces", "eks:ListClusters"),
        lookup=ByTags(input="name", key="GroupName"),
        bill=free("https://aws.amazon.com/vpc/pricing/"),
    ),
    AwsType(type="aws:ec2/securityGroupRule:SecurityGroupRule", if_made_again="refused"),
    AwsType(type="aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", lookup=_rules),
    AwsType(type="aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", lookup=_rules),
)
