"""Which resources a call is about, and whether policies' resource patterns include them.

contracts/aws/iam-actions.json has the resource types of each action and the form of their ARNs, for services whose
permissions name resources. A part of an ARN that a call does not contain (a random id) is `*`. If a pattern depends on
that part, the result is not decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import contracts

_VARIABLE = re.compile(r"\$\{(\w+)\}")
# The request parameters for a part of an ARN, if they have other names. The first one in a call counts.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Alias": ("AliasName",),
    "BucketName": ("Bucket",),
    "ClusterName": ("clusterName", "name"),
    "DbInstanceName": ("DBInstanceIdentifier",),
    "IdentityProviderConfigName": ("identityProviderConfig.name", "oidc.identityProviderConfigName"),
    "IdentityProviderType": ("identityProviderConfig.type",),
    "InstanceProfileNameWithPath": ("InstanceProfileName",),
    "KeyId": ("KeyId", "TargetKeyId"),
    "ObjectName": ("Key",),
    "ParameterGroupName": ("DBParameterGroupName",),
    "PolicyNameWithPath": ("PolicyName",),
    "QueueName": ("QueueName", "QueueUrl"),
    "RoleNameWithPath": ("RoleName",),
    "RuleName": ("Rule", "Name"),
    "SnapshotName": ("DBSnapshotIdentifier",),
    "SubnetGroupName": ("DBSubnetGroupName",),
}
# Values in calls that ARNs leave out: rules of the default event bus are `rule/NAME`.
_LEFT_OUT = frozenset({("EventBusName", "default")})
# A parameter of these is a path or an address that ends with the name.
_LAST_PART = frozenset({"AliasName", "QueueUrl"})


@dataclass(frozen=True)
class Place:
    """Where a stack is: these parts of an ARN."""

    partition: str
    region: str
    account: str


def resources_of(action: str, parameters: Mapping[str, str], place: Place) -> list[str]:
    """The ARNs that a call is about. All must be allowed; none if the contract has no resource types."""
    types = contracts.iam_resource_types(action)
    arns = [_arn(template, parameters, place) for template in types.templates]
    # If an action may be about several types, the call is about the one that its parameters describe best.
    return arns if types.required else sorted(arns, key=lambda arn: arn.count("*"))[:1]


def _arn(template: str, parameters: Mapping[str, str], place: Place) -> str:
    pattern = re.compile("[^:/]*".join(map(re.escape, _VARIABLE.split(template)[::2])) + ".*")
    given = next(
        (value for value in parameters.values() if value.startswith("arn:") and pattern.fullmatch(value)), None
    )
    known = {"Partition": place.partition, "Region": place.region, "Account": place.account}
    return given or _VARIABLE.sub(lambda match: known.get(match[1]) or _part_from(match[1], parameters), template)


def _part_from(variable: str, parameters: Mapping[str, str]) -> str:
    for name in (*_PARAMETERS.get(variable, ()), variable, f"{variable[0].lower()}{variable[1:]}"):
        value = parameters.get(name)
        if value and (variable, value) not in _LEFT_OUT:
            value = value.rpartition(":")[2] if value.startswith("arn:") else value
            return value.rpartition("/")[2] if name in _LAST_PART or value.startswith("key/") else value
    return "*"


def is_admitted(patterns: Iterable[str], arn: str) -> bool | None:
    """Whether one of the patterns includes a resource; None if that depends on a part that the call does not have."""
    listed = list(patterns)
    if any(fnmatchcase(arn.replace("*", "-"), pattern) for pattern in listed):
        return True
    if "*" not in arn:
        return False
    known = arn.partition("*")[0]
    starts = [pattern.partition("*")[0] for pattern in listed]
    return None if any(known.startswith(start) or start.startswith(known) for start in starts) else False
